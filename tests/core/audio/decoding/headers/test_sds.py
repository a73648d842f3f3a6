"""Packets of sample dumps: whole ones are read, damaged ones are an error, not a click."""

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.files import read_audio
from lqsep.core.errors import AudioError

WAVE = 0.1 * np.random.default_rng(0).standard_normal((500, 1)).astype(np.float32)
PACKET = 127


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
def test_whole_ones_are_read(tmp_path, subtype):
    path = tmp_path / "a.sds"
    soundfile.write(path, WAVE, 8000, format="SDS", subtype=subtype)
    wave, rate = read_audio(path)
    assert (wave.shape, rate) == ((1, 500), 8000)
    # libsndfile writes silence for the last packet where it is not full.
    assert np.abs(wave - WAVE.T)[:, :480].max() < 0.01


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("at", [0, 1, 60, PACKET - 2])
def test_damaged_ones_are_an_error(tmp_path, subtype, at):
    path = tmp_path / "a.sds"
    soundfile.write(path, WAVE, 8000, format="SDS", subtype=subtype)
    data = bytearray(path.read_bytes())
    data[21 + 3 * PACKET + at] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(AudioError, match="packet 4 "):
        read_audio(path)
