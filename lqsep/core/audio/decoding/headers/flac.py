"""FLAC files: how many samples they promise, whether that is so, and which are joined in one.

A file that was written to a pipe promises none (0 stands for "unknown", which libsndfile takes for
2^63 - 1); one that was cut out of another without decoding may promise the other's. Of files joined
end to end, libsndfile decodes the first.

Reference: RFC 9639.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import BinaryIO

from lqsep.core.audio.decoding.headers.mpeg_frames import skip_tags
from lqsep.core.audio.decoding.views import Part

_MAGIC = b"fLaC"
# The magic, and the header of the block that must follow: 34 bytes, the last block or not.
_BEGINNINGS = (_MAGIC + b"\x00\x00\x00\x22", _MAGIC + b"\x80\x00\x00\x22")
_BLOCK = 1 << 20

# The number of samples: the last 36 of eight bytes that begin so far behind the magic.
_TOTAL_AT = 18
_TOTAL_MASK = (1 << 36) - 1

# Where the last frame is looked for, at least; frames are some ten thousand bytes.
_TAIL = 1 << 17

_BLOCK_SIZES = {1: 192, **{i: 576 << (i - 2) for i in range(2, 6)}}
_BLOCK_SIZES |= {i: 256 << (i - 8) for i in range(8, 16)}


@dataclass(frozen=True)
class Link:
    """One recording of a file.

    Args:
        start: Its first byte.
        stop: Behind its last byte.
        n_promised: Samples by its header; 0 = unknown.
        is_right: Whether its frames say the same; where no whole frame ends it, nobody says
            otherwise.
        upper_bits: The four bits that share a byte with the number of samples, and four zeros.
    """

    start: int
    stop: int
    n_promised: int
    is_right: bool
    upper_bits: int

    @property
    def parts(self) -> list[Part]:
        """What a view shows of it; where its promise is not right, that there is none."""
        if self.is_right:
            return [(self.start, self.stop)]
        at = self.start + _TOTAL_AT + 3
        return [(self.start, at), bytes([self.upper_bits, 0, 0, 0, 0]), (at + 5, self.stop)]


def find_links(path: Path) -> list[Link]:
    """The recordings of a file, in order; none where it is no FLAC file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        starts = list(_beginnings(file))
        if not starts or starts[0] > skip_tags(file, 0, size):
            return []
        return [
            _read_link(file, start, stop)
            for start, stop in zip(starts, [*starts[1:], size], strict=True)
        ]


def _read_link(file: BinaryIO, start: int, stop: int) -> Link:
    file.seek(start + _TOTAL_AT)
    content = int.from_bytes(file.read(8), "big")
    n_promised = content & _TOTAL_MASK
    upper_bits = content >> 32 & 0xF0
    is_right = True
    if n_promised:
        first, last = _first_sample(file, start), _end_sample(file, start, stop)
        is_right = None in (first, last) or (last or 0) - (first or 0) == n_promised
    return Link(start, stop, n_promised, is_right, upper_bits)


def _beginnings(file: BinaryIO) -> Iterator[int]:
    position, file_end = 0, False
    while not file_end:
        file.seek(position)
        block = file.read(_BLOCK)
        file_end = len(block) < _BLOCK
        at = block.find(_MAGIC)
        while at >= 0:
            if block.startswith(_BEGINNINGS, at):
                yield position + at
            at = block.find(_MAGIC, at + 1)
        position += _BLOCK - len(_BEGINNINGS[0]) + 1


def _first_sample(file: BinaryIO, start: int) -> int | None:
    """Number of the first sample: not 0 in what was cut out of another file."""
    position, is_last = start + len(_MAGIC), False
    while not is_last:
        file.seek(position)
        header = file.read(4)
        if len(header) < 4:
            return None
        is_last = bool(header[0] & 0x80)
        position += 4 + int.from_bytes(header[1:], "big")
    file.seek(position)
    span = _parse_frame(file.read(16), _fixed_size(file, start))
    return None if span is None else span[0]


def _end_sample(file: BinaryIO, start: int, stop: int) -> int | None:
    """Number of the sample behind the last one; None where no whole frame ends the recording."""
    size, longest = _fixed_size(file, start), _longest_frame(file, start)
    begin = max(start, stop - max(_TAIL, 2 * longest))
    file.seek(begin)
    tail = file.read(stop - begin)
    at = tail.rfind(b"\xff")
    while at >= 0:
        span = _parse_frame(tail[at : at + 16], size)
        if span is not None and _crc16(tail[at:-2]) == int.from_bytes(tail[-2:], "big"):
            return span[1]
        at = tail.rfind(b"\xff", 0, at)
    return None


def _fixed_size(file: BinaryIO, start: int) -> int:
    file.seek(start + 8)
    return int.from_bytes(file.read(4)[2:], "big")


def _longest_frame(file: BinaryIO, start: int) -> int:
    file.seek(start + 15)
    return int.from_bytes(file.read(3), "big")


def _parse_frame(head: bytes, fixed_size: int) -> tuple[int, int] | None:
    """First sample of a frame and of the next one, by its header; None where it is none."""
    head = head.ljust(16, b"\0")  # the last frame may be shorter
    if head[0] != 0xFF or head[1] & 0xFE != 0xF8 or head[3] & 1:
        return None
    size_code, rate_code = head[2] >> 4, head[2] & 15
    number, at = _coded_number(head, 4)
    if at == 0 or size_code == 0 or rate_code == 15:
        return None
    if size_code in (6, 7):
        n_bytes = size_code - 5
        block_size = int.from_bytes(head[at : at + n_bytes], "big") + 1
        at += n_bytes
    else:
        block_size = _BLOCK_SIZES[size_code]
    at += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if at >= len(head) or _crc8(head[:at]) != head[at]:
        return None
    first = number if head[1] & 1 else number * fixed_size
    return first, first + block_size


def _coded_number(head: bytes, at: int) -> tuple[int, int]:
    """A number coded as UTF-8 codes characters, and where it ends; 0 where it is none."""
    lead = head[at]
    n_ones = 8 - (lead ^ 0xFF).bit_length()  # in front; as many bytes, or one where there are none
    if n_ones in (1, 8):
        return 0, 0
    value, end = lead & 0x7F >> n_ones, at + max(1, n_ones)
    for byte in head[at + 1 : end]:
        if byte & 0xC0 != 0x80:
            return 0, 0
        value = value << 6 | byte & 0x3F
    return value, end


@cache
def _crc_table(polynomial: int, n_bits: int) -> tuple[int, ...]:
    table = []
    for byte in range(256):
        value = byte << (n_bits - 8)
        for _ in range(8):
            value = value << 1 ^ (polynomial if value >> (n_bits - 1) & 1 else 0)
        table.append(value & (1 << n_bits) - 1)
    return tuple(table)


def _crc8(content: bytes) -> int:
    table, value = _crc_table(0x07, 8), 0
    for byte in content:
        value = table[value ^ byte]
    return value


def _crc16(content: bytes) -> int:
    table, value = _crc_table(0x8005, 16), 0
    for byte in content:
        value = (value << 8 & 0xFFFF) ^ table[value >> 8 ^ byte]
    return value
