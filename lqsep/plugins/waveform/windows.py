"""What candidate codes sound like after the codes before them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.inference.batches import BatchLimit, in_batches
from lqsep.core.interfaces.codec import Codec

Window = Literal["constant", "increment"]

# Samples that are kept for the next call: 256 MiB, 512 contexts of 2048 codes and 64 samples.
_KEPT_SAMPLES = 1 << 26

# Frames decoded at a time when two decoders are compared.
_PROBED_FRAMES = 1024

Key = tuple[int, tuple[int, ...]]
"""A decoder, and the codes before the candidates."""


def first_frame(frame: int, context: int, window: Window) -> int:
    """First of the frames that are decoded with the candidates of ``frame``, never below 0.

    ``constant`` takes the last ``context`` frames, at the beginning all there are; ``increment``
    those since the last multiple of ``context``, right at one none.
    """
    return frame - frame % context if window == "increment" else max(0, frame - context)


class WindowDecoder:
    """Decodes ``[context, candidate]`` for every candidate code and keeps the candidate's hop.

    Each combination of decoder, context and candidate is decoded once per call, whichever
    hypotheses and sources share it, and not again while it is among the last ones used.

    Args:
        codec: Decodes.
        batch_size: Candidates decoded at a time.
        most_kept: Samples kept for later calls.
    """

    def __init__(
        self, codec: Codec, *, batch_size: int = 256, most_kept: int = _KEPT_SAMPLES
    ) -> None:
        self.hop_length = codec.info.hop_length
        self._codec = codec
        self._batch_size = batch_size
        self._most_kept = most_kept
        self._limit = BatchLimit()
        self._kept: OrderedDict[Key, Tensor] = OrderedDict()
        self._n_kept = 0
        self._is_shared: bool | None = None

    def is_shared(self, device: torch.device) -> bool:
        """Whether the codec decodes both sources alike: every code of both is compared once."""
        if self._is_shared is None:
            sizes = [self._codec.codebook_size(source) for source in (0, 1)]
            self._is_shared = sizes[0] == sizes[1] and all(
                self._is_alike(codes[None])
                for codes in torch.split(torch.arange(sizes[0], device=device), _PROBED_FRAMES)
            )
        return self._is_shared

    def _is_alike(self, codes: Int64[Tensor, "1 frames"]) -> bool:
        n_samples = codes.shape[1] * self.hop_length
        return torch.equal(*(self._codec.decode(codes, n_samples, source) for source in (0, 1)))

    @torch.no_grad()
    def decode(
        self, contexts: Sequence[Int64[Tensor, "rows frames"]]
    ) -> list[Float[Tensor, "*rows codes samples"]]:
        """The candidates' last hops, per source.

        Args:
            contexts: Codes before the candidates, for source 0 and source 1.

        Returns:
            One row per hypothesis, channels after one another; no axis of rows where a source's
            contexts are all the same.
        """
        device = contexts[0].device
        decoders = (0, 0) if self.is_shared(device) else (0, 1)
        keys = [
            [(decoder, tuple(row)) for row in rows.tolist()]
            for decoder, rows in zip(decoders, contexts, strict=True)
        ]
        found = self._find(dict.fromkeys(key for rows in keys for key in rows), device)
        results = []
        for rows in keys:
            place = {key: number for number, key in enumerate(dict.fromkeys(rows))}
            distinct = torch.stack([found[key] for key in place])
            if len(place) == 1:
                results.append(distinct[0])
            else:
                results.append(distinct[[place[key] for key in rows]])
        self._forget()
        return results

    def _find(self, keys: dict[Key, None], device: torch.device) -> dict[Key, Tensor]:
        """The candidates after each context, kept or decoded."""
        for decoder in (0, 1):
            missing = [key for key in keys if key[0] == decoder and key not in self._kept]
            if not missing:
                continue
            codes = torch.tensor([key[1] for key in missing], dtype=torch.int64, device=device)
            for key, ends in zip(missing, self._decode(codes, decoder), strict=True):
                self._kept[key] = ends
                self._n_kept += ends.numel()
        for key in keys:
            self._kept.move_to_end(key)
        return {key: self._kept[key] for key in keys}

    def _decode(
        self, contexts: Int64[Tensor, "rows frames"], source: int
    ) -> Sequence[Float[Tensor, "codes samples"]]:
        size, hop = self._codec.codebook_size(source), self.hop_length
        n_samples = (contexts.shape[1] + 1) * hop

        def decode(start: int, stop: int) -> Tensor:
            number = torch.arange(start, stop, device=contexts.device)
            codes = torch.cat([contexts[number // size], (number % size)[:, None]], 1)
            return self._codec.decode(codes, n_samples, source)[:, :, -hop:].flatten(1)

        n_candidates = len(contexts) * size
        parts = in_batches(decode, n_candidates, self._batch_size, limit=self._limit)
        # Each context on memory of its own, so that one can go without the others.
        return [ends.clone() for ends in torch.split(torch.cat(parts), size)]

    def _forget(self) -> None:
        """Let go of what was not used for longest."""
        while self._n_kept > self._most_kept:
            _, ends = self._kept.popitem(last=False)
            self._n_kept -= ends.numel()
