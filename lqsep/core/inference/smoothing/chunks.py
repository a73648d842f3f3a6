"""What the likelihood says of all pairs, chunk by chunk, computed ahead where a core is free."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.inference.smoothing.keeping import Chunk, Peaks
from lqsep.core.inference.state import MarkovPosterior

_Result = TypeVar("_Result")


class Chunks:
    """The chunks of a sequence; a context manager.

    One thread, besides the caller's, computes what was said to be needed next. It spends its time
    in products that let the caller's thread run, and the likelihood is never asked two things at
    once. What comes out does not depend on it.

    Args:
        markov: Asked for likelihoods.
        size: Frames in a chunk.
    """

    def __init__(self, markov: MarkovPosterior, size: int) -> None:
        self._markov, self._size = markov, size
        self._n_chunks = -(-markov.n_frames // size)
        self._threads = ThreadPoolExecutor(1, "lqsep-likelihood")
        self._chunks: dict[int, Future[Chunk]] = {}
        self._heads: dict[int, Peaks] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._threads.shutdown(cancel_futures=True)

    def __len__(self) -> int:
        return self._n_chunks

    def expect(self, number: int) -> None:
        """Have a chunk computed that will be asked for, if there is one of that number.

        They are large: only its neighbours stay.
        """
        if not 0 <= number < self._n_chunks or number in self._chunks:
            return
        for other in [other for other in self._chunks if abs(other - number) > 2]:
            self._chunks.pop(other).cancel()
        start = number * self._size
        stop = min(start + self._size, self._markov.n_frames)
        self._chunks[number] = self._submit(
            lambda: Chunk.of(start, self._markov.log_likelihood(start, stop))
        )

    def chunk(self, number: int) -> Chunk:
        """One of them."""
        self.expect(number)
        return self._chunks[number].result()

    def head(self, number: int) -> Peaks | None:
        """Of the chunk after this one, if any."""
        if number not in self._heads and number + 1 < self._n_chunks:
            self._heads[number] = self.chunk(number + 1).head
        return self._heads.get(number)

    def values(self, start: int, stop: int) -> Float[Tensor, "frames K0 K1"]:
        """What the likelihood says of some frames, when it has answered what was asked before."""
        return self._submit(lambda: self._markov.log_likelihood(start, stop)).result()

    def _submit(self, compute: Callable[[], _Result]) -> Future[_Result]:
        with_grad, for_inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

        def run() -> _Result:
            # Modes are a thread's own. Inference mode changes the other.
            with torch.inference_mode(for_inference), torch.set_grad_enabled(with_grad):
                return compute()

        return self._threads.submit(run)
