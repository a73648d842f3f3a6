"""FLAC: unknown, wrong and right lengths, and files joined end to end."""

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.headers.flac import find_links
from lqsep.core.audio.files import AudioReader, audio_info, read_audio
from lqsep.core.errors import AudioError

RATE = 44_100


@pytest.fixture(params=["PCM_16", "PCM_24"])
def flac(tmp_path, music, request):
    """Bytes of two and a half seconds, and what they decode to."""
    soundfile.write(tmp_path / "made.flac", music(2.5).T, RATE, subtype=request.param)
    return (tmp_path / "made.flac").read_bytes(), read_audio(tmp_path / "made.flac")[0]


def with_total(content, n_samples):
    """The file with another number of samples in its header: the last 36 of 64 bits."""
    value = int.from_bytes(content[18:26], "big") >> 36 << 36 | n_samples
    return content[:18] + value.to_bytes(8, "big") + content[26:]


def read_in_blocks(path):
    with AudioReader(path) as reader:
        found = np.concatenate(list(reader.blocks(10_007)), 1)
        middle = reader.read(50_000, 60_000)
        assert np.array_equal(middle, found[:, 50_000:60_000])
    return found


def test_an_unknown_length_is_counted(tmp_path, flac):
    """As coders write it to a pipe."""
    content, expected = flac
    path = tmp_path / "a.flac"
    path.write_bytes(with_total(content, 0))
    assert soundfile.info(path).frames == 2**63 - 1
    info = audio_info(path)
    assert (info.n_samples, info.warnings) == (expected.shape[1], ())
    assert np.array_equal(read_in_blocks(path), expected)


@pytest.mark.parametrize("n_samples", [1, 4096, 100_000, 200_000, 2**36 - 1])
def test_a_wrong_length_does_not_matter(tmp_path, flac, n_samples):
    """As in a part that was cut out of a file without decoding it."""
    content, expected = flac
    path = tmp_path / "a.flac"
    path.write_bytes(with_total(content, n_samples))
    info = audio_info(path)
    assert info.n_samples == expected.shape[1]
    assert info.warnings == (
        f"its header counts {n_samples / RATE:.2f} s, its frames 2.50 s, which are read",
    )
    assert np.array_equal(read_in_blocks(path), expected)


def test_files_joined_end_to_end_are_read_to_the_end(tmp_path, flac):
    content, expected = flac
    path = tmp_path / "a.flac"
    for parts in (
        [content] * 3,
        [with_total(content, 0), content],
        [content, with_total(content, 7)],
    ):
        path.write_bytes(b"".join(parts))
        assert audio_info(path).n_samples == len(parts) * expected.shape[1]
        assert np.array_equal(read_in_blocks(path), np.tile(expected, len(parts)))


def test_the_magic_within_the_sound_is_no_further_file(tmp_path, flac):
    content, _ = flac
    (tmp_path / "a.flac").write_bytes(content + b"fLaC and something else")
    assert [link.start for link in find_links(tmp_path / "a.flac")] == [0]


def test_a_title_in_front_changes_nothing(tmp_path, flac):
    content, expected = flac
    path = tmp_path / "a.flac"
    title = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + b"a title..."
    for body in (content, with_total(content, 0)):
        path.write_bytes(title + body)
        assert np.array_equal(read_in_blocks(path), expected)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_cut_file_is_refused(tmp_path, flac, kept):
    content, _ = flac
    path = tmp_path / "a.flac"
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match="cut short"):
        read_audio(path)


def test_what_follows_the_sound_changes_nothing(tmp_path, flac):
    content, expected = flac
    (tmp_path / "a.flac").write_bytes(content + b"TAG" + bytes(125))
    assert np.array_equal(read_audio(tmp_path / "a.flac")[0], expected)


@pytest.mark.parametrize("rate", [8000, 11_025, 48_000, 96_000, 655_350])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("n_samples", [1, 4095, 4096, 4097, 600_000])
def test_the_last_frame_tells_the_length(tmp_path, rate, channels, n_samples):
    wave = np.random.default_rng(0).uniform(-1, 1, (n_samples, channels)).astype("f")
    soundfile.write(tmp_path / "a.flac", wave, rate)
    (link,) = find_links(tmp_path / "a.flac")
    assert (link.n_promised, link.is_right) == (n_samples, True)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(with_total(content, n_samples + 1))
    (link,) = find_links(tmp_path / "a.flac")
    assert (link.n_promised, link.is_right) == (n_samples + 1, False)
