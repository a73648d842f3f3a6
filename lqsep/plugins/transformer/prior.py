"""The transformer as a prior: explicit state, cached steps, whole-sequence scores."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.nn import functional as F

from lqsep.core.errors import ShapeError
from lqsep.core.interfaces.prior import Prior, PriorInfo
from lqsep.plugins.transformer.kv_cache import KVCache
from lqsep.plugins.transformer.model import TransformerModel
from lqsep.plugins.transformer.stepper import Stepper

# Logits that log_prob holds at a time: 16 M float32 values are 64 MB.
_MAX_LOGITS = 1 << 24


@dataclass
class TransformerState:
    """Hypotheses in progress. ``pending`` is what the first step gives, then None."""

    cache: KVCache
    pending: Float[Tensor, "rows codebook_size"] | None


class TransformerPrior(Prior):
    """Wraps a `TransformerModel`, which it takes over: evaluation mode, no gradients.

    Args:
        model: On its device, weights loaded.
    """

    def __init__(self, model: TransformerModel) -> None:
        self.model = model.eval().requires_grad_(False)
        self.info = PriorInfo(model.output.out_features, model.max_frames)
        self.device = model.start.device
        self._stepper = Stepper(model)

    def start(
        self, n_rows: int, prompt: Int64[Tensor, "rows frames"] | None = None
    ) -> TransformerState:
        """State after ``prompt``, which runs in one pass and leaves room for one frame at least.

        Raises:
            ShapeError: The prompt has other rows than ``n_rows`` or fills the whole context.
        """
        if prompt is None:
            prompt = torch.zeros((n_rows, 0), dtype=torch.int64, device=self.device)
        if prompt.shape[0] != n_rows or prompt.shape[1] >= self.model.max_frames:
            raise ShapeError(
                f"starting the transformer prior: expected a prompt of {n_rows} rows and fewer "
                f"than {self.model.max_frames} frames, got shape {tuple(prompt.shape)}"
            )
        with torch.inference_mode():
            cache = self.model.new_cache(n_rows)
            logits = self.model.prime(prompt, cache)
        return TransformerState(cache, _log_softmax(logits))

    def step(
        self, state: TransformerState, codes: Int64[Tensor, " rows"] | None
    ) -> tuple[Float[Tensor, "rows codebook_size"], TransformerState]:
        """Append ``codes`` and give the next frame's log-probabilities, float32.

        Raises:
            ShapeError: The context is full, or codes were given or left out at the wrong time.
        """
        if (state.pending is None) == (codes is None):
            raise ShapeError(
                "stepping the transformer prior: expected None at the first step after start and "
                f"codes at every other, got {'None' if codes is None else 'codes'}"
            )
        if codes is None:
            assert state.pending is not None
            pending, state.pending = state.pending, None
            return pending, state
        if state.cache.position >= self.model.max_frames:
            raise ShapeError(
                f"stepping the transformer prior: its context of {self.model.max_frames} frames "
                "is full; start again from a prompt of the last frames"
            )
        with torch.inference_mode():
            logits = self._stepper.step(codes, state.cache)
        return _log_softmax(logits), state

    def select(self, state: TransformerState, rows: Int64[Tensor, " new_rows"]) -> TransformerState:
        """The state whose row ``n`` is the old row ``rows[n]``."""
        with torch.inference_mode():
            state.cache.select(rows)
        if state.pending is not None:
            state.pending = state.pending[rows]
        return state

    def log_prob(self, codes: Int64[Tensor, "rows frames"]) -> Float[Tensor, "rows frames"]:
        """Log-probability of every code given those before it, in whole-sequence passes.

        Raises:
            ShapeError: More than ``info.max_frames`` frames.
        """
        rows, frames = codes.shape
        if frames > self.model.max_frames:
            raise ShapeError(
                f"scoring codes with the transformer prior: expected at most "
                f"{self.model.max_frames} frames, got {frames}"
            )
        result = torch.empty((rows, frames), device=self.device)
        if frames == 0:
            return result
        chunk = max(1, _MAX_LOGITS // (frames * self.info.codebook_size))
        with torch.inference_mode():
            for first in range(0, rows, chunk):
                part = codes[first : first + chunk]
                table = F.log_softmax(self.model(part), -1)
                result[first : first + chunk] = table.gather(2, part[:, :, None])[:, :, 0]
        return result


def _log_softmax(logits: Tensor) -> Tensor:
    # Written into an ordinary tensor: one made in inference mode could not be changed in place by
    # its user.
    result = torch.empty(logits.shape, device=logits.device)
    with torch.inference_mode():
        torch.log_softmax(logits, -1, out=result)
    return result
