"""What every selector and every refiner must fulfil."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates, Selection
from lqsep.core.interfaces.data import Mixture
from lqsep.core.interfaces.refiner import RefineContext, Refiner
from lqsep.core.interfaces.selector import Selector
from lqsep.testing.comparing import TOLERANCE, assert_close
from lqsep.testing.toys import AddingCodec, AddingLikelihood


class SelectorContract:
    """A selector: weights of every source sum to one."""

    @abstractmethod
    def make(self) -> Selector:
        """The selector to check."""

    def test_weights(self) -> None:
        for n_candidates in (1, 2, 7):
            context = make_context(n_candidates)
            wave = context.mixture.wave.mean(0, keepdim=True)
            selection = self.make().select(context.decoded, wave)
            again = self.make().select(context.decoded, wave)
            assert selection.weights.shape == (2, n_candidates)
            assert selection.weights.isfinite().all() and selection.weights.min() >= 0
            assert_close(selection.weights.sum(1).double(), torch.ones(2, dtype=torch.float64))
            assert torch.equal(selection.weights, again.weights)
            assert all(math.isfinite(score) for score in selection.scores.values())


class RefinerContract:
    """A refiner: same shape, finite, repeatable; for mono, stereo, odd lengths and silence."""

    @abstractmethod
    def make(self) -> Refiner:
        """The refiner to check."""

    def test_shape_is_kept(self) -> None:
        for n_channels in (1, 2):
            for n_samples in (1, 999, 4000):
                context = make_context(3, n_samples=n_samples, n_channels=n_channels)
                stems = make_stems(context)
                before = stems.clone()
                refined = self.make().refine(stems, context)
                assert refined.shape == stems.shape and refined.dtype == stems.dtype
                assert refined.isfinite().all()
                assert torch.equal(stems, before), "the given stems were changed"
                assert_close(refined, self.make().refine(stems, context))

    def test_silence(self) -> None:
        context = make_context(2, silent=True)
        refined = self.make().refine(torch.zeros_like(make_stems(context)), context)
        assert refined.isfinite().all() and refined.abs().max() < TOLERANCE


def make_context(
    n_candidates: int, *, n_samples: int = 4000, n_channels: int = 2, silent: bool = False
) -> RefineContext:
    """A decoded and selected segment of the toy codec, with random candidates."""
    codec = AddingCodec((0.0,) if silent else (0.0, 0.2, -0.3), hop_length=16)
    generator = torch.Generator().manual_seed(n_samples)
    n_frames = math.ceil(n_samples / codec.info.hop_length)
    shape = (2, n_candidates, n_frames)
    codes = torch.randint(len(codec.levels), shape, generator=generator)
    waves = torch.stack([codec.decode(row, n_samples) for row in codes])
    gains = (0.5, 0.5)
    wave = sum(gain * waves[source, 0] for source, gain in enumerate(gains))
    assert isinstance(wave, Tensor)
    noise = torch.rand(n_channels, n_samples, generator=generator) - 0.5
    mixture = Mixture(wave + (0 if silent else 0.01) * noise, codec.info.sample_rate)
    encoded = codec.analyse(mixture.wave.mean(0, keepdim=True)[None])
    scores = -10 * torch.rand(4, n_candidates, generator=generator, dtype=torch.float64)
    candidates = Candidates(codes, scores[:2], scores[2], scores[3])
    decoded = DecodedCandidates(candidates, waves, wave, gains)
    weights = torch.full((2, n_candidates), 1 / n_candidates)
    bound = AddingLikelihood(codec).bind(encoded, gains)
    selection = Selection(weights)
    return RefineContext(mixture, encoded, bound, candidates, decoded, selection, codec, gains)


def make_stems(context: RefineContext) -> Tensor:
    """The selected stems of a context, ``sources channels samples``, as in the mixture."""
    gains = torch.tensor(context.gains)[:, None, None]
    stems = torch.einsum("sk,skcn->scn", context.selection.weights, context.decoded.waves) * gains
    return stems.expand(-1, context.mixture.wave.shape[0], -1).contiguous()
