"""Exact inference over whole sequences, for Markov priors and likelihoods without memory."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.data import Candidates
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.forward_backward import Smoothed, smooth
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.core.posterior import SequencePosterior
from lqsep.core.posterior_state import MarkovPosterior
from lqsep.plugins.samplers.checks import check_counts
from lqsep.plugins.samplers.progress import Progress

# Share of log p(mixture) that float32 rounding may change.
_ROUNDING = 1e-6


class ForwardBackwardSampler(Sampler):
    """Independent draws from the posterior of whole sequences, with its marginals and evidence.

    Every pair of codes of every frame is looked at, see `lqsep.core.forward_backward`. After a
    pass the likelihood may adapt to the mixture by the marginals, and a pass with the adapted one
    follows. A round that lowers the evidence is undone, with a warning. Of a prompt with several
    rows the first one counts, for all candidates. Codes are drawn in the last pass only.

    Time and memory allow sequences of many minutes, so that a whole input is sampled at once, as if
    it were not cut into segments.

    All candidates carry the same ``log_evidence``, log p(mixture), so that selector ``mean`` weighs
    them equally; their ``log_proposal`` is the exact log-probability of their codes.

    Diagnostics: ``effective_sample_size`` (the number of candidates: they are exact),
    ``log_evidence``, ``log_evidence_before`` (without any adaptation), ``adapt_rounds`` (made and
    kept), ``entropy_0`` and ``entropy_1`` (of a source's marginals, mean over frames, in nats).

    Args:
        n_candidates: Number of draws.
        adapt_rounds: How many times the likelihood may adapt, 0 to 2.
        block_frames: Frames whose messages are kept at a time; None chooses. The result does not
            depend on it.

    Raises:
        ValueError: A count is out of range.
    """

    takes_whole_inputs = True

    def __init__(
        self,
        n_candidates: int = 32,
        *,
        adapt_rounds: int = 1,
        block_frames: int | None = None,
    ) -> None:
        check_counts(n_candidates=n_candidates, block_frames=block_frames)
        if not 0 <= adapt_rounds <= 2:
            raise ValueError(f"adapt_rounds must be from 0 to 2, got {adapt_rounds}")
        self.n_candidates = n_candidates
        self.adapt_rounds = adapt_rounds
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
        shape = (self.n_candidates, posterior.n_frames, 2)
        uniform = torch.rand(shape, dtype=torch.float64, generator=generator)
        progress = Progress(on_frame, posterior.n_frames)
        wanted = self.adapt_rounds if posterior.can_adapt else 0
        n_passes, passes = 1 + wanted, 0

        def run(posterior: SequencePosterior, *, is_last: bool) -> Smoothed:
            nonlocal passes
            before, passes = passes, passes + 1
            return smooth(
                _markov(posterior),
                uniform if is_last else uniform[:0],
                block_frames=self.block_frames,
                on_share=lambda share: progress(min((before + share) / n_passes, 1.0)),
            )

        found, rounds, warnings = run(posterior, is_last=wanted == 0), 0, []
        before = found.log_evidence
        while rounds < wanted:
            adapted = posterior.adapt(found.marginals)
            if adapted is None:
                break
            again = run(adapted, is_last=rounds + 1 == wanted)
            if again.log_evidence < found.log_evidence - _ROUNDING * abs(found.log_evidence):
                warnings.append(
                    f"adapting the likelihood lowered log p(mixture) from "
                    f"{found.log_evidence:.1f} to {again.log_evidence:.1f} and was undone"
                )
                break
            posterior, found, rounds = adapted, again, rounds + 1
        if not found.codes.shape[1]:
            found = run(posterior, is_last=True)
        progress(1.0)
        diagnostics = {
            "effective_sample_size": float(self.n_candidates),
            "log_evidence": found.log_evidence,
            "log_evidence_before": before,
            "adapt_rounds": float(rounds),
        }
        for source, marginals in enumerate(found.marginals):
            diagnostics[f"entropy_{source}"] = _entropy(marginals)
        log_prior, log_likelihood = found.log_prior, found.log_likelihood
        log_evidence = torch.full_like(log_likelihood, found.log_evidence)
        return Candidates(
            codes=found.codes,
            log_prior=log_prior,
            log_likelihood=log_likelihood,
            log_evidence=log_evidence,
            log_proposal=log_prior.sum(0) + log_likelihood - log_evidence,
            marginals=found.marginals,
            diagnostics=diagnostics,
            warnings=tuple(warnings),
            frame_scores=found.scores,
            bound=posterior.bound,
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


def _entropy(marginals: Float[Tensor, "frames codebook_size"]) -> float:
    return float(torch.special.entr(marginals.double()).sum(1).mean())
