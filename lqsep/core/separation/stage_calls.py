"""Calls of what a segment passes between codec and stems, whose answers are looked at."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.errors import ComponentError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.calls import ask, pass_name
from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates, Selection
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.interfaces.refiner import RefineContext, Refiner
from lqsep.core.interfaces.returned import expect, expect_codes, expect_finite, expect_type, wrong
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.core.interfaces.selector import Selector


def bound_to(
    likelihood: Likelihood, encoded: EncodedMixture, gains: Sequence[float]
) -> BoundLikelihood:
    """`Likelihood.bind`, which has the frames of the mixture.

    Raises:
        ComponentError: What it gives is not what the interface has; likewise below.
    """
    method = likelihood.bind
    bound = expect_type(method, ask(method, encoded, gains), BoundLikelihood)
    if bound.n_frames != encoded.n_frames:
        raise wrong(method, f"gave {bound.n_frames} frames; expected {encoded.n_frames}")
    pass_name(likelihood, bound)
    return bound


def sampled(
    sampler: Sampler,
    posterior: SequencePosterior,
    generator: torch.Generator,
    on_frame: OnFrame | None,
) -> Candidates:
    """`Sampler.sample`, whose codes are codes of the priors.

    What ``on_frame`` raises is the caller's, and comes as it is.
    """
    method, sources = sampler.sample, posterior.n_sources
    raised: list[Exception] = []

    def told(done: int, total: int) -> None:
        assert on_frame is not None
        try:
            on_frame(done, total)
        except Exception as error:
            raised.append(error)
            raise

    try:
        progress = None if on_frame is None else told
        answer = ask(method, posterior, generator=generator, on_frame=progress)
    except ComponentError:
        if raised:
            raise raised[0] from None
        raise
    found = expect_type(method, answer, Candidates)
    n = found.codes.shape[1] if found.codes.ndim == 3 else 1
    shape = {"sources": sources, "candidates": max(1, n), "frames": posterior.n_frames}
    expect(method, "codes", found.codes, int, **shape)
    expect(method, "log_prior", found.log_prior, float, sources=sources, candidates=n)
    for name in ("log_likelihood", "log_evidence", "log_proposal", "whole_log_posterior"):
        scores = getattr(found, name)
        if scores is not None or name in {"log_likelihood", "log_evidence"}:
            expect(method, name, scores, float, candidates=n)
    for codes, prior in zip(found.codes, posterior.priors, strict=True):
        expect_codes(method, codes, prior.info.codebook_size)
    return found


def selected(
    selector: Selector, decoded: DecodedCandidates, mixture: Float[Tensor, "channels samples"]
) -> Selection:
    """`Selector.select`."""
    method, candidates = selector.select, decoded.candidates
    found = expect_type(method, ask(method, decoded, mixture), Selection)
    shape = {"sources": len(decoded.gains), "candidates": candidates.n_candidates}
    expect(method, "weights", found.weights, float, **shape)
    return found


def refined(
    refiner: Refiner, stems: Float[Tensor, "sources channels samples"], context: RefineContext
) -> Float[Tensor, "sources channels samples"]:
    """`Refiner.refine`: as many stems, of the same shape."""
    method = refiner.refine
    found = ask(method, stems, context)
    sources, channels, samples = stems.shape
    expect(method, "stems", found, float, sources=sources, channels=channels, samples=samples)
    expect_finite(method, "stems", found)
    return found
