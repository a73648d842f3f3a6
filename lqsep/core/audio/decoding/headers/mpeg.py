"""MPEG audio (mp3, mp2): how many frames a file really has.

Such a file is a chain of frames, each with a header that tells where the next one begins. Some
writers put a tag in front that counts them; without it libsndfile takes an estimate for the length
and gives no more than that, and where the count is wrong, it believes it. So the chain is followed
here from header to header.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lqsep.core.audio.decoding.headers.mpeg_frames import (
    HEAD,
    Frame,
    Tag,
    parse_header,
    read_tag,
    skip_tags,
)
from lqsep.core.audio.decoding.streams import DecodingError

# A chain begins where so many frames follow each other: two do by chance.
_FRAMES_IN_A_ROW = 3

# The longest frame of "any rate"; how far a file may begin with something else; and how much of
# something else at its end is not worth a word.
_LONGEST_FRAME = 1 << 13
_LONGEST_JUNK = 1 << 17
_SHORT_JUNK = 1 << 11


@dataclass
class Chain:
    """The frames of a file.

    Attributes:
        first: The first frame with sound, or the tag before it.
        start: Where that is.
        has_junk: Whether something else than titles and the like is in front of it.
        n_frames: With sound.
        ranges: Where they are, neighbours as one.
        tags: Of the file, or of each of several files that were joined.
        skipped: Bytes that are neither frame nor tag, from the first frame on.
        n_cut: Bytes that the last frame lacks.
    """

    first: Frame
    start: int
    has_junk: bool
    n_frames: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    skipped: int = 0
    n_cut: int = 0

    @property
    def n_samples(self) -> int:
        return self.n_frames * self.first.n_samples

    def add(self, start: int, end: int) -> None:
        """Take a frame with sound."""
        self.n_frames += 1
        if self.ranges and self.ranges[-1][1] == start:
            self.ranges[-1] = (self.ranges[-1][0], end)
        else:
            self.ranges.append((start, end))


def find_chain(path: Path) -> Chain:
    """Follow the frames of a file.

    Raises:
        DecodingError: There are none, or their form (rate, mono or not) changes on the way.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        position, first = first_frame(file, size)
        free_bytes = 0 if first.n_bytes else _free_bytes(file, position, first)
        chain = Chain(first, position, has_junk=position > skip_tags(file, 0, size))
        while position < size:
            file.seek(position)
            head = file.read(HEAD)
            frame = parse_header(head[:4])
            if frame is None or frame.form != first.form:
                position = _resume(file, position, size, chain)
                continue
            end = position + (frame.n_bytes or free_bytes + frame.padding)
            if end > size:
                chain.n_cut = end - size
                break
            tag = read_tag(file, position, head, frame)
            if tag is None:
                chain.add(position, end)
            else:
                chain.tags.append(tag)
            position = end
    if not chain.n_frames:
        raise DecodingError("no MPEG audio frames found")
    return chain


def first_frame(file: BinaryIO, size: int, farthest: int = _LONGEST_JUNK) -> tuple[int, Frame]:
    """Position and header of the first frame behind titles and the like.

    Args:
        file: From its beginning.
        size: Of the file.
        farthest: How far behind them it may be.

    Raises:
        DecodingError: There is none.
    """
    start = skip_tags(file, 0, size)
    position = _next_frame(file, start, min(size, start + farthest), size, None)
    frame = None if position is None else _header(file, position)
    if position is None or frame is None:
        raise DecodingError("no MPEG audio frames found")
    return position, frame


def _resume(file: BinaryIO, position: int, size: int, chain: Chain) -> int:
    """Where the chain goes on behind what is no frame of it; the end of the file if nowhere."""
    behind = skip_tags(file, position, size)
    if behind > position:
        return behind
    following = _next_frame(file, position, size, size, chain.first)
    limit = min(size, position + _LONGEST_JUNK) if following is None else following
    if _next_frame(file, position, limit, size, None) is not None:
        at_s = chain.n_samples / chain.first.sample_rate
        raise DecodingError(
            f"its sample rate or number of channels changes at {at_s:.2f} s; convert it to one "
            "form first"
        )
    skipped = (size if following is None else following) - position
    if following is not None or skipped > _SHORT_JUNK:
        chain.skipped += skipped
    return position + skipped


def _next_frame(
    file: BinaryIO, position: int, limit: int, size: int, like: Frame | None
) -> int | None:
    """The first place before ``limit`` from which on frames of one form follow each other."""
    while position < limit:
        file.seek(position)
        block = file.read(min(1 << 16, limit - position))
        found = block.find(b"\xff")
        while found >= 0:
            if _is_chain(file, position + found, size, like):
                return position + found
            found = block.find(b"\xff", found + 1)
        position += len(block) or 1
    return None


def _is_chain(file: BinaryIO, position: int, size: int, like: Frame | None) -> bool:
    first = _header(file, position)
    if first is None or (like is not None and first.form != like.form):
        return False
    free_bytes = 0 if first.n_bytes else _free_bytes(file, position, first)
    frame: Frame | None = first
    for n_before in range(_FRAMES_IN_A_ROW):
        if frame is None or frame.form != first.form:
            # Two and a title at the end of the file are enough as well.
            return n_before > 1 and skip_tags(file, position, size) == size
        n_bytes = frame.n_bytes or free_bytes + frame.padding
        if n_bytes < 4:
            return False
        position += n_bytes
        if position >= size:  # of a single frame, nothing may be missing
            return position == size or n_before > 0
        frame = _header(file, position)
    return True


def _free_bytes(file: BinaryIO, position: int, frame: Frame) -> int:
    """Size of a frame of "any rate" without padding: up to the next one."""
    file.seek(position)
    block = file.read(_LONGEST_FRAME)
    at = block.find(b"\xff", 24)
    while at >= 0:
        other = parse_header(block[at : at + 4])
        if other is not None and other.form == frame.form and not other.n_bytes:
            return at - frame.padding
        at = block.find(b"\xff", at + 1)
    return 0


def _header(file: BinaryIO, position: int) -> Frame | None:
    file.seek(position)
    return parse_header(file.read(4))
