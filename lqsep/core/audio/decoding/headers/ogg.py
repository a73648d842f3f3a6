"""Ogg files: which recordings follow each other in them, and whether the last one is whole.

An ogg file may hold several recordings end to end ("chained"), as files joined by hand and saved
radio streams do. libsndfile decodes the first of them and knows nothing of the others.

Reference: RFC 3533.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

# A page is 27 bytes, a table of the lengths of its segments, and the segments.
_MAGIC = b"OggS"
_HEADER = 27
_IS_FIRST = 2
_BLOCK = 1 << 16

# How the first packet of what libsndfile decodes begins.
_VORBIS, _OPUS = b"\x01vorbis", b"OpusHead"


@dataclass
class Link:
    """One recording of a file.

    Attributes:
        start: Its first byte.
        stop: Behind its last byte, or what may be left of it.
        codings: How the first packet of each of its streams begins.
    """

    start: int
    stop: int
    codings: list[bytes]

    @property
    def is_known(self) -> bool:
        """Whether it is one stream that libsndfile decodes: not video, FLAC or Speex."""
        return len(self.codings) == 1 and self.codings[0].startswith((_VORBIS, _OPUS))


def find_links(path: Path) -> tuple[list[Link], int]:
    """The recordings of a file, and by how many bytes the last page is too short."""
    size = path.stat().st_size
    links: list[Link] = []
    with path.open("rb") as file:
        position, was_first = _next_page(file, 0), False
        while position is not None:
            file.seek(position)
            header = file.read(_HEADER)
            table = file.read(header[26]) if len(header) == _HEADER else b""
            if len(header) < _HEADER or len(table) < header[26]:
                return links, max(1, position + _HEADER + len(table) - size)
            end = position + _HEADER + len(table) + sum(table)
            is_first = bool(header[5] & _IS_FIRST)
            if is_first:  # first pages of all streams of a recording come before all others
                if not was_first:
                    if links:
                        links[-1].stop = position
                    links.append(Link(position, size, []))
                links[-1].codings.append(file.read(min(8, sum(table))))
            was_first = is_first
            if end > size:
                return links, end - size
            position = _next_page(file, end)
    return links, 0


def _next_page(file: BinaryIO, position: int) -> int | None:
    """Where the next page begins: here, unless something is damaged."""
    file.seek(position)
    block = file.read(len(_MAGIC))
    while block and not block.startswith(_MAGIC):
        file.seek(position)
        block = file.read(_BLOCK)
        found = block.find(_MAGIC)
        if found >= 0:
            return position + found
        if len(block) < _BLOCK:
            return None
        position += len(block) - len(_MAGIC) + 1
    return position if block else None
