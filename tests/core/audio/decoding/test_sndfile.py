"""Every format and coding that libsndfile reads, in pieces and from any place."""

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.sndfile import SndfileStream, seeks_exactly
from lqsep.core.audio.files import AudioReader, audio_info, read_audio
from lqsep.core.errors import AudioError

# What libsndfile itself cannot write, or reads as something else than it wrote.
_NOT_WRITTEN = {("AIFF", "DWVW_12"), ("WAV", "MPEG_LAYER_III"), ("MP3", "MPEG_LAYER_I")}
_NOT_WRITTEN |= {("MP3", "MPEG_LAYER_II")}

# Sounds that are kept as files for other programs' data; RAW has no header.
_NO_FORMATS = {"RAW", "MAT4", "MAT5", "HTK", "MPC2K", "SDS", "SD2"}

CODINGS = [
    (format, subtype)
    for format in soundfile.available_formats()
    for subtype in soundfile.available_subtypes(format)
    if format not in _NO_FORMATS and (format, subtype) not in _NOT_WRITTEN
]


def write(path, wave, format, subtype):
    """With as many channels and at such a rate as the coding has."""
    for channels, rate in ((2, 44_100), (1, 44_100), (1, 16_000), (1, 8000)):
        try:
            with soundfile.SoundFile(path, "w", rate, channels, subtype, format=format) as file:
                for block in np.array_split(wave.T[:, :channels], 20):
                    file.write(block)
            return
        except soundfile.LibsndfileError:
            continue
    raise AssertionError(f"{format} {subtype} cannot be written")


@pytest.mark.parametrize(("format", "subtype"), CODINGS)
def test_pieces_and_places_are_those_of_the_whole(tmp_path, music, format, subtype):
    path = tmp_path / "a"
    write(path, 0.9 * music(1.5), format, subtype)
    whole, _ = read_audio(path)
    n_samples = whole.shape[1]
    with AudioReader(path) as reader:
        pieces = np.concatenate(list(reader.blocks(7001)), 1)
        assert np.abs(pieces - whole).max() < 1e-6
        for start in (40_000, 3, 10_000, 10_001, n_samples - 900, 0):
            stop = min(n_samples, start + 1000)
            assert np.abs(reader.read(start, stop) - whole[:, start:stop]).max() < 1e-6


def test_a_coding_that_cannot_seek_says_so_or_not(tmp_path, music):
    """GSM 6.10 failed with "seek attempted on unseekable file type"."""
    write(tmp_path / "a.wav", music(1), "WAV", "GSM610")
    stream = SndfileStream(tmp_path / "a.wav")
    assert not seeks_exactly(stream)
    stream.close()
    assert read_audio(tmp_path / "a.wav", 1000, 500)[0].shape == (1, 500)


@pytest.mark.parametrize("rate", [1, 999, 1_000_001, 2**31 - 1])
def test_rates_that_cannot_be_are_refused(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(500), 44_100)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=f"a sample rate of 1000 to 1000000 Hz, got {rate} Hz"):
        audio_info(tmp_path / "a.wav")


def test_two_channels_of_8svx_are_not_left_to_libsndfile(tmp_path, av_file):
    """They stand one behind the other; libsndfile takes them for alternating samples."""
    header = (5).to_bytes(4, "big") + bytes(8) + (8000).to_bytes(2, "big") + b"\1\0\0\1\0\0"
    left, right = b"\x10" * 500, b"\xf0" * 500
    chunks = b"VHDR\0\0\0\x14" + header + b"CHAN\0\0\0\4\0\0\0\6"
    chunks += b"BODY" + (1000).to_bytes(4, "big") + left + right
    path = tmp_path / "a.8svx"
    path.write_bytes(b"FORM" + (4 + len(chunks)).to_bytes(4, "big") + b"8SVX" + chunks)
    assert soundfile.read(path)[0][1].tolist() == [0.125, 0.125]
    assert read_audio(path)[0][:, 1].tolist() == [0.125, -0.125]


@pytest.mark.parametrize("rate", [1000, 1_000_000])
def test_rates_that_can_just_be(tmp_path, rate):
    soundfile.write(tmp_path / "a.wav", np.zeros(500), rate)
    assert audio_info(tmp_path / "a.wav").sample_rate == rate


def test_a_name_that_soundfile_takes_for_raw_samples(tmp_path, music):
    soundfile.write(tmp_path / "a.raw", music(0.1).T, 44_100, "PCM_16", format="RAW")
    with pytest.raises(AudioError, match="not a readable audio file"):
        read_audio(tmp_path / "a.raw")


def test_a_closed_reader_says_so(tmp_path, music):
    soundfile.write(tmp_path / "a.wav", music(0.1).T, 44_100)
    with AudioReader(tmp_path / "a.wav") as reader:
        pass
    with pytest.raises(AudioError, match="it has been closed"):
        reader.read(0, 10)
