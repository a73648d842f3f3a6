"""What every decoder is: samples from the beginning on, as many at a time as are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Float

from lqsep.core.audio.checks import BLOCK


class DecodingError(Exception):
    """A decoder cannot go on; the message is the library's, without the file's name."""


class NotDecodedError(DecodingError):
    """A library does not know what is in the file."""


class Stream(Protocol):
    """A file that is being decoded, from its beginning on."""

    def read(self, n_samples: int) -> Float[np.ndarray, "samples channels"]:
        """The next samples, float32, fewer only at the end.

        Raises:
            DecodingError: The file is damaged, or cannot be read.
        """

    def close(self) -> None:
        """Free what it holds; may be called twice."""


@dataclass(frozen=True)
class Recipe:
    """How a file is decoded, and what is known of it; made once per file and kept.

    Args:
        open: Begins to decode.
        n_samples: Per channel, exactly those that decoding gives.
        format: As soundfile names it, such as ``WAV``, or another library; ``subtype`` likewise.
        can_seek: Whether the stream is a `lqsep.core.audio.decoding.sndfile.SndfileStream` whose
            ``seek`` can be trusted.
        warnings: What a user should know of the file, a sentence each.
    """

    open: Callable[[], Stream]
    sample_rate: int
    channels: int
    n_samples: int
    format: str
    subtype: str
    can_seek: bool = False
    warnings: tuple[str, ...] = ()


class JoinedStream:
    """Several streams, one after the other."""

    def __init__(self, parts: Sequence[Callable[[], Stream]]) -> None:
        self._waiting = list(parts)
        self._stream = self._waiting.pop(0)()

    def read(self, n_samples: int) -> Float[np.ndarray, "samples channels"]:
        found = [self._stream.read(n_samples)]
        while (missing := n_samples - sum(map(len, found))) and self._waiting:
            self._stream.close()
            self._stream = self._waiting.pop(0)()
            found.append(self._stream.read(missing))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def close(self) -> None:
        self._waiting.clear()
        self._stream.close()


def count(open_stream: Callable[[], Stream]) -> int:
    """Samples per channel, by decoding all of them.

    Raises:
        DecodingError: As `Stream.read`.
    """
    stream = open_stream()
    try:
        n_samples = 0
        while n_read := len(stream.read(BLOCK)):
            n_samples += n_read
        return n_samples
    finally:
        stream.close()
