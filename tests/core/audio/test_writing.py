"""What a format can hold, and files beyond 4 GiB."""

import numpy as np
import pytest

from lqsep.core.audio import writable
from lqsep.core.audio.files import AudioWriter, audio_info, read_audio, write_audio
from lqsep.core.errors import AudioError

RATE = 22_050


def noise(channels=2, samples=3000, seed=0):
    return (np.random.default_rng(seed).standard_normal((channels, samples)) * 0.1).astype("f")


@pytest.fixture
def short_limit(monkeypatch):
    """As if a wav file could hold 10,000 bytes only."""
    monkeypatch.setattr(writable, "_MAX_WAV_BYTES", 10_000)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
@pytest.mark.parametrize("clip_mode", ["none", "rescale"])
def test_a_wav_file_that_would_be_too_long_becomes_rf64(tmp_path, short_limit, subtype, clip_mode):
    path = tmp_path / "a.wav"
    write_audio(path, noise(), RATE, subtype=subtype, clip_mode=clip_mode)
    assert path.read_bytes()[:4] == b"RF64"
    assert audio_info(path).n_samples == 3000
    write_audio(tmp_path / "b.flac", noise(), RATE, subtype="PCM_24")
    assert np.abs(read_audio(path)[0] - noise()).max() <= 0.5 / 2**15 + 3e-8


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_shorter_wav_file_stays_one(tmp_path, subtype):
    write_audio(tmp_path / "a.wav", noise(), RATE, subtype=subtype)
    assert (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_24", "FLOAT"])
def test_a_wav_file_of_unknown_length_is_refused_when_it_becomes_too_long(
    tmp_path, short_limit, subtype
):
    with pytest.raises(AudioError, match=r"longer than a wav file can be \(4 GiB\)"):
        with AudioWriter(tmp_path / "a.wav", RATE, 2, subtype=subtype) as writer:
            for _ in range(10):
                writer.write(noise(samples=500))
    assert list(tmp_path.iterdir()) == []


def test_the_limit_is_that_of_sizes_in_32_bits():
    for subtype, n_bytes in (("PCM_16", 2), ("PCM_24", 3), ("FLOAT", 4)):
        most = (2**32 - 2**12) // (2 * n_bytes)
        assert writable.container_of("wav", subtype, 2, most) == "WAV"
        assert writable.container_of("wav", subtype, 2, most + 1) == "RF64"
    assert writable.container_of("wav", "FLOAT", 2, None) == "WAV"
    assert writable.container_of("flac", "PCM_16", 2, 2**40) == "FLAC"


@pytest.mark.parametrize(
    ("name", "channels", "rate", "message"),
    [
        ("a.mp3", 3, 44_100, "mp3 holds up to 2 channels, not 3; use wav"),
        ("a.mp3", 6, 44_100, "mp3 holds up to 2 channels, not 6; use wav"),
        ("a.flac", 9, 44_100, "flac holds up to 8 channels, not 9; use wav"),
        ("a.ogg", 256, 44_100, "ogg holds up to 255 channels, not 256; use wav"),
        ("a.wav", 1025, 44_100, "wav holds up to 1024 channels, not 1025"),
        ("a.mp3", 2, 44_000, "mp3 holds sample rates of 8000, 11025, .* 48000 Hz, not 44000 Hz"),
        ("a.flac", 2, 655_351, "flac holds sample rates of up to 655350 Hz, not 655351 Hz"),
        ("a.ogg", 2, 200_001, "ogg holds sample rates of up to 200000 Hz, not 200001 Hz"),
    ],
)
def test_what_a_format_cannot_hold_is_said_before_libsndfile_does(
    tmp_path, name, channels, rate, message
):
    with pytest.raises(AudioError, match=message):
        AudioWriter(tmp_path / name, rate, channels)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "channels", "rate"),
    [("a.mp3", 2, 8000), ("a.flac", 8, 655_350), ("a.ogg", 8, 200_000), ("a.wav", 16, 768_000)],
)
def test_what_a_format_can_hold_just_so(tmp_path, name, channels, rate):
    write_audio(tmp_path / name, noise(channels, 9000), rate)
    info = audio_info(tmp_path / name)
    assert (info.channels, info.sample_rate, info.n_samples) == (channels, rate, 9000)


@pytest.mark.parametrize("clip_mode", ["none", "rescale"])
@pytest.mark.parametrize("format", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("limit", [10, 5000], ids=["header", "samples"])
def test_a_limit_that_is_reached_is_told_with_the_file(tmp_path, format, clip_mode, limit):
    resource = pytest.importorskip("resource")
    noise = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 100_000)).astype(np.float32)
    path = tmp_path / f"noise.{format}"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with (
            pytest.raises(AudioError) as error,
            AudioWriter(path, 44100, 2, clip_mode=clip_mode) as writer,
        ):
            writer.write(noise)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert f"cannot write {path}" in str(error.value)
    assert "the disk is full, or a limit is reached" in str(error.value)
    assert "System error" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
