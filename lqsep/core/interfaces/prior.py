"""A prior models the codes of one source, frame by frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

PriorState = Any
"""Opaque to everyone but the prior that made it."""


@dataclass(frozen=True)
class PriorInfo:
    """Facts about a prior.

    Args:
        codebook_size: Number of codes it predicts.
        max_frames: Longest context in frames, prompt included; None = unlimited.
    """

    codebook_size: int
    max_frames: int | None = None


class Prior(ABC):
    """Autoregressive model of one source's codes. Only `start`, `step` and `select` are abstract.

    `step` and `select` consume the state they are given: it may be changed in place and must not
    be used again. ``device`` is where its tables live.
    """

    info: PriorInfo
    device: torch.device = torch.device("cpu")

    @abstractmethod
    def start(self, n_rows: int, prompt: Int64[Tensor, "rows frames"] | None = None) -> PriorState:
        """State of ``n_rows`` parallel hypotheses, after ``prompt`` if there is one."""

    @abstractmethod
    def step(
        self, state: PriorState, codes: Int64[Tensor, " rows"] | None
    ) -> tuple[Float[Tensor, "rows codebook_size"], PriorState]:
        """Append ``codes`` and give the next frame's log-probabilities.

        The first step after `start`, with or without a prompt, takes None.

        Returns:
            Normalised log-probabilities (natural log, logsumexp 0) and the new state.
        """

    @abstractmethod
    def select(self, state: PriorState, rows: Int64[Tensor, " new_rows"]) -> PriorState:
        """The state whose row ``n`` is the old row ``rows[n]``; rows may repeat or be left out."""

    def log_prob(self, codes: Int64[Tensor, "rows frames"]) -> Float[Tensor, "rows frames"]:
        """Log-probability of every code given those before it; ``frames <= info.max_frames``."""
        state = self.start(codes.shape[0])
        previous: Tensor | None = None
        result = []
        for frame in range(codes.shape[1]):
            table, state = self.step(state, previous)
            previous = codes[:, frame]
            result.append(table.gather(1, previous[:, None])[:, 0])
        if not result:
            return torch.zeros(codes.shape, device=codes.device)
        return torch.stack(result, 1)

    def transition_matrix(
        self,
    ) -> (
        tuple[Float[Tensor, " codebook_size"], Float[Tensor, "codebook_size codebook_size"]] | None
    ):
        """``(log_initial, log_transition[from, to])`` of a first-order Markov prior, else None."""
        return None
