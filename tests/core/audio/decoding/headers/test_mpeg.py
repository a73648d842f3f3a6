"""MPEG audio: the true length, whatever the header says or does not."""

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.headers.mpeg import find_chain
from lqsep.core.audio.decoding.headers.mpeg_frames import parse_header
from lqsep.core.audio.decoding.streams import DecodingError
from lqsep.core.audio.files import AudioReader, audio_info, read_audio
from lqsep.core.errors import AudioError

# Of MPEG 1, layer III.
FRAME = 1152
# Samples that a tag's delay of 576 and every decoder's of 529 take off the beginning.
DELAY = 576 + 529


@pytest.fixture
def write(tmp_path):
    def write(content, name="a.mp3"):
        (tmp_path / name).write_bytes(content)
        return tmp_path / name

    return write


def frames(content):
    """The frames of a file of plain bytes, the tag first."""
    found, position = [], 0
    while position < len(content):
        frame = parse_header(content[position : position + 4])
        found.append(content[position : position + frame.n_bytes])
        position += frame.n_bytes
    return found


def blocks(path, size):
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(size)), 1)


def with_count(content, change):
    """The file with another number of frames in its tag."""
    at = content.index(b"Xing" if b"Xing" in content[:200] else b"Info") + 8
    count = int.from_bytes(content[at : at + 4], "big")
    return content[:at] + change(count).to_bytes(4, "big") + content[at + 4 :], count


def test_pieces_are_the_whole_at_a_variable_rate(tmp_path, music):
    soundfile.write(tmp_path / "a.mp3", music(25).T, 44_100)  # the writer's own settings
    assert len({len(frame) for frame in frames((tmp_path / "a.mp3").read_bytes())}) > 5
    whole = read_audio(tmp_path / "a.mp3")[0]
    assert np.abs(whole - music(25)).mean() < 0.05  # it is this sound
    for size in (44_100, 30_011, 1000):
        # more than full scale, when every read was followed by a seek
        assert np.abs(blocks(tmp_path / "a.mp3", size) - whole).max() < 1e-6


def test_random_places_are_those_of_the_whole(write, mp3_bytes):
    path = write(mp3_bytes(8))
    whole = read_audio(path)[0]
    with AudioReader(path) as reader:
        for start in np.random.default_rng(0).integers(0, reader.info.n_samples - 3000, 20):
            part = reader.read(start, start + 3000)
            assert np.abs(part - whole[:, start : start + 3000]).max() < 1e-6


def test_a_file_with_a_true_tag_is_as_long_as_what_was_written(write, mp3_bytes):
    info = audio_info(write(mp3_bytes()))
    assert (info.n_samples, info.warnings) == (4 * 44_100, ())


@pytest.mark.parametrize("name", ["a.mp3", "a.wav", "no ending"])
def test_without_a_tag_all_frames_count(write, mp3_bytes, name):
    """As a coder writes them to a pipe, and saved radio is."""
    content = mp3_bytes()
    tag, *rest = frames(content)
    path = write(b"".join(rest), name)
    guess = soundfile.info(path).frames
    assert abs(guess / (len(rest) * FRAME) - 1) > 0.03  # libsndfile's guess, and its limit
    info = audio_info(path)
    assert (info.n_samples, info.warnings) == (len(rest) * FRAME, ())
    wave = blocks(path, 30_011)
    assert np.array_equal(read_audio(path)[0], wave)
    # The same sound, later by what the tag would have told.
    expected = read_audio(write(content, "tagged.mp3"))[0]
    assert np.abs(wave[:, DELAY : DELAY + expected.shape[1]] - expected).max() < 1e-6


def test_layer_ii_and_other_rates_have_frames_of_their_own():
    assert parse_header(bytes.fromhex("fffd8400")).n_samples == 1152
    assert parse_header(bytes.fromhex("fffd8400")).n_bytes == 144 * 128_000 // 48_000
    assert parse_header(bytes.fromhex("fff344c0")).n_samples == 576  # MPEG 2, mono
    assert parse_header(bytes.fromhex("fff344c0")).channels == 1
    assert parse_header(bytes.fromhex("ffff9000")).n_bytes == 4 * (12 * 288_000 // 44_100)
    for wrong in ("fff18400", "ffe9f400", "fffb0c00", "fffbf000", "feff8400", "ff"):
        assert parse_header(bytes.fromhex(wrong)) is None


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 32_000, 48_000])
@pytest.mark.parametrize("channels", [1, 2])
def test_all_rates(write, mp3_bytes, rate, channels):
    content = mp3_bytes(3, rate, channels)
    assert audio_info(write(content)).n_samples == 3 * rate
    _, *rest = frames(content)
    path = write(b"".join(rest), "b.mp3")
    n_samples = len(rest) * (FRAME if rate >= 32_000 else FRAME // 2)
    info = audio_info(path)
    assert (info.n_samples, info.sample_rate, info.channels) == (n_samples, rate, channels)
    assert read_audio(path)[0].shape == (channels, n_samples)


@pytest.mark.parametrize("n_files", [2, 5])
def test_files_joined_end_to_end_are_read_to_the_end(write, mp3_bytes, music, n_files):
    title = b"ID3\x04\x00\x00\x00\x00\x00\x0a" + b"a title..." + b"TAG" + bytes(125)
    one = mp3_bytes()
    path = write((title[:20] + one + title[20:]) * n_files)
    assert soundfile.info(path).frames == 4 * 44_100
    n_frames = n_files * (len(frames(one)) - 1)
    info = audio_info(path)
    assert info.n_samples == n_frames * FRAME - DELAY
    assert len(info.warnings) == 1 and "its header counts 4.0" in info.warnings[0]
    wave = read_audio(path)[0]
    assert np.array_equal(blocks(path, 30_011), wave)
    last = wave[:, -4 * 44_100 + 20_000 : -4 * 44_100 + 60_000]
    assert np.abs(last).max() > 0.4  # sound, and no silence


@pytest.mark.parametrize("change", [1, 2, -1, -50])
def test_a_wrong_count_does_not_matter(write, mp3_bytes, change):
    content = mp3_bytes()
    expected = read_audio(write(content))[0]
    wrong, count = with_count(content, lambda count: count + change)
    path = write(wrong, "wrong.mp3")
    info = audio_info(path)
    assert info.n_samples == expected.shape[1]
    assert info.warnings == (
        f"its header counts {(count + change) * FRAME / 44_100:.2f} s, its frames "
        f"{count * FRAME / 44_100:.2f} s, which are read",
    )
    assert np.abs(read_audio(path)[0] - expected).max() < 1e-6


def test_a_count_of_nothing_does_not_matter(write, mp3_bytes):
    content = mp3_bytes()
    expected = read_audio(write(content))[0]
    path = write(with_count(content, lambda count: 0)[0], "wrong.mp3")
    assert np.abs(read_audio(path)[0] - expected).max() < 1e-6


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.99])
def test_a_file_that_was_cut_is_refused(write, mp3_bytes, kept):
    content = mp3_bytes()
    for path in (
        write(content[: int(kept * len(content))]),
        write(b"".join(frames(content)[: int(kept * len(frames(content)))]), "whole frames.mp3"),
    ):
        with pytest.raises(
            AudioError, match=r"cut short: its header counts 4\.\d\d s, and \d\.\d\d s"
        ):
            read_audio(path)


def test_a_file_without_a_tag_that_was_cut_is_read_with_a_warning(write, mp3_bytes):
    _, *rest = frames(mp3_bytes())
    path = write(b"".join(rest)[:-100])
    info = audio_info(path)
    assert info.n_samples == (len(rest) - 1) * FRAME
    assert info.warnings == ("its last frame is incomplete; is it cut short?",)
    assert read_audio(path)[0].shape == (2, info.n_samples)


def test_what_is_no_sound_between_frames_is_left_out(write, mp3_bytes):
    all_frames = frames(mp3_bytes())
    junk = bytes(range(1, 200)) * 20
    path = write(b"".join(all_frames[:50]) + junk + b"".join(all_frames[50:]))
    info = audio_info(path)
    assert info.n_samples == 4 * 44_100
    assert info.warnings == (
        f"{len(junk)} bytes between its frames are no sound and were left out",
    )
    wave = read_audio(path)[0]
    expected = read_audio(write(b"".join(all_frames), "whole.mp3"))[0]
    place = 50 * FRAME
    assert np.abs(wave - expected)[:, : place - 3 * FRAME].max() < 1e-6
    assert np.abs(wave - expected)[:, place + 3 * FRAME :].max() < 1e-6


def test_titles_behind_the_sound_are_no_junk(write, mp3_bytes):
    items = b"\x04\x00\x00\x00\x00\x00\x00\x00Year\x001999"
    size = (len(items) + 32).to_bytes(4, "little")
    head, foot = (
        b"APETAGEX\xd0\x07\x00\x00" + size + b"\1\0\0\0\0\0\0" + flag + bytes(8)
        for flag in (b"\xa0", b"\x80")
    )
    lyrics = b"LYRICSBEGIN" + b"la la la" + b"000019" + b"LYRICS200"
    for behind in (head + items + foot, lyrics, b"TAG" + bytes(125), bytes(500)):
        info = audio_info(write(mp3_bytes() + behind))
        assert (info.n_samples, info.warnings) == (4 * 44_100, ())


def test_parts_of_other_forms_are_refused(write, mp3_bytes):
    path = write(mp3_bytes() + mp3_bytes(rate=48_000))
    with pytest.raises(AudioError, match="changes at 4.05 s; convert it to one form first"):
        read_audio(path)


def test_frames_of_any_rate_are_followed(write, mp3_bytes):
    """Their size stands nowhere."""
    tag, *rest = frames(mp3_bytes())
    size = 700
    free = [
        frame[:2] + bytes([frame[2] & 0x0D]) + frame[3:4] + bytes(size - 4) for frame in rest[:40]
    ]
    chain = find_chain(write(b"".join(free)))
    assert (chain.n_frames, chain.ranges, chain.skipped) == (40, [(0, 40 * size)], 0)


def test_mp3_in_a_wav_file_is_counted_too(write, mp3_bytes):
    _, *rest = frames(mp3_bytes())
    sound = b"".join(rest)
    form = (
        b"\x55\0\2\0"
        + (44_100).to_bytes(4, "little")
        + (16_000).to_bytes(4, "little")
        + b"\1\0\0\0"
    )
    form += b"\x0c\0\1\0\2\0\0\0" + b"\xa1\1\1\0" + b"\x71\5"
    body = b"WAVEfmt " + len(form).to_bytes(4, "little") + form
    body += b"data" + len(sound).to_bytes(4, "little") + sound
    path = write(b"RIFF" + len(body).to_bytes(4, "little") + body, "a.wav")
    assert audio_info(path).n_samples == len(rest) * FRAME
    assert read_audio(path)[0].shape == (2, len(rest) * FRAME)


def test_what_is_no_mpeg_audio(write):
    for content in (b"", b"\xff" * 5000, bytes(5000), np.random.default_rng(0).bytes(300_000)):
        with pytest.raises(DecodingError, match="no MPEG audio frames"):
            find_chain(write(content))
