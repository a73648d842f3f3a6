import os
import struct

import numpy as np
import pytest
import soundfile
import torch

from lqsep.core.audio.files import AudioReader, AudioWriter, audio_info, read_audio, write_audio
from lqsep.core.errors import AudioError, ShapeError

RATE = 22050
# Rounding to the nearest level of 16 and 24 bits.
TOLERANCE = {"PCM_16": 0.5 / 2**15, "PCM_24": 0.5 / 2**23, "FLOAT": 0.0}


def noise(channels=2, samples=30_000, scale=0.1, seed=0):
    return (np.random.default_rng(seed).standard_normal((channels, samples)) * scale).astype("f")


@pytest.mark.parametrize("extension", ["wav", "flac"])
@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_lossless_round_trip(tmp_path, extension, subtype):
    path = tmp_path / f"a.{extension}"
    if (extension, subtype) == ("flac", "FLOAT"):
        with pytest.raises(AudioError, match="flac holds PCM_16, PCM_24, not FLOAT"):
            write_audio(path, noise(), RATE, subtype=subtype)
        assert list(tmp_path.iterdir()) == []
        return
    write_audio(path, noise(), RATE, subtype=subtype)
    wave, rate = read_audio(path)
    assert (rate, wave.dtype, wave.shape) == (RATE, np.float32, (2, 30_000))
    # plus float32's own rounding of values below 0.5
    assert np.abs(wave - noise()).max() <= TOLERANCE[subtype] + 3e-8
    # what was read is written again bit by bit
    write_audio(tmp_path / "again.wav", wave, rate, subtype=subtype)
    assert np.array_equal(read_audio(tmp_path / "again.wav")[0], wave)


def test_rounding_has_no_bias(tmp_path):
    write_audio(tmp_path / "a.wav", noise(), RATE)
    error = read_audio(tmp_path / "a.wav")[0].astype(float) - noise()
    # libsndfile alone would be off by half a level; the mean of 60,000 errors is within 0.01 level
    assert abs(error.mean()) < 0.01 / 2**15


@pytest.mark.parametrize("extension", ["ogg", "mp3"])
def test_lossy_formats_keep_rate_channels_and_length(tmp_path, extension):
    # low frequencies survive any coder
    tone = 0.3 * np.sin(2 * np.pi * 220 / RATE * np.arange(200_001))
    write_audio(tmp_path / f"a.{extension}", np.stack([tone, -tone]), RATE)
    info = audio_info(tmp_path / f"a.{extension}")
    assert (info.sample_rate, info.channels, info.n_samples) == (RATE, 2, 200_001)
    wave, _ = read_audio(tmp_path / f"a.{extension}")
    assert np.abs(wave[0] - tone).std() < 0.03


def test_info(tmp_path):
    write_audio(tmp_path / "a.wav", noise(samples=11025), RATE)
    info = audio_info(tmp_path / "a.wav")
    assert (info.format, info.subtype, info.duration_s) == ("WAV", "PCM_16", 0.5)


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg", "mp3"])
def test_parts_equal_the_whole(tmp_path, extension):
    path = tmp_path / f"a.{extension}"
    write_audio(path, noise(), RATE)
    whole, _ = read_audio(path)
    with AudioReader(path) as reader:
        parts = [(0, 1), (12_345, 20_000), (13_000, 19_000), (15_000, 21_000), (14_000, 20_000)]
        for start, stop in [*parts, (100, 5000), (29_999, 30_000), (0, 30_000), (29_000, 29_001)]:
            # mp3 decoding varies in the last bit of single precision
            assert np.abs(reader.read(start, stop) - whole[:, start:stop]).max() < 1e-6
        assert np.abs(np.concatenate(list(reader.blocks(4097)), 1) - whole).max() < 1e-6
        for wrong in [(-1, 5), (5, 5), (0, 30_001)]:
            with pytest.raises(AudioError, match="it has samples 0 to 30000"):
                reader.read(*wrong)
    assert np.abs(read_audio(path, 29_000, 5000)[0] - whole[:, 29_000:]).max() < 1e-6


def test_one_sample(tmp_path):
    write_audio(tmp_path / "a.wav", torch.tensor([0.5]), RATE)
    assert read_audio(tmp_path / "a.wav")[0].tolist() == [[0.5]]


@pytest.mark.parametrize("extension", ["wav", "aiff", "au", "w64", "caf", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("kept", [0.3, 0.5, 0.97])
def test_a_file_cut_short_is_an_error(tmp_path, extension, kept):
    path = tmp_path / f"a.{extension}"
    soundfile.write(path, noise(samples=100_000).T, RATE)
    assert audio_info(path).n_samples == 100_000
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(AudioError, match="cut short|malformed") as caught:
        read_audio(path)
    assert "\n" not in str(caught.value)


def test_a_cut_wav_is_found_before_it_is_read(tmp_path):
    write_audio(tmp_path / "a.wav", noise(), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    (tmp_path / "a.wav").write_bytes(content[:-1])
    with pytest.raises(AudioError, match="at least 1 bytes are missing"):
        audio_info(tmp_path / "a.wav")


def test_wav_from_a_pipe_has_no_size_and_reads(tmp_path):
    write_audio(tmp_path / "a.wav", noise(), RATE)
    content = bytearray((tmp_path / "a.wav").read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    assert content[36:40] == b"data"
    (tmp_path / "a.wav").write_bytes(content)
    assert read_audio(tmp_path / "a.wav")[0].shape == (2, 30_000)


def test_chunks_before_and_after_the_samples(tmp_path):
    write_audio(tmp_path / "a.wav", noise(), RATE)
    content = (tmp_path / "a.wav").read_bytes()
    chunk = b"LIST" + struct.pack("<I", 5) + b"INFO!\0"
    body = content[12:36] + chunk + content[36:] + chunk
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body)
    assert audio_info(tmp_path / "a.wav").n_samples == 30_000
    samples_end = 8 + 4 + len(body) - len(chunk)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "a.wav").read_bytes()[: samples_end - 10])
    with pytest.raises(AudioError, match="at least 10 bytes are missing"):
        audio_info(tmp_path / "cut.wav")
    # the last chunk is no sound: without it nothing is missing
    (tmp_path / "a.wav").write_bytes(
        b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body[: -len(chunk)]
    )
    assert read_audio(tmp_path / "a.wav")[0].shape == (2, 30_000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_not_finite(tmp_path, value):
    wave = noise()
    wave[1, 11_025] = value
    soundfile.write(tmp_path / "a.wav", wave.T, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match=r"sample 11025 \(0.500 s\), channel 2, is (nan|-?inf)"):
        read_audio(tmp_path / "a.wav")
    with pytest.raises(AudioError, match=r"cannot write .*sample 11025 \(0.500 s\), channel 2"):
        write_audio(tmp_path / "b.wav", wave, RATE)
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_what_is_no_audio_file(tmp_path):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x18ftypM4A " + bytes(1000))
    (tmp_path / "empty.wav").write_bytes(b"")
    soundfile.write(tmp_path / "zero.wav", np.zeros((0, 1)), RATE)
    for name, message in [
        ("none.wav", "no such file"),
        ("", "got a folder"),
        ("a.m4a", "Supported formats: wav, flac, ogg, opus, mp3, aiff"),
        ("empty.wav", "not a readable audio file"),
        ("zero.wav", "no samples"),
    ]:
        with pytest.raises(AudioError, match=message) as caught:
            read_audio(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("a.mp3", {"sample_rate": 96_000}, "mp3 .*96000 Hz"),
        ("a.m4a", {}, "expected a format among wav, flac, ogg, mp3, got 'm4a'"),
        ("a", {}, "expected a format among"),
        ("a.wav", {"clip_mode": "soft"}, "clip mode must be one of none, clamp, rescale"),
        ("a.ogg", {"subtype": "PCM_24"}, "ogg holds VORBIS, not PCM_24"),
        ("nowhere/a.wav", {}, "its folder does not exist"),
    ],
)
def test_what_cannot_be_written_is_said_at_once(tmp_path, name, arguments, message):
    with pytest.raises(AudioError, match=message):
        AudioWriter(tmp_path / name, **{"sample_rate": RATE, "channels": 1, **arguments})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(AudioError, match="cannot write"):
        AudioWriter(tmp_path / "a.wav", RATE, 1)


@pytest.mark.parametrize("clip_mode", ["none", "rescale"])
def test_an_exception_leaves_the_old_file(tmp_path, clip_mode):
    write_audio(tmp_path / "a.wav", noise(), RATE)
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        with AudioWriter(tmp_path / "a.wav", RATE, 2, clip_mode=clip_mode) as writer:
            writer.write(noise(seed=1))
            assert len(list(tmp_path.iterdir())) > 1  # it is on its way, under another name
            raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]
    assert (tmp_path / "a.wav").read_bytes() == before


def test_blocks_of_any_length_make_the_same_file(tmp_path):
    write_audio(tmp_path / "a.flac", noise(), RATE)
    with AudioWriter(tmp_path / "b.flac", RATE, 2) as writer:
        for start in range(0, 30_000, 7001):
            writer.write(noise()[:, start : start + 7001])
        writer.write(noise()[:, :0])
        assert not (tmp_path / "b.flac").exists()
    assert (tmp_path / "a.flac").read_bytes() == (tmp_path / "b.flac").read_bytes()


def test_nothing_written_is_an_error(tmp_path):
    with pytest.raises(AudioError, match="no samples to write"):
        with AudioWriter(tmp_path / "a.wav", RATE, 2):
            pass
    assert list(tmp_path.iterdir()) == []


def test_wrong_channels(tmp_path):
    with pytest.raises(ShapeError, match="with 1 channels, got shape"):
        with AudioWriter(tmp_path / "a.wav", RATE, 1) as writer:
            writer.write(noise())
    with pytest.raises(ShapeError, match="expected floats"):
        write_audio(tmp_path / "a.wav", np.zeros((1, 5), int), RATE)


LOUD = np.array([[0.5, 2.0, -4.0, 1.0, -1.0]], "f")
TOP = 1 - 2**-15  # the largest value of 16 bits


@pytest.mark.parametrize(
    ("subtype", "clip_mode", "expected", "n_clipped"),
    [
        ("PCM_16", "none", [0.5, TOP, -1, TOP, -1], 2),
        ("PCM_16", "clamp", [0.5, TOP, -1, TOP, -1], 2),
        ("PCM_16", "rescale", [0.125, 0.5, -1, 0.25, -0.25], 0),
        ("FLOAT", "none", [0.5, 2, -4, 1, -1], 0),
        ("FLOAT", "clamp", [0.5, 1, -1, 1, -1], 2),
        ("FLOAT", "rescale", [0.125, 0.5, -1, 0.25, -0.25], 0),
    ],
)
def test_clip_modes(tmp_path, subtype, clip_mode, expected, n_clipped):
    done = write_audio(tmp_path / "a.wav", LOUD, RATE, subtype=subtype, clip_mode=clip_mode)
    assert (done.peak, done.n_clipped) == (4.0, n_clipped)
    assert done.scale == (0.25 if clip_mode == "rescale" else 1.0)
    assert read_audio(tmp_path / "a.wav")[0][0].tolist() == expected
    assert [p.name for p in tmp_path.iterdir()] == ["a.wav"]


def test_rescale_leaves_quiet_files_alone_and_can_share_a_peak(tmp_path):
    done = write_audio(tmp_path / "a.wav", LOUD / 8, RATE, clip_mode="rescale")
    assert done.scale == 1
    writer = AudioWriter(tmp_path / "b.wav", RATE, 1, clip_mode="rescale")
    writer.write(LOUD)
    writer.commit(peak=8.0)
    assert read_audio(tmp_path / "b.wav")[0][0].tolist() == [0.0625, 0.25, -0.5, 0.125, -0.125]


@pytest.mark.parametrize("n_opened", [0, 1])
def test_an_interruption_while_a_writer_is_made_leaves_no_file(tmp_path, monkeypatch, n_opened):
    opened = AudioWriter._open
    calls = []

    def interrupted(self, path, *arguments):
        file = opened(self, path, *arguments)
        calls.append(path)
        if len(calls) > n_opened:
            raise KeyboardInterrupt
        return file

    monkeypatch.setattr(AudioWriter, "_open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        AudioWriter(tmp_path / "a.wav", 8000, 1, clip_mode="rescale")
    assert list(tmp_path.iterdir()) == []
