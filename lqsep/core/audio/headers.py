"""What libsndfile does not tell of a file: is its end missing, does it know its length.

A wav, aiff, au, w64 or ogg file that was cut short reads as a shorter one, without an error.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, Literal

# Both stand for "unknown" where a recorder or a pipe could not come back to fill the size in.
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)

# The last page of an ogg file begins within this many bytes of its end (pages are below 65,308).
_OGG_PAGE = 1 << 16

# A layer III frame is below this; the frame count stands in the first one.
_MP3_FRAME = 4096


def missing_bytes(path: Path) -> int:
    """By how many bytes the file falls short of what its header promises; 0 where it does not."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(4)
        if magic in (b"RIFF", b"RF64"):
            end = _data_end(file, b"data", "little")
        elif magic == b"FORM":
            end = _data_end(file, b"SSND", "big")
        elif magic == b"OggS":
            end = _last_page_end(file, size)
        elif magic == b"riff":  # w64: the size follows an identifier of 16 bytes
            end = int.from_bytes(file.read(20)[12:], "little")
        elif magic == b".snd":  # au: offset and size of the samples
            offset, length = (int.from_bytes(file.read(4), "big") for _ in range(2))
            end = 0 if length in _UNKNOWN_SIZES else offset + length
        else:
            return 0
    return max(0, end - size)


def has_frame_count(path: Path) -> bool:
    """Whether an mp3 file says how long it is; without that, its length is an estimate."""
    with path.open("rb") as file:
        head = file.read(10)
        start = 0
        if head[:3] == b"ID3":
            # Seven bits per byte, and the tag's own header of ten bytes.
            start = 10 + sum((head[6 + i] & 0x7F) << (7 * (3 - i)) for i in range(4))
        file.seek(start)
        frame = file.read(_MP3_FRAME)
    return any(mark in frame for mark in (b"Xing", b"Info", b"VBRI"))


def _data_end(file: BinaryIO, wanted: bytes, order: Literal["little", "big"]) -> int:
    """Where the chunk of samples should end, in bytes from the start; 0 where that is unknown."""
    long_size = 0
    position = 12
    while True:
        file.seek(position)
        header = file.read(8)
        if len(header) < 8:
            return 0
        size = int.from_bytes(header[4:], order)
        if header[:4] == b"ds64":
            long_size = int.from_bytes(file.read(16)[8:], "little")
        if header[:4] == wanted:
            size = long_size if size == 0xFFFFFFFF and long_size else size
            return 0 if size in _UNKNOWN_SIZES else position + 8 + size
        position += 8 + size + size % 2  # chunks start at even positions


def _last_page_end(file: BinaryIO, size: int) -> int:
    """Where the last ogg page should end: 27 bytes, its segment table, its segments."""
    start = max(0, size - _OGG_PAGE)
    file.seek(start)
    tail = file.read()
    page = tail.rfind(b"OggS")
    if page < 0:
        return size + 1
    header = tail[page : page + 27]
    if len(header) < 27:
        return start + page + 27
    table = tail[page + 27 : page + 27 + header[26]]
    return start + page + 27 + header[26] + sum(table)
