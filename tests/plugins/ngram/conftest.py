"""A data set whose codes are known: stems of constant levels."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from lqsep.core.interfaces.dataset import Dataset, Track


class LevelsDataset(Dataset):
    """Stems that the toy codec of levels 0, 0.1, ..., 0.5 encodes as ``codes``.

    Codes run through a cycle and slip now and then.
    """

    sources = ("drums", "bass")

    def __init__(self, seed: int, hop_length: int = 4, sample_rate: int = 8000) -> None:
        generator = torch.Generator().manual_seed(seed)
        steps = torch.rand(3, 50, generator=generator) < 0.9
        self.codes = list(steps.long().cumsum(1) % 6)
        self._hop_length, self._sample_rate = hop_length, sample_rate

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: int) -> Track:
        if not 0 <= index < len(self):
            raise IndexError(index)
        wave = (0.1 * self.codes[index].float()).repeat_interleave(self._hop_length)
        bass = wave[None].numpy()
        drums = np.full_like(bass, 0.5)
        return Track(f"track-{index}", self._sample_rate, None, {"drums": drums, "bass": bass})


@pytest.fixture
def make_levels_dataset() -> Callable[[int], LevelsDataset]:
    """Builds the data set of a seed."""
    return LevelsDataset
