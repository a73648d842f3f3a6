"""Exact inference over whole sequences, for Markov priors and likelihoods without memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.inference.smoothing.forward_backward import smooth
from lqsep.core.inference.smoothing.smoothed import Pruning, Smoothed
from lqsep.core.inference.state import MarkovPosterior
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.plugins.samplers.checks import check_counts
from lqsep.plugins.samplers.progress import Progress

# Of long sequences, that the likelihood adapts by.
_N_STRETCHES = 4

# Frames after which it hardly matters what was known before them.
_FORGOTTEN = 64

# Largest share of weight that makes sense to leave out: not much would be left.
_MOST_PRUNED = 1e-2

# Share of log p(mixture) that float32 rounding may change.
_ROUNDING = 1e-6


class ForwardBackwardSampler(Sampler):
    """Independent draws from the posterior of whole sequences, with its marginals and evidence.

    With ``prune`` the likely pairs of codes of every frame are looked at, else every pair, see
    `lqsep.core.inference.smoothing.forward_backward`. After a pass the likelihood may adapt to the
    mixture by the marginals, and a pass with the adapted one follows. A round that lowers the sum
    of log evidence and log prior of the adaptation is undone, with a warning. Of a prompt with
    several rows the first one counts, for all candidates. Codes are drawn in the last pass only.

    Time and memory allow sequences of many minutes, so that a whole input is sampled at once, as if
    it were not cut into segments.

    All candidates carry the same ``log_evidence``, log p(mixture), so that selector ``mean`` weighs
    them equally; their ``log_proposal`` is the exact log-probability of their codes.

    Diagnostics: ``effective_sample_size`` (the number of candidates: they are exact),
    ``log_evidence``, ``adaptation_gain`` (rise of the log evidence by all rounds, nats per frame
    adapted by), ``adapt_rounds`` (made and
    kept), ``entropy_0`` and ``entropy_1`` (of a source's marginals, mean over frames, in nats).
    Of a pruned last pass also ``pairs_kept`` (share of all pairs that were looked at),
    ``most_lost`` (of any frame, see `lqsep.core.inference.smoothing.smoothed.Pruning`) and
    ``whole_frames`` (of which every pair was looked at as too much was lost).

    Args:
        n_candidates: Number of draws.
        adapt_rounds: How many times the likelihood may adapt, 0 to 8.
        adapt_frames: Frames at most that it adapts by; of longer sequences four stretches, evenly
            spread.
        prune: Share of the heaviest code's weight below which codes are left out of a frame, up to
            0.01; 0 leaves out none.
        block_frames: Frames whose messages are kept at a time; None chooses. The result does not
            depend on it.

    Raises:
        ValueError: A setting is out of range.
    """

    takes_whole_inputs = True

    def __init__(
        self,
        n_candidates: int = 32,
        *,
        adapt_rounds: int = 1,
        adapt_frames: int = 2048,
        prune: float = 1e-7,
        block_frames: int | None = None,
    ) -> None:
        check_counts(
            n_candidates=n_candidates, adapt_frames=adapt_frames, block_frames=block_frames
        )
        if not 0 <= adapt_rounds <= 8:
            raise ValueError(f"adapt_rounds must be from 0 to 8, got {adapt_rounds}")
        if not 0 <= prune <= _MOST_PRUNED:
            raise ValueError(f"prune must be from 0 to {_MOST_PRUNED}, got {prune}")
        self.n_candidates = n_candidates
        self.adapt_rounds = adapt_rounds
        self.adapt_frames = adapt_frames
        self.prune = prune
        self.block_frames = block_frames

    def sample(
        self,
        posterior: SequencePosterior,
        *,
        generator: torch.Generator,
        on_frame: OnFrame | None = None,
    ) -> Candidates:
        """As the interface says.

        Raises:
            EmptySupportError: No joint code is possible at some frame.
            IncompatibleComponentsError: A prior is no Markov chain, or the likelihood looks at
                past codes or does not list its pairs.
        """
        # One set of numbers for all rounds, so that the rounds do not change what is drawn.
        shape = (self.n_candidates, posterior.n_frames, posterior.n_sources)
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator)
        wanted = self.adapt_rounds if posterior.bound.can_adapt else 0
        passes = _Passes(self, uniform, wanted, on_frame)
        rounds, gain, warnings = 0, 0.0, []
        found = passes.over_parts(posterior) if wanted else passes.over_all(posterior)
        while rounds < wanted:
            adapted = posterior.adapt(found.marginals, passes.frames)
            if adapted is None or adapted.bound is posterior.bound:
                break  # It cannot, or nothing is better.
            again = passes.after(adapted, is_last=rounds + 1 == wanted)
            was, now = passes.comparable(found, again)
            rise = float(now.sum() - was.sum())
            before, after = (p.bound.adaptation_log_prior() for p in (posterior, adapted))
            if rise + after - before < -_ROUNDING * abs(float(was.sum())):
                warnings.append(
                    f"adapting the likelihood changed log p(mixture) from {float(was.sum()):.1f} "
                    f"to {float(now.sum()):.1f}, and the log prior of the adaptation by "
                    f"{after - before:.1f}: less in all, so it was undone"
                )
                break
            posterior, found, rounds = adapted, again, rounds + 1
            gain += rise / len(was)
        whole = found.whole or passes.over_all(posterior).whole
        assert whole is not None
        passes.progress(1.0)
        diagnostics = {
            "effective_sample_size": float(self.n_candidates),
            "log_evidence": whole.log_evidence,
            "adaptation_gain": gain,
            "adapt_rounds": float(rounds),
        }
        for source, marginals in enumerate(whole.marginals):
            diagnostics[f"entropy_{source}"] = _entropy(marginals)
        if whole.pruning is not None:
            diagnostics |= _losses(whole.pruning)
        log_prior, log_likelihood = whole.log_prior, whole.log_likelihood
        log_evidence = torch.full_like(log_likelihood, whole.log_evidence)
        return Candidates(
            codes=whole.codes,
            log_prior=log_prior,
            log_likelihood=log_likelihood,
            log_evidence=log_evidence,
            log_proposal=log_prior.sum(0) + log_likelihood - log_evidence,
            marginals=whole.marginals,
            diagnostics=diagnostics,
            warnings=tuple(warnings),
            frame_scores=whole.scores,
            bound=posterior.bound,
        )


@dataclass(frozen=True)
class _Found:
    """What a pass found of the frames that the likelihood adapts by.

    Args:
        log_evidence: Of every one of them, given those before it that the pass went over.
        marginals: Per source, of the frames one after the other.
        whole: With draws, where the pass was over all frames.
    """

    log_evidence: Float64[Tensor, " chosen"]
    marginals: tuple[Tensor, ...]
    whole: Smoothed | None


class _Passes:
    """The passes over one posterior and its adapted versions, and their progress."""

    def __init__(
        self,
        sampler: ForwardBackwardSampler,
        uniform: Float64[Tensor, "draws frames 2"],
        rounds: int,
        on_frame: OnFrame | None,
    ) -> None:
        n_frames = uniform.shape[1]
        self._sampler, self._uniform = sampler, uniform
        self._stretches = _stretches(n_frames, sampler.adapt_frames)
        self.frames = torch.cat([torch.arange(*stretch) for stretch in self._stretches])
        length = len(self.frames) // len(self._stretches)
        # Another pass over the stretches would only say whether the last round was any good.
        self._ends_with_all = len(self.frames) == n_frames or length >= 2 * _FORGOTTEN
        self.progress = Progress(on_frame, n_frames)
        self._done = 0
        n_parts = rounds if self._ends_with_all else rounds + 1
        self._total = n_frames + (n_parts * len(self.frames) if rounds else 0)

    def after(self, posterior: SequencePosterior, *, is_last: bool) -> _Found:
        """The pass that follows a round of adaptation."""
        if is_last and self._ends_with_all:
            return self.over_all(posterior)
        return self.over_parts(posterior)

    def over_all(self, posterior: SequencePosterior) -> _Found:
        """All frames, with draws."""
        whole = self._smooth(_markov(posterior), self._uniform)
        log_evidence = whole.scores.log_evidence
        frames = self.frames.to(log_evidence.device)
        return _Found(
            log_evidence[frames], tuple(table[frames] for table in whole.marginals), whole
        )

    def over_parts(self, posterior: SequencePosterior) -> _Found:
        """The frames to adapt by."""
        markov = _markov(posterior)
        found = [
            self._smooth(_between(markov, start, stop), self._uniform[:0, start:stop])
            for start, stop in self._stretches
        ]
        tables = zip(*(part.marginals for part in found), strict=True)
        log_evidence = torch.cat([part.scores.log_evidence for part in found])
        return _Found(log_evidence, tuple(torch.cat(parts) for parts in tables), None)

    def comparable(self, was: _Found, now: _Found) -> tuple[Tensor, Tensor]:
        """Log evidence of the frames that count when two passes are compared.

        A pass over all frames knows what came before a stretch, one over the stretch does not.
        Frames do not count until that is forgotten.
        """
        n_stretches = len(self._stretches)
        first = 0 if now.whole is None or n_stretches == 1 else _FORGOTTEN
        tables = (found.log_evidence.view(n_stretches, -1)[:, first:] for found in (was, now))
        before, after = (table.flatten() for table in tables)
        return before, after

    def _smooth(self, markov: MarkovPosterior, uniform: Tensor) -> Smoothed:
        done, self._done = self._done, self._done + markov.n_frames

        def on_share(share: float) -> None:
            self.progress(min((done + share * markov.n_frames) / self._total, 1.0))

        return smooth(
            markov,
            uniform,
            prune=self._sampler.prune,
            block_frames=self._sampler.block_frames,
            on_share=on_share,
        )


def _stretches(n_frames: int, at_most: int) -> list[tuple[int, int]]:
    """All frames, or four stretches of them, evenly spread."""
    if n_frames <= at_most:
        return [(0, n_frames)]
    length = max(1, at_most // _N_STRETCHES)
    last = n_frames - length
    starts = {round(last * k / (_N_STRETCHES - 1)) for k in range(_N_STRETCHES)}
    return [(start, start + length) for start in sorted(starts)]


def _between(markov: MarkovPosterior, start: int, stop: int) -> MarkovPosterior:
    """Some frames as a sequence of their own. How it starts is soon forgotten."""
    return MarkovPosterior(
        stop - start,
        markov.log_initial,
        markov.log_transition,
        lambda first, last: markov.log_likelihood(start + first, start + last),
    )


def _markov(posterior: SequencePosterior) -> MarkovPosterior:
    """The posterior as Markov chains.

    Raises:
        IncompatibleComponentsError: It is none; says why.
    """
    markov = posterior.markov()
    if markov is not None:
        return markov
    reasons = [
        f"the prior of source {source} ({type(prior).__name__}) is no first-order Markov chain"
        for source, prior in enumerate(posterior.priors)
        if prior.transition_matrix() is None or prior.info.max_frames == 1
    ]
    likelihood = f"the likelihood ({type(posterior.bound).__name__})"
    if posterior.bound.uses_history:
        reasons.append(f"{likelihood} looks at past codes")
    elif posterior.bound.frames(0, 1) is None:
        reasons.append(f"{likelihood} does not list its pairs of codes")
    raise IncompatibleComponentsError(
        f"sampler 'forward-backward' needs Markov priors and a likelihood that lists all pairs of "
        f"codes: {'; '.join(reasons)}. Use priors 'ngram' of order 1 or 2 with likelihood "
        "'log-sum', 'codebook-sum' or 'delta' and small codebooks, or sampler 'smc'."
    )


def _losses(pruning: Pruning) -> dict[str, float]:
    return {
        "pairs_kept": float(pruning.n_pairs.double().mean()) / pruning.n_all_pairs,
        "most_lost": float(pruning.lost.max()),
        "whole_frames": float(len(pruning.whole)),
    }


def _entropy(marginals: Float[Tensor, "frames codebook_size"]) -> float:
    return float(torch.special.entr(marginals.double()).sum(1).mean())
