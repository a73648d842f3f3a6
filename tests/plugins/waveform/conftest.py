"""A codec that remembers: a frame's sound depends on the codes before it."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch

from lqsep.testing.toys import AddingCodec


class SmearingCodec(AddingCodec):
    """Every frame rings on at half its level in the next one, and rises within a hop.

    Notes what it decodes: how often each sequence of codes, per source.

    Args:
        own_decoders: Source 1 sounds twice as loud as source 0.
        channels: Of the decoded waves; the second is the first upside down and quieter.
    """

    def __init__(self, levels, *, own_decoders=False, channels=1, **settings):
        super().__init__(levels, **settings)
        self.own_decoders = own_decoders
        self.channels = channels
        self.decoded = Counter()
        self.largest_batch = 0

    def decode(self, codes, n_samples, source=None, mixture=None):
        for row in codes.tolist():
            self.decoded[source, tuple(row)] += 1
        self.largest_batch = max(self.largest_batch, len(codes))
        levels = self.levels[codes]
        ringing = levels.clone()
        for frame in range(1, codes.shape[1]):
            ringing[:, frame] += 0.5 * ringing[:, frame - 1]
        hop = self.info.hop_length
        rise = torch.linspace(0.5, 1.0, hop)
        wave = (ringing[:, :, None] * rise).flatten(1)[:, None, :n_samples]
        if self.own_decoders and source == 1:
            wave = 2 * wave
        return torch.cat([wave, -0.3 * wave], 1) if self.channels == 2 else wave


@pytest.fixture
def make_codec() -> Callable[..., SmearingCodec]:
    """Makes a codec of five codes, unless told otherwise."""

    def make(levels=(0.0, 0.2, -0.1, 0.5, 0.35), **settings) -> SmearingCodec:
        return SmearingCodec(levels, **settings)

    return make
