"""Six tones come back in the channels in which they were, in every format."""

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.channel_order import order_for_file, order_in_file
from lqsep.core.audio.files import read_audio, write_audio

RATE = 48_000
# Left, right, centre, back left, back right; the subwoofer has a tone that it can hold.
TONES = (300, 500, 700, 60, 900, 1100)
FORMATS = [("WAV", "PCM_16"), ("WAVEX", "PCM_16"), ("FLAC", "PCM_16"), ("CAF", "PCM_16")]
FORMATS += [("AIFF", "PCM_16"), ("W64", "PCM_16"), ("RF64", "PCM_16"), ("AU", "PCM_16")]

# As the specifications of Vorbis and ALAC have them: left, centre, right, back left, back right,
# subwoofer; and the centre first.
VORBIS = (0, 2, 1, 4, 5, 3)
ALAC = (2, 0, 1, 4, 5, 3)


def six():
    time = np.arange(RATE) / RATE
    return np.stack([0.15 * np.sin(2 * np.pi * hz * time) for hz in TONES]).astype(np.float32)


def tones(wave):
    """The tone that is loudest in each channel, of those that there are."""
    spectrum = np.abs(np.fft.rfft(wave[:, :RATE]))
    return tuple(max(TONES, key=lambda hz: row[hz]) for row in spectrum)


def write(path, wave, format, subtype):
    with soundfile.SoundFile(path, "w", RATE, len(wave), subtype, format=format) as file:
        for block in np.array_split(wave.T, 20):
            file.write(block)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_what_we_write_comes_back(tmp_path, extension):
    write_audio(tmp_path / f"a.{extension}", six(), RATE)
    assert tones(read_audio(tmp_path / f"a.{extension}")[0]) == TONES


@pytest.mark.parametrize("clip_mode", ["none", "clamp", "rescale"])
def test_an_ogg_file_has_the_order_of_vorbis(tmp_path, clip_mode):
    write_audio(tmp_path / "a.ogg", six() * 9, RATE, clip_mode=clip_mode)
    found = tones(soundfile.read(tmp_path / "a.ogg")[0].T)
    assert found == tuple(TONES[i] for i in VORBIS)


@pytest.mark.parametrize(("format", "subtype"), FORMATS)
def test_most_formats_have_the_order_of_wav(tmp_path, format, subtype):
    write(tmp_path / "a", six(), format, subtype)
    assert tones(read_audio(tmp_path / "a")[0]) == TONES


@pytest.mark.parametrize(
    ("format", "subtype", "order"),
    [("OGG", "VORBIS", VORBIS), ("OGG", "OPUS", VORBIS), ("CAF", "ALAC_16", ALAC)],
)
def test_other_orders_are_undone(tmp_path, format, subtype, order):
    write(tmp_path / "a", six()[list(order)], format, subtype)
    assert tones(read_audio(tmp_path / "a")[0]) == TONES
    # the subwoofer's neighbours too, where it is left out
    part = read_audio(tmp_path / "a", 1000, 20_000)[0]
    assert [np.abs(row).max() > 0.05 for row in part] == [True] * 6


@pytest.mark.parametrize(
    ("name", "coding", "format"),
    [
        ("a.m4a", "aac", "fltp"),
        ("b.m4a", "alac", "s16p"),
        ("a.mka", "flac", "s16"),
        ("a.ac3", "ac3", "fltp"),
        ("a.ogg", "libopus", "flt"),
    ],
)
def test_what_ffmpeg_decodes_has_the_order_of_wav(av_file, name, coding, format):
    path = av_file(name, six(), coding, RATE, format, layout="5.1")
    assert tones(read_audio(path)[0][:, :RATE]) == TONES


@pytest.mark.parametrize(
    "format", [("OGG", "VORBIS"), ("OGG", "OPUS"), ("CAF", "ALAC_24"), ("WAV", "PCM_16")]
)
@pytest.mark.parametrize("channels", range(1, 12))
def test_both_ways_undo_each_other(format, channels):
    into, back = order_for_file(*format, channels), order_in_file(*format, channels)
    if channels < 3 or channels > 8 or format[0] == "WAV":
        assert into is back is None
    elif into is not None and back is not None:
        assert sorted(into) == list(range(channels))
        assert [into[i] for i in back] == list(range(channels))
