"""What libsndfile does not read: by PyAV, by ffmpeg, or a line that says what to install."""

import subprocess
import sys

import numpy as np
import pytest

from lqsep.core.audio.decoding.program import FfmpegStream
from lqsep.core.audio.files import AudioReader, audio_info, read_audio
from lqsep.core.errors import AudioError

RATE = 44_100


def read_in_blocks(path):
    with AudioReader(path) as reader:
        return np.concatenate(list(reader.blocks(10_007)), 1)


@pytest.mark.parametrize(
    ("name", "coding", "format"),
    [
        ("a.m4a", "alac", "s16p"),
        ("a.mka", "flac", "s16"),
        ("a.ogg", "flac", "s16"),  # which libsndfile does not read in ogg
        ("a.wv", "wavpack", "s16p"),
        ("a.mov", "pcm_s16le", "s16"),
        ("a.tta", "tta", "s16"),
    ],
)
def test_lossless_formats_come_back_bit_by_bit(av_file, music, name, coding, format):
    wave = music(2.5)
    path = av_file(name, wave, coding, format=format)
    expected = (np.round(wave * 32768).clip(-32768, 32767) / 32768).astype("f")
    info = audio_info(path)
    assert (info.n_samples, info.sample_rate, info.channels) == (wave.shape[1], RATE, 2)
    assert info.warnings == ()
    assert np.array_equal(read_audio(path)[0], expected)
    assert np.array_equal(read_in_blocks(path), expected)
    with AudioReader(path) as reader:  # back and forth
        for start in (60_000, 5, 100_000, 99_999):
            assert np.array_equal(reader.read(start, start + 500), expected[:, start : start + 500])


@pytest.mark.parametrize(
    ("name", "coding", "format"),
    [
        ("a.m4a", "aac", "fltp"),
        ("a.aac", "aac", "fltp"),
        ("a.wma", "wmav2", "fltp"),
        ("a.ac3", "ac3", "fltp"),
    ],
)
def test_lossy_formats(av_file, name, coding, format):
    time = np.arange(2 * RATE) / RATE
    path = av_file(
        name, 0.5 * np.stack([np.sin(2 * np.pi * 220 * time)] * 2), coding, format=format
    )
    info = audio_info(path)
    # coders add up to some frames at both ends
    assert 2 * RATE - 2048 <= info.n_samples <= 2 * RATE + 4096
    wave = read_audio(path)[0]
    assert wave.shape == (2, info.n_samples)
    assert np.array_equal(read_in_blocks(path), wave)
    assert np.sqrt(np.square(wave[:, RATE // 2 : RATE]).mean()) == pytest.approx(0.354, abs=0.02)


def test_the_sound_of_a_film(av_file, music):
    path = av_file("a.mp4", music(1), "aac", format="fltp", film=True)
    assert audio_info(path).duration_s == pytest.approx(1, abs=0.1)


def test_of_several_streams_the_first_is_read(av_file, music):
    path = av_file("a.mka", music(1), "flac", format="s16", n_streams=3)
    assert audio_info(path).n_samples == RATE
    assert audio_info(path).warnings == ("it has 3 audio streams; the first is read",)


def test_a_film_without_sound(av_file):
    path = av_file("a.mp4", np.zeros((2, 9)), "aac", n_streams=0, film=True)
    with pytest.raises(AudioError, match="a.mp4: it has no audio stream"):
        read_audio(path)


@pytest.mark.parametrize(
    ("kept", "words"), [(0.97, "cut short"), (0.5, "cut short"), (0.02, "stream is empty")]
)
def test_a_cut_file_is_refused_or_warned_about(av_file, music, tmp_path, kept, words):
    path = av_file("a.mka", music(10), "flac", format="s16")
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    try:
        notes = audio_info(path).warnings
    except AudioError as error:
        notes = (str(error),)
    assert len(notes) == 1 and words in notes[0]


def test_damaged_pieces_are_left_out_and_told(av_file, music):
    path = av_file("a.m4a", music(5), "aac", format="fltp")
    content = bytearray(path.read_bytes())
    start = content.index(b"mdat") + 4
    content[start + 20_000 : start + 21_000] = b"\xa5" * 1000
    path.write_bytes(content)
    (note,) = audio_info(path).warnings
    assert note.startswith("damaged pieces of it were left out (")
    assert read_audio(path)[0].shape[1] == audio_info(path).n_samples


def test_a_coding_that_nobody_knows(tmp_path, av_file, music):
    path = av_file("a.wav", music(1), "pcm_s16le", format="s16")
    content = bytearray(path.read_bytes())
    content[20:22] = b"\x34\x12"
    path.write_bytes(content)
    with pytest.raises(AudioError, match=r"not a readable audio file \(FFmpeg does not know its"):
        read_audio(path)


def test_titles_need_not_be_text(av_file, music):
    path = av_file("a.wma", music(1), "wmav2", format="fltp")
    # the name of the software that wrote it, in two bytes per letter
    content = path.read_bytes()
    assert "Lavf".encode("utf-16-le") in content
    path.write_bytes(
        content.replace("Lavf".encode("utf-16-le"), b"\x00\xd8\x00\xd8\xff\xdf\x00\xd8")
    )
    assert audio_info(path).duration_s == pytest.approx(1, abs=0.2)


def test_a_playlist_leads_nowhere(tmp_path, av_file, music):
    song = av_file("a.aac", music(1), "aac", format="fltp")
    for name, text in {
        "a.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{song}\n#EXT-X-ENDLIST\n",
        "a.txt": f"ffconcat version 1.0\nfile '{song}'\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="not a readable audio file"):
            read_audio(tmp_path / name)


# By the program


@pytest.fixture
def film(tmp_path, music):
    """What the fake ffmpeg takes for a film, and its sound."""

    def make(behind=b""):
        path = tmp_path / "a.mkv"
        path.write_bytes(b"\x1a\x45\xdf\xa3" + music(1).T.astype(">f4").tobytes() + behind)
        return path

    return make


def test_the_program_where_only_that_is_installed(film, music, no_av, fake_ffmpeg):
    path = film()
    info = audio_info(path)
    assert (info.n_samples, info.channels, info.sample_rate, info.format) == (
        RATE,
        2,
        RATE,
        "ffmpeg",
    )
    assert np.array_equal(read_audio(path)[0], music(1))
    assert np.array_equal(read_in_blocks(path), music(1))


def test_a_program_that_breaks_off(film, no_av, fake_ffmpeg):
    with pytest.raises(AudioError, match=r"a\.mkv: it broke off\.$"):
        read_audio(film(b"late"))


def test_what_the_program_cannot_read(tmp_path, no_av, fake_ffmpeg):
    (tmp_path / "a.mkv").write_bytes(b"\x1a\x45\xdf\xa3broken")
    with pytest.raises(AudioError, match=r"not a readable audio file \(ffmpeg: no sound in it\)"):
        read_audio(tmp_path / "a.mkv")


def test_the_program_ends_with_its_reader(film, no_av, fake_ffmpeg):
    stream = FfmpegStream(film(bytes(8 * 10**6)))
    assert len(stream.read(10)) == 10
    process = stream._process
    assert process.poll() is None
    stream.close()
    assert process.poll() is not None


# Without either


@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypM4A ", b"\x1a\x45\xdf\xa3", b"wvpk", b"MAC "])
def test_without_either_one_line_says_what_to_install(tmp_path, content, no_av, no_ffmpeg):
    (tmp_path / "a.m4a").write_bytes(content + bytes(100))
    with pytest.raises(AudioError) as caught:
        audio_info(tmp_path / "a.m4a")
    assert str(caught.value) == (
        f"cannot read {tmp_path}/a.m4a: libsndfile does not read such files; to read them, install "
        "PyAV (pip install 'lqsep[formats]') or the program ffmpeg."
    )


def test_a_folder_named_av_is_not_the_package(tmp_path, no_ffmpeg):
    (tmp_path / "av").mkdir()
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(100))
    code = """
import importlib.machinery, sys

class First:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "av":
            return importlib.machinery.PathFinder.find_spec(name, [sys.argv[1]])

sys.meta_path.insert(0, First)
from lqsep.core.audio.files import audio_info
from lqsep.core.errors import AudioError
try:
    audio_info(sys.argv[1] + "/a.m4a")
except AudioError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "install PyAV" in done.stdout, done.stderr


def test_pyav_is_imported_for_such_files_only(tmp_path, music):
    from lqsep.core.audio.files import write_audio

    write_audio(tmp_path / "a.mp3", music(1), RATE)
    code = """
import sys
from lqsep.core.audio.files import audio_info
audio_info(sys.argv[1])
print("av" in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.mp3")], capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
