"""Temperature, top-k and top-p: which codes a sampler may still choose.

Light: torch is not imported here, the functions use the tables' own methods.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jaxtyping import Bool, Float
    from torch import Tensor


@dataclass(frozen=True)
class Filters:
    """How a sampler sharpens the distributions it draws from.

    The first three apply to each prior's table by itself, in this order; the last two to the joint
    codes of a frame, after the likelihood. The defaults change nothing.

    Args:
        temperature: Divides the log-probabilities, which are then normalised again; > 0.
        top_k: Keep the ``top_k`` most probable codes (and those equal to the last); 0 keeps all.
        top_p: Keep the most probable codes up to and with the one at which their probabilities
            reach ``top_p``; 1 keeps all.
        joint_top_k: As ``top_k``, over pairs of codes by their posterior.
        joint_top_p: As ``top_p``, over pairs of codes by their posterior; pairs equal to the last
            are kept.

    Raises:
        ValueError: A value is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    joint_top_k: int = 0
    joint_top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be above 0 and finite, got {self.temperature}")
        for name in ("top_k", "joint_top_k"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must be 0 (keep all) or more, got {getattr(self, name)}")
        for name in ("top_p", "joint_top_p"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} must be in (0, 1], got {getattr(self, name)}")

    @property
    def restricts_pairs(self) -> bool:
        """Whether some pairs of codes are excluded by their posterior."""
        return self.joint_top_k > 0 or self.joint_top_p < 1


def filter_table(
    log_prob: Float[Tensor, "rows codebook_size"], filters: Filters
) -> Float[Tensor, "rows codebook_size"]:
    """Apply the filters of the single tables: temperature, then top-k, then top-p.

    Args:
        log_prob: Normalised; may hold -inf.
        filters: The joint ones are ignored.

    Returns:
        Normalised log-probabilities, -inf for what was left out; ``log_prob`` itself if the
        filters change nothing.
    """
    if filters.temperature != 1:
        log_prob = (log_prob / filters.temperature).log_softmax(-1)
    if filters.top_k > 0:
        left_out = ~kept_by_top_k(log_prob, filters.top_k)
        log_prob = log_prob.masked_fill(left_out, float("-inf")).log_softmax(-1)
    if filters.top_p < 1:
        left_out = ~kept_by_top_p(log_prob, filters.top_p)
        log_prob = log_prob.masked_fill(left_out, float("-inf")).log_softmax(-1)
    return log_prob


def kept_by_top_k(
    log_prob: Float[Tensor, "rows codebook_size"], top_k: int
) -> Bool[Tensor, "rows codebook_size"]:
    """The ``top_k`` largest values of each row, and those equal to the smallest of them."""
    last = log_prob.topk(min(top_k, log_prob.shape[-1]), dim=-1).values[..., -1:]
    return log_prob >= last


def kept_by_top_p(
    log_prob: Float[Tensor, "rows codebook_size"], top_p: float
) -> Bool[Tensor, "rows codebook_size"]:
    """The largest values of each row, until their probabilities reach ``top_p``.

    The value that crosses ``top_p`` is kept, so at least one always is. Among equal values the
    lower code comes first.
    """
    ordered, order = log_prob.double().sort(dim=-1, descending=True, stable=True)
    probability = ordered.softmax(-1)
    before = probability.cumsum(-1) - probability
    kept = before < top_p
    return kept.new_zeros(kept.shape).scatter(-1, order, kept)
