"""Files made of chunks (wav, RF64, BW64, w64, aiff, caf) and au: how many bytes their samples are.

The size of the samples stands before them, and whoever writes to a pipe cannot come back to fill it
in. Then it is a placeholder, of which there are many, and the samples go on to the end of the file.
libsndfile sees through some of them. A size that is no placeholder and reaches beyond the end of
the file means that the file was cut short; libsndfile reads such a file as a shorter one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from lqsep.core.audio.decoding.views import Part, replaced

Order = Literal["little", "big"]

# Sizes that programs write where they cannot know: nothing at all, or the most that signed or
# unsigned 32 bits hold, less the header or rounded (sox: 0x7ffff000, in aiff 0x7f000008).
_PLACEHOLDERS = ((0x7F000000, 0x7F001000), (0x7FFFE000, 0x80001000), (0xFFFFE000, 0xFFFFFFFF))

# The same for 64 bits: no file has a quarter of their range.
_HUGE = 1 << 62

# An aiff file's samples follow two numbers of four bytes, which count as part of the chunk, as the
# 24 bytes of its name and size do in a w64 file, and the number of edits in a caf file.
_AIFF_PREFIX = 8
_W64_HEADER = 24
_CAF_PREFIX = 4

# The most that 32 bits count, less what stands for "unknown".
_LONGEST = 0xFFFFFFFE

# A file of zeros would be one of millions of empty chunks.
_MAX_CHUNKS = 10_000


@dataclass(frozen=True)
class SampleBytes:
    """What a file's headers say of its samples, and what is true.

    Args:
        missing: Bytes by which the file falls short of what it promises.
        parts: Of a view in which its headers are right; empty where they are.
        warning: What a user should know.
    """

    missing: int = 0
    parts: Sequence[Part] = ()
    warning: str = ""


_AS_IT_IS = SampleBytes()


def sample_bytes(path: Path) -> SampleBytes:
    """Compare a file's size with its header; any other file is as it is."""
    size = path.stat().st_size
    with path.open("rb") as file:
        magic = file.read(12)
        if magic[:4] in (b"RIFF", b"RF64", b"BW64") and magic[8:] == b"WAVE":
            return _wav(file, size, is_bw64=magic[:4] == b"BW64")
        if magic[:4] == b"FORM" and magic[8:] in (b"AIFF", b"AIFC"):
            return _aiff(file, size)
        if magic[:4] == b"riff":
            return _w64(file, size)
        if magic[:4] == b"caff":
            return _caf(file, size)
        if magic[:4] == b".snd":  # au: offset and size of the samples
            offset, length = (int.from_bytes(magic[at : at + 4], "big") for at in (4, 8))
            if _is_unknown(length):
                return SampleBytes(parts=replaced(size, [(8, 12, b"\xff" * 4)]))
            return _cut(offset + length, size)
    return _AS_IT_IS


def _wav(file: BinaryIO, size: int, is_bw64: bool) -> SampleBytes:
    long_sizes = 0  # where the sizes of 64 bits stand
    for name, position, length in _chunks(file, 12, "little"):
        if name == b"ds64":
            long_sizes = position + 8
        if name == b"data":
            return _wav_samples(file, size, position, length, long_sizes, is_bw64)
    return _AS_IT_IS


def _wav_samples(
    file: BinaryIO, size: int, position: int, length: int, long_sizes: int, is_bw64: bool
) -> SampleBytes:
    """The chunk of samples, of so many bytes by its own header, which stands at ``position``."""
    start = position + 8
    available = size - start
    if long_sizes and length == 0xFFFFFFFF:
        length = int.from_bytes(_read(file, long_sizes + 8, 8), "little")
    is_unknown = _is_unknown(length) and _goes_on(file, start + length, size, "little")
    wraps = not long_sizes and _wraps(length, available)
    if not is_unknown and not wraps and length > available:
        return _cut(start + length, size)
    if wraps or (is_unknown and available > _LONGEST and not long_sizes):
        warning = (
            f"its header counts {length} bytes of samples; there are {available}, more than its 32 "
            "bits can count, and all are read"
        )
        head = b"RF64\xff\xff\xff\xffWAVEds64\x1c\0\0\0" + _sizes(size + 36, available)
        others = [(0, 12, head + bytes(4)), (position + 4, start, b"\xff" * 4)]
        return SampleBytes(parts=replaced(size, others), warning="" if is_unknown else warning)
    others = [(0, 4, b"RF64" if long_sizes else b"RIFF")] if is_bw64 else []
    if is_unknown and long_sizes:
        others.append((long_sizes, long_sizes + 24, _sizes(size, available)))
    elif is_unknown:
        others.append((position + 4, start, available.to_bytes(4, "little")))
    return SampleBytes(parts=replaced(size, others)) if others else _AS_IT_IS


def _sizes(size: int, available: int) -> bytes:
    """The sizes of file and samples, and the number of samples, which may be 0."""
    return b"".join(value.to_bytes(8, "little") for value in (size - 8, available, 0))


def _aiff(file: BinaryIO, size: int) -> SampleBytes:
    for name, position, length in _chunks(file, 12, "big"):
        if name == b"SSND":
            start = position + 8
            n_bytes = max(0, length - _AIFF_PREFIX)
            end = start + _AIFF_PREFIX + n_bytes
            if not _is_unknown(n_bytes) or not _goes_on(file, end, size, "big"):
                return _cut(start + length, size)
            content = min(size - start, _LONGEST).to_bytes(4, "big")
            return SampleBytes(parts=replaced(size, [(position + 4, start, content)]))
    return _AS_IT_IS


def _w64(file: BinaryIO, size: int) -> SampleBytes:
    position = 40  # behind two identifiers of 16 bytes and the size of the file
    while position + _W64_HEADER <= size:
        header = _read(file, position, _W64_HEADER)
        length = int.from_bytes(header[16:], "little")
        if header[:4] == b"data":  # libsndfile reads all there is where the size is unknown
            is_known = _W64_HEADER < length < _HUGE
            return _cut(position + length, size) if is_known else _AS_IT_IS
        position += max(_W64_HEADER, -(-length // 8) * 8)
    return _AS_IT_IS


def _caf(file: BinaryIO, size: int) -> SampleBytes:
    position = 8
    while position + 12 <= size:
        header = _read(file, position, 12)
        length = int.from_bytes(header[4:], "big", signed=True)
        start = position + 12
        if header[:4] == b"data":
            if length < 0:
                content = (size - start).to_bytes(8, "big")
                return SampleBytes(parts=replaced(size, [(position + 4, start, content)]))
            return _cut(start + max(length, _CAF_PREFIX), size)
        if length < 0:
            break
        position = start + length
    return _AS_IT_IS


def _chunks(file: BinaryIO, position: int, order: Order) -> Iterator[tuple[bytes, int, int]]:
    """Name, position and size of each chunk whose header is in the file."""
    for _ in range(_MAX_CHUNKS):
        if len(header := _read(file, position, 8)) < 8:
            return
        length = int.from_bytes(header[4:], order)
        yield header[:4], position, length
        position += 8 + length + length % 2  # chunks start at even positions


def _goes_on(file: BinaryIO, end: int, size: int, order: Order) -> bool:
    """Whether the samples cannot end there: beyond the file, or before what is no further chunk."""
    position = end + end % 2
    if end > size:
        return True
    while position < size:
        header = _read(file, position, 8)
        length = int.from_bytes(header[4:], order)
        is_name = all(0x20 <= byte < 0x7F for byte in header[:4])
        if len(header) < 8 or not is_name or position + 8 + length > size:
            return True
        position += 8 + length + length % 2
    return False


def _is_unknown(length: int) -> bool:
    in_32_bits = any(first <= length <= last for first, last in _PLACEHOLDERS)
    return length == 0 or in_32_bits or length >= _HUGE


def _wraps(length: int, available: int) -> bool:
    """Whether a size lacks a multiple of 2^32; at the end there is room for other chunks."""
    return (available - length) >> 32 > 0 and (available - length) % (1 << 32) < 1 << 20


def _cut(end: int, size: int) -> SampleBytes:
    return SampleBytes(missing=max(0, end - size))


def _read(file: BinaryIO, position: int, n_bytes: int) -> bytes:
    file.seek(position)
    return file.read(n_bytes)
