"""Tiny real components whose posterior can be enumerated.

The codec's codes add up: code ``k`` stands for a constant level, so the sum of two decoded sources
is the wave of the levels' sum. Priors are Markov chains over a few codes, the likelihood lists
every pair. `enumerate_posterior` then gives the exact answer to compare anything with.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.errors import ShapeError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.codec import Codec, CodecInfo, source_index
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.interfaces.prior import Prior, PriorInfo
from lqsep.core.likelihoods.dense import DenseLikelihood
from lqsep.core.likelihoods.given import given_by_pairs
from lqsep.core.store.weights import fingerprint
from lqsep.testing.enumeration import ExactPosterior, enumerate_posterior

__all__ = [
    "AddingCodec",
    "AddingLikelihood",
    "DenseBound",
    "EchoBound",
    "ExactPosterior",
    "LongMemoryPrior",
    "MarkovPrior",
    "enumerate_posterior",
    "random_markov_prior",
    "random_posterior",
]


class AddingCodec(Codec):
    """Code ``k`` is the constant ``levels[k]`` for one hop; encoding takes the nearest level.

    Args:
        levels: One per code; both sources and the mixture share them.
        hop_length: Samples per frame.
        sample_rate: Hz.
    """

    def __init__(
        self,
        levels: Sequence[float] = (0.0, 0.25, 0.5),
        *,
        hop_length: int = 4,
        sample_rate: int = 8000,
    ) -> None:
        self.levels = torch.tensor(levels, dtype=torch.float32)
        # Its codes are constants: it hears them.
        self.info = CodecInfo(sample_rate, 1, hop_length, 1, takes_whole_inputs=True, lowest_hz=0.0)
        self.fingerprint = fingerprint({"levels": self.levels})

    def codebook_size(self, source: int) -> int:
        source_index(source)
        return len(self.levels)

    def analyse(self, wave: Float[Tensor, "batch channels samples"]) -> EncodedMixture:
        if wave.ndim != 3 or wave.shape[0] != 1 or wave.shape[1] != 1:
            raise ShapeError(
                f"adding codec: expected one wave of one channel, got shape {tuple(wave.shape)}"
            )
        means = self._means(wave)[0]
        return EncodedMixture(wave[0], means[:, None], self._nearest(means), 1.0)

    def encode(
        self, wave: Float[Tensor, "batch channels samples"], source: int | None = None
    ) -> Int64[Tensor, "batch frames"]:
        return self._nearest(self._means(wave))

    def embed(
        self, codes: Int64[Tensor, "batch frames"], source: int | None = None
    ) -> Float[Tensor, "batch frames embedding_dim"]:
        return self.levels[codes][..., None]

    def decode(
        self,
        codes: Int64[Tensor, "batch frames"],
        n_samples: int,
        source: int | None = None,
        mixture: Float[Tensor, "channels samples"] | None = None,
    ) -> Float[Tensor, "batch channels samples"]:
        wave = self.levels[codes].repeat_interleave(self.info.hop_length, 1)
        return wave[:, None, :n_samples]

    def _means(self, wave: Tensor) -> Tensor:
        hop = self.info.hop_length
        mono = torch.nn.functional.pad(wave, (0, -wave.shape[-1] % hop)).mean(1)
        return mono.view(len(mono), -1, hop).mean(-1)

    def _nearest(self, means: Tensor) -> Tensor:
        return (means[..., None] - self.levels).abs().argmin(-1)


class MarkovPrior(Prior):
    """A first-order Markov chain.

    Args:
        log_initial: Of the first code.
        log_transition: ``[from, to]``, each row normalised.
        max_frames: Context it claims to have, to exercise windows.
    """

    def __init__(
        self,
        log_initial: Float[Tensor, " codebook_size"],
        log_transition: Float[Tensor, "codebook_size codebook_size"],
        max_frames: int | None = None,
    ) -> None:
        self.log_initial = log_initial
        self.log_transition = log_transition
        self.info = PriorInfo(len(log_initial), max_frames)

    def start(
        self, n_rows: int, prompt: Int64[Tensor, "rows frames"] | None = None
    ) -> tuple[int, Tensor | None]:
        last = prompt[:, -1] if prompt is not None and prompt.shape[1] else None
        return n_rows, last

    def step(
        self, state: tuple[int, Tensor | None], codes: Int64[Tensor, " rows"] | None
    ) -> tuple[Float[Tensor, "rows codebook_size"], tuple[int, Tensor | None]]:
        n_rows, last = state
        last = last if codes is None else codes
        if last is None:
            return self.log_initial.expand(n_rows, -1), (n_rows, None)
        return self.log_transition[last], (n_rows, last)

    def select(
        self, state: tuple[int, Tensor | None], rows: Int64[Tensor, " new_rows"]
    ) -> tuple[int, Tensor | None]:
        last = state[1]
        return len(rows), None if last is None else last[rows]

    def transition_matrix(self) -> tuple[Tensor, Tensor]:
        return self.log_initial, self.log_transition


class LongMemoryPrior(Prior):
    """Depends on the whole past: every code so far votes, older ones with less weight.

    Args:
        votes: ``[past code, next code]`` logits.
        decay: Weight of a code relative to the one after it.
        max_frames: Context; stepping beyond it is an error, as for a real prior.
    """

    def __init__(
        self,
        votes: Float[Tensor, "codebook_size codebook_size"],
        decay: float = 0.8,
        max_frames: int | None = None,
    ) -> None:
        self.votes = votes
        self.decay = decay
        self.info = PriorInfo(len(votes), max_frames)

    def start(
        self, n_rows: int, prompt: Int64[Tensor, "rows frames"] | None = None
    ) -> list[Tensor]:
        logits = torch.zeros(n_rows, len(self.votes))
        frames = torch.zeros(n_rows, dtype=torch.int64)
        if prompt is not None:
            for codes in prompt.T:
                logits = self.decay * logits + self.votes[codes]
            frames += prompt.shape[1]
        return [logits, frames]

    def step(
        self, state: list[Tensor], codes: Int64[Tensor, " rows"] | None
    ) -> tuple[Float[Tensor, "rows codebook_size"], list[Tensor]]:
        # In place, as a prior with a cache does: nobody may use an old state again.
        if codes is not None:
            state[0].mul_(self.decay).add_(self.votes[codes])
            state[1] += 1
        if self.info.max_frames is not None and int(state[1].max()) >= self.info.max_frames:
            raise ShapeError(f"stepped beyond the context of {self.info.max_frames} frames")
        return state[0].log_softmax(1), state

    def select(self, state: list[Tensor], rows: Int64[Tensor, " new_rows"]) -> list[Tensor]:
        return [part[rows] for part in state]


class DenseBound(BoundLikelihood):
    """A likelihood given as numbers: ``frames K0 K1``, natural log."""

    def __init__(self, log_likelihood: Float[Tensor, "frames K0 K1"]) -> None:
        self.log_likelihood = log_likelihood
        self.n_frames = len(log_likelihood)

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> DenseLikelihood:
        return DenseLikelihood(self.log_likelihood[frame])

    def frames(self, start: int, stop: int) -> Float[Tensor, "frames K0 K1"] | None:
        return self.log_likelihood[start:stop]

    def given(
        self, source: int, codes: Int64[Tensor, "sources frames"]
    ) -> Float[Tensor, "frames codebook_size"] | None:
        return given_by_pairs(self, source, codes)


class EchoBound(DenseBound):
    """Favours one pair by ``bonus`` nats: the sums of each source's codes so far, modulo K."""

    uses_history = True

    def __init__(self, log_likelihood: Float[Tensor, "frames K0 K1"], bonus: float = 2.0) -> None:
        super().__init__(log_likelihood)
        self.bonus = bonus

    def at(self, frame: int, history: Int64[Tensor, "rows sources frames"]) -> DenseLikelihood:
        values = self.log_likelihood[frame].repeat(len(history), 1, 1)
        n = torch.arange(len(history))
        echo = history.sum(2) % torch.tensor(values.shape[1:])
        values[n, echo[:, 0], echo[:, 1]] += self.bonus
        return DenseLikelihood(values)

    def frames(self, start: int, stop: int) -> None:
        return None

    def given(self, source: int, codes: Int64[Tensor, "sources frames"]) -> None:
        return None


class AddingLikelihood(Likelihood):
    """Gaussian around the weighted sum of two levels of an `AddingCodec`; ``sigma`` > 0."""

    def __init__(self, codec: AddingCodec, sigma: float = 0.1) -> None:
        self._levels = codec.levels.double()
        self._sigma = sigma

    def bind(self, encoded: EncodedMixture, gains: Sequence[float]) -> DenseBound:
        sums = gains[0] * self._levels[:, None] + gains[1] * self._levels
        distance = encoded.latents.double()[:, :, None] - sums
        return DenseBound(-distance.square() / (2 * self._sigma**2))


def random_markov_prior(
    codebook_size: int,
    generator: torch.Generator,
    *,
    scale: float = 1.5,
    max_frames: int | None = None,
) -> MarkovPrior:
    """A chain whose tables are the softmax of Gaussian numbers of standard deviation ``scale``."""
    shape = (codebook_size + 1, codebook_size)
    logits = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    tables = logits.log_softmax(-1).float()
    return MarkovPrior(tables[0], tables[1:], max_frames)


def random_posterior(
    seed: int = 0,
    *,
    n_codes: tuple[int, int] = (3, 3),
    n_frames: int = 4,
    scale: float = 1.5,
    max_frames: int | None = None,
) -> SequencePosterior:
    """Two random chains and a random dense likelihood."""
    generator = torch.Generator().manual_seed(seed)
    priors = [
        random_markov_prior(size, generator, scale=scale, max_frames=max_frames) for size in n_codes
    ]
    shape = (n_frames, *n_codes)
    values = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    return SequencePosterior(priors, DenseBound(values))
