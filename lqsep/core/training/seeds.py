"""Random numbers of a run: one seed, and a stream of its own for everything that draws.

Two generators that start from one number draw the same numbers: weights that look like the clips
they are trained on, noise that repeats itself. So nothing starts from the seed itself. What draws
asks for a stream by what it is for, and gets the same one whatever else draws, and however often::

    generator = spawn_generator(context.seed, "codec", "validation clips")

The streams are children of a `numpy.random.SeedSequence`, with the purpose as their key.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from lqsep.core.errors import ConfigError

if TYPE_CHECKING:
    import torch


def spawn_seed(seed: int, *purpose: str | int) -> int:
    """A number between 0 and 2^63 to start a generator from.

    Args:
        seed: Of the run.
        purpose: What draws, such as the name of the run and what is drawn.

    Raises:
        ConfigError: The seed is negative.
    """
    if seed < 0:
        raise ConfigError(f"expected a seed of 0 or more, got {seed}")
    key = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in purpose]
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)[0]
    return int(state) & (2**63 - 1)  # torch takes no more


def spawn_generator(seed: int, *purpose: str | int) -> torch.Generator:
    """A generator (CPU) for a purpose; as `spawn_seed`."""
    import torch  # a second that those who draw in other ways need not wait

    return torch.Generator().manual_seed(spawn_seed(seed, *purpose))
