"""Decoded candidates as they are: how good they are, and which would be taken."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.audio.resampling import resample
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.evaluation.sound import at_gain
from lqsep.core.interfaces.candidates import DecodedCandidates
from lqsep.core.interfaces.selector import Selector
from lqsep.core.signal.metrics import candidate_sdr

# Values resampled at a time: 32 MB in single precision.
_BLOCK = 1 << 23


def score_candidates(
    decoded: DecodedCandidates,
    references: Float[Tensor, "references sources samples"],
    codec_rate: int,
    sample_rate: int,
    n_samples: int,
) -> Float64[Tensor, "references sources candidates"]:
    """SDR of every candidate times its gain, over the references' length.

    Args:
        decoded: At the codec's rate; its channels are averaged.
        references: The beginnings of the sources as they stand in the mixture.
        codec_rate: Hz.
        sample_rate: Of the references, in Hz.
        n_samples: Length of the whole chunk at ``sample_rate``.
    """
    scores = []
    step = max(1, _BLOCK // (references.shape[1] * n_samples))
    for block in torch.split(decoded.waves, step, dim=1):
        waves = resample(block.mean(2).cpu(), codec_rate, sample_rate, n_samples=n_samples)
        waves = at_gain(waves[..., : references.shape[-1]], decoded.gains)
        scores.append(torch.stack([candidate_sdr(wanted, waves) for wanted in references]))
    return torch.cat(scores, -1)


def best_scores(
    scores: Float64[Tensor, "references sources candidates"],
) -> Float64[Tensor, "references sources"]:
    """Each source's best candidate against each reference; NaN only where all candidates are."""
    lowest = scores.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    best = lowest.max(-1).values
    return best.masked_fill(scores.isnan().all(-1), torch.nan)


def best_stems(
    decoded: DecodedCandidates,
    references: Float[Tensor, "sources channels samples"],
    codec_rate: int,
    sample_rate: int,
) -> Float[Tensor, "sources channels samples"]:
    """Each source's best candidate by SDR, times its gain, at the references' rate and channels."""
    channels, n_samples = references.shape[1:]
    mono = references.mean(1)
    scores = score_candidates(decoded, mono[None], codec_rate, sample_rate, n_samples)[0]
    best = scores.nan_to_num(nan=-torch.inf, neginf=-torch.inf).argmax(-1).tolist()
    waves = torch.stack([decoded.waves[source, number] for source, number in enumerate(best)])
    waves = resample(waves.mean(1, keepdim=True).cpu(), codec_rate, sample_rate, n_samples)
    return at_gain(waves, decoded.gains).expand(-1, channels, -1)


def pick(
    decoded: DecodedCandidates, mixture: Tensor, mode: Literal["marginal", "pair"]
) -> tuple[int, ...] | None:
    """Candidate of each source under the selector ``rejection``; None if there are too many.

    Args:
        decoded: The candidates.
        mixture: At the codec's rate, ``channels samples``.
        mode: Best candidate of each source by itself, or best combination.
    """
    try:
        weights = _rejection(decoded, mode).select(decoded, mixture).weights
    except IncompatibleComponentsError:
        return None
    return tuple(int(choice) for choice in weights.argmax(1))


def _rejection(decoded: DecodedCandidates, mode: str) -> Selector:
    registered = Registry.discover().find(Kind.SELECTOR, "rejection")
    config = registered.spec.config.model_validate({"type": "rejection", "mode": mode})
    context = BuildContext(
        device=decoded.waves.device,
        dtype=decoded.waves.dtype,
        sources=tuple(str(n) for n in range(len(decoded.gains))),
        gains=decoded.gains,
        base_dir=Path(),
    )
    selector = build(registered, config, context)
    assert isinstance(selector, Selector)
    return selector
