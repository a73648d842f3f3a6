"""A sampler turns a posterior over joint code sequences into candidates."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from lqsep.core.inference.posterior import SequencePosterior
    from lqsep.core.interfaces.candidates import Candidates

OnFrame = Callable[[int, int], None]
"""Called as ``on_frame(frames_done, frames_total)``."""


class Sampler(ABC):
    """Sees a `SequencePosterior` and nothing else."""

    takes_whole_inputs: bool = False
    """Whether it shall be given up to `lqsep.core.separation.run.WHOLE_S` seconds at once, cut into
    segments only when codes become sound, where the codec takes whole inputs too. Its candidates
    then need ``frame_scores``."""

    @abstractmethod
    def sample(
        self,
        posterior: SequencePosterior,
        *,
        generator: torch.Generator,
        on_frame: OnFrame | None = None,
    ) -> Candidates:
        """Draw or search joint codes for every frame of the posterior.

        Args:
            posterior: The target.
            generator: The only source of randomness; lives on the CPU.
            on_frame: Progress callback.

        Raises:
            EmptySupportError: No joint code is possible at some frame.
        """
