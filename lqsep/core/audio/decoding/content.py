"""What a file is, by its first bytes: endings are many, and say little.

`kind_of` decides how a file is read, and which files of a folder are audio.
"""

from __future__ import annotations

import os
from enum import Enum
from pathlib import Path

from lqsep.core.audio.decoding.headers.mpeg import first_frame
from lqsep.core.audio.decoding.headers.mpeg_frames import skip_tags
from lqsep.core.audio.decoding.streams import DecodingError


class Kind(Enum):
    """How a file is read."""

    MPEG = "mp3 and mp2"
    OGG = "ogg"
    FLAC = "flac"
    SNDFILE = "what libsndfile reads without help"
    FOREIGN = "what needs FFmpeg"
    UNKNOWN = "no audio that is known"


# Beginnings of what libsndfile reads; ``?`` is any byte.
_SNDFILE = (
    b"RIFF????WAVE", b"RF64????WAVE", b"BW64????WAVE", b"riff\x2e\x91\xcf\x11",
    b"FORM????AIFF", b"FORM????AIFC", b"FORM????8SVX", b"FORM????16SV",
    b".snd", b"dns.", b"caff\x00\x01", b"Creative Voice File\x1a", b"NIST_1A\n", b" paf", b"fap ",
    b"PVF1\n", b"2BIT", b"Extended Instrument", b"ALawSoundFile**",
    b"\x64\xa3\x01\x00", b"\x64\xa3\x02\x00", b"\x64\xa3\x03\x00", b"\x00\x01\xa3\x64",
    b"\x00\x02\xa3\x64", b"\x00\x03\xa3\x64",
)  # fmt: skip

# Beginnings of other sound and of films, which may have sound.
_FOREIGN = (
    b"\x1a\x45\xdf\xa3",  # mkv, mka, webm
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11",  # wma, wmv
    b"????moov", b"????mdat", b"????wide", b"????pnot",  # older mov; newer ones in `_is_mp4`
    b"FLV\x01", b"RIFF????AVI ", b"wvpk", b"MAC ", b"TTA1", b"TTA2", b"tBaK", b"MPCK", b"MP+",
    b"#!AMR", b"DSD ", b"FRM8????????DSD ", b".RMF", b".ra\xfd", b"ajkg", b"ADIF", b"EA3\x03",
    b"\x0b\x77",  # ac3
    b"\x7f\xfe\x80\x01", b"\xfe\x7f\x01\x80", b"\xff\x1f\x00\xe8", b"\x1f\xff\xe8\x00",  # dts
    b"\x00\x00\x01\xba",  # mpg, vob
    b".SoX", b"XoS.",
)  # fmt: skip

# Pictures are kept in the same container.
_MP4_PICTURES = (
    b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1", b"avif", b"avis", b"crx ",
    b"jp2 ", b"jpx ",
)  # fmt: skip

# Packets of an MPEG transport stream; in m2ts files each follows four bytes of time.
_PACKETS = ((0, 188), (4, 192))

_HEAD = 1024


def kind_of(path: Path) -> Kind:
    """What a file is. Only a regular file is opened; anything else is ``UNKNOWN``.

    Raises:
        OSError: It cannot be read.
    """
    if not os.path.isfile(path):
        return Kind.UNKNOWN
    size = os.path.getsize(path)
    with path.open("rb") as file:
        head = file.read(_HEAD)
        if head[:3] == b"ID3":  # in front of mp3, but also of others
            start = skip_tags(file, 0, size)
            file.seek(start)
            head = file.read(_HEAD)
        if head[:4] == b"fLaC":
            return Kind.FLAC
        if head[:4] == b"OggS":
            return Kind.OGG
        if any(_begins(head, pattern) for pattern in _SNDFILE):
            return Kind.SNDFILE
        if any(_begins(head, pattern) for pattern in _FOREIGN) or _is_mp4(head):
            return Kind.FOREIGN
        if _is_adts(head, size) or _is_transport_stream(head):
            return Kind.FOREIGN
        try:
            first_frame(file, size, farthest=1)
            return Kind.MPEG
        except DecodingError:
            return Kind.UNKNOWN


def _begins(head: bytes, pattern: bytes) -> bool:
    if b"?" not in pattern:
        return head.startswith(pattern)
    return len(head) >= len(pattern) and all(
        wanted in (byte, ord("?")) for byte, wanted in zip(head, pattern, strict=False)
    )


def _is_mp4(head: bytes) -> bool:
    return head[4:8] == b"ftyp" and head[8:12] not in _MP4_PICTURES


def _is_adts(head: bytes, size: int) -> bool:
    """aac as radio streams have it: frames with headers, of which one follows the other."""
    position = 0
    for _ in range(2):
        frame = head[position : position + 7]
        if len(frame) < 7 or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0:
            return False
        length = (frame[3] & 3) << 11 | frame[4] << 3 | frame[5] >> 5
        if length < 7 or frame[2] >> 2 & 15 > 12:
            return False
        position += length
        if position + 7 > min(len(head), size):
            return True
    return True


def _is_transport_stream(head: bytes) -> bool:
    return any(
        len(head) > first + 3 * length and all(head[first + i * length] == 0x47 for i in range(4))
        for first, length in _PACKETS
    )
