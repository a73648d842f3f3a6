"""Files are told apart by what is in them."""

import os

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.decoding.content import Kind, kind_of

RATE = 44_100

LIBSNDFILE = [
    ("WAV", "PCM_16"), ("WAVEX", "PCM_16"), ("RF64", "PCM_16"), ("W64", "PCM_16"),
    ("AIFF", "PCM_16"), ("AIFF", "FLOAT"), ("AU", "PCM_16"), ("CAF", "ALAC_16"),
    ("SVX", "PCM_16"), ("VOC", "PCM_16"),
    ("NIST", "PCM_16"), ("PAF", "PCM_16"), ("PVF", "PCM_16"), ("AVR", "PCM_16"), ("XI", "DPCM_16"),
    ("IRCAM", "PCM_16"), ("WVE", "ALAW"),
]  # fmt: skip


@pytest.mark.parametrize(("format", "subtype"), LIBSNDFILE)
def test_what_libsndfile_writes(tmp_path, format, subtype):
    rate = 8000 if format == "WVE" else RATE
    soundfile.write(tmp_path / "a", np.zeros(500), rate, subtype, format=format)
    assert kind_of(tmp_path / "a") is Kind.SNDFILE


@pytest.mark.parametrize("title", [b"", b"ID3\x04\x00\x00\x00\x00\x00\x0aa title..."])
def test_mp3_ogg_and_flac_also_behind_a_title(tmp_path, mp3_bytes, ogg_bytes, title):
    soundfile.write(tmp_path / "a.flac", np.zeros(500), RATE)
    for content, kind in [
        (mp3_bytes(1), Kind.MPEG),
        (ogg_bytes(1), Kind.OGG),
        ((tmp_path / "a.flac").read_bytes(), Kind.FLAC),
    ]:
        (tmp_path / "a").write_bytes(title + content)
        assert kind_of(tmp_path / "a") is kind


@pytest.mark.parametrize(
    "content",
    [
        b"\0\0\0\x20ftypM4A \0\0\0\0", b"\0\0\0\x20ftypisom\0\0\0\0",
        b"\0\0\0\x08wide\0\0\0\0mdat",
        b"\x1a\x45\xdf\xa3", b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", b"FLV\x01",
        b"RIFF\0\0\0\0AVI LIST",
        b"wvpk", b"MAC \x96\x0f", b"TTA1", b"#!AMR\n", b"\x0b\x77\0\0",
        b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9) + b"\xff\xf1\x50\x80\x02\x1f\xfc" + bytes(9),
        (b"G" + bytes(187)) * 5, (bytes(4) + b"G" + bytes(187)) * 5,
    ],
)  # fmt: skip
def test_what_needs_ffmpeg(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert kind_of(tmp_path / "a") is Kind.FOREIGN


@pytest.mark.parametrize(
    "content",
    [
        b"", b"a", b"text about fLaC, OggS and RIFF", b"\xff\xd8\xff\xe0\0\x10JFIF",
        b"\x89PNG\r\n\x1a\n",
        b"GIF89a", b"%PDF-1.7", b"PK\x03\x04", b"MThd\0\0\0\x06", b"\0\0\0\x20ftypheic\0\0\0\0",
        b"RIFF\0\0\0\0WEBPVP8 ", b"RIFF\0\0\0\0sfbk", b"#EXTM3U\n", b"\xff\xfe1\x000\x00", b"ID3",
        b"\xef\xbb\xbf[playlist]", bytes(5000), b"\xff" * 5000, b"\xff\xfb\x90\x00" + bytes(2000),
        b"GIVEN" * 100, b"{\"a\": 1}",
    ],
)  # fmt: skip
def test_what_is_no_sound(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    assert kind_of(tmp_path / "a") is Kind.UNKNOWN


def test_noise_is_no_sound(tmp_path):
    for seed in range(50):
        (tmp_path / "a").write_bytes(np.random.default_rng(seed).bytes(20_000))
        assert kind_of(tmp_path / "a") is Kind.UNKNOWN


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    for path in (tmp_path / "a.wav", tmp_path, tmp_path / "none"):
        assert kind_of(path) is Kind.UNKNOWN
