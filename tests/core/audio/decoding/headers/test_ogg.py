"""Ogg files: chained ones are read to their end, cut ones refused."""

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.headers.ogg import find_links
from lqsep.core.audio.files import AudioReader, audio_info, read_audio
from lqsep.core.errors import AudioError


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("n_files", [2, 4])
def test_chained_recordings_are_read_to_the_end(tmp_path, ogg_bytes, coding, n_files):
    one = ogg_bytes(2, coding=coding)
    (tmp_path / "one.ogg").write_bytes(one)
    (tmp_path / "all.ogg").write_bytes(one * n_files)
    expected = np.tile(read_audio(tmp_path / "one.ogg")[0], n_files)
    info = audio_info(tmp_path / "all.ogg")
    assert (info.n_samples, info.warnings) == (n_files * 2 * 48_000, ())
    assert np.abs(read_audio(tmp_path / "all.ogg")[0] - expected).max() < 1e-6
    with AudioReader(tmp_path / "all.ogg") as reader:
        found = np.concatenate(list(reader.blocks(30_011)), 1)
        assert np.abs(found - expected).max() < 1e-6
        # across the joint, back and forth
        for start in (95_000, 190_000, 96_000, 5):
            if start + 2000 <= info.n_samples:
                part = reader.read(start, start + 2000)
                assert np.abs(part - expected[:, start : start + 2000]).max() < 1e-6


def test_links_of_other_forms_are_refused(tmp_path, ogg_bytes):
    (tmp_path / "a.ogg").write_bytes(ogg_bytes(2) + ogg_bytes(1, channels=1))
    with pytest.raises(AudioError, match=r"number of channels changes at 2\.00 s; convert it"):
        read_audio(tmp_path / "a.ogg")


def test_pages_are_followed_over_holes(tmp_path, ogg_bytes):
    content = ogg_bytes(3)
    (tmp_path / "a.ogg").write_bytes(content[:6000] + content[6100:] + content)
    links, missing = find_links(tmp_path / "a.ogg")
    assert [(link.start, link.stop) for link in links] == [
        (0, len(content) - 100),
        (len(content) - 100, 2 * len(content) - 100),
    ]
    assert missing == 0


@pytest.mark.parametrize("cut", [1, 5000])
@pytest.mark.parametrize("n_files", [1, 2])
def test_a_cut_file_is_refused(tmp_path, ogg_bytes, cut, n_files):
    (tmp_path / "a.ogg").write_bytes((ogg_bytes(2) * n_files)[:-cut])
    with pytest.raises(AudioError, match=r"cut short, at least \d+ bytes are missing at its end"):
        audio_info(tmp_path / "a.ogg")


def test_a_header_without_sound_is_left_out_of_a_chain(tmp_path, ogg_bytes):
    with soundfile.SoundFile(tmp_path / "empty.ogg", "w", 48_000, 2, format="OGG"):
        pass
    empty = (tmp_path / "empty.ogg").read_bytes()
    (tmp_path / "a.ogg").write_bytes(ogg_bytes(1) + empty + ogg_bytes(1))
    assert audio_info(tmp_path / "a.ogg").n_samples == 2 * 48_000
