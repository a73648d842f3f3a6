"""What travels along the arrows of the data flow: frozen values, made once and never changed.

Axis names: ``sources`` in the order of the configuration (source 0 is the row axis of every joint
matrix), ``candidates`` (finished hypotheses), ``frames`` (code steps), ``channels``, ``samples``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from jaxtyping import Float, Int64
from torch import Tensor

if TYPE_CHECKING:
    from lqsep.core.report import SeparationReport


@dataclass(frozen=True)
class Mixture:
    """A stretch of a mixture at its own rate and channels."""

    wave: Float[Tensor, "channels samples"]
    sample_rate: int
    name: str = "mixture"


@dataclass(frozen=True)
class EncodedMixture:
    """What a codec knows of one segment of the mixture.

    Args:
        latents: Before quantising; shape ``frames embedding_dim``.
        codes: The mixture's own codes, ``frames``; None for a codec without mixture codes.
        scale: Factor that was applied to the wave before analysis (1 = none); decoded waves are
            divided by it to stand as they do in the mixture.
        n_samples: Length of the analysed wave at the codec's rate.
    """

    latents: Float[Tensor, "frames embedding_dim"]
    codes: Int64[Tensor, " frames"] | None
    scale: float
    n_samples: int

    @property
    def n_frames(self) -> int:
        return int(self.latents.shape[0])


@dataclass(frozen=True)
class Candidates:
    """Finished joint hypotheses of a segment, best or first drawn first.

    Args:
        codes: ``sources candidates frames``.
        log_prior: Log-probability of each source's codes under its own prior, natural log, no
            filtering or temperature applied; ``sources candidates``.
        log_likelihood: Of the joint codes, unnormalised; ``candidates``.
        log_evidence: Sum over frames of ``log p(mixture frame | past codes)``, as the sampler met
            it; ``candidates``.
        log_proposal: Log-probability with which the sampler drew the joint codes, ``candidates``;
            None for samplers that do not draw.
        marginals: Exact posterior marginals per source, ``frames codebook_size``, from samplers
            that have them.
        diagnostics: What the sampler reports of its work by name, such as
            ``effective_sample_size`` or ``acceptance``.
        warnings: What a user should know of how these were drawn; one sentence each.
    """

    codes: Int64[Tensor, "sources candidates frames"]
    log_prior: Float[Tensor, "sources candidates"]
    log_likelihood: Float[Tensor, " candidates"]
    log_evidence: Float[Tensor, " candidates"]
    log_proposal: Float[Tensor, " candidates"] | None = None
    marginals: tuple[Float[Tensor, "frames _codebook_size"], ...] | None = None
    diagnostics: Mapping[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def n_candidates(self) -> int:
        return int(self.codes.shape[1])

    @property
    def log_posterior(self) -> Float[Tensor, " candidates"]:
        """Unnormalised: log prior of every source plus log likelihood."""
        return self.log_prior.sum(0) + self.log_likelihood


@dataclass(frozen=True)
class DecodedCandidates:
    """Candidates as sound, at the codec's rate.

    Args:
        candidates: The codes and scores behind the waves.
        waves: Decoded sources *before* their gain; ``sources candidates channels samples``.
        mixture: The codec's round trip of the mixture, or the mixture itself where the codec has
            no mixture codes; ``channels samples``.
        gains: Linear factor of each source in the mixture.
    """

    candidates: Candidates
    waves: Float[Tensor, "sources candidates channels samples"]
    mixture: Float[Tensor, "channels samples"]
    gains: tuple[float, ...]


@dataclass(frozen=True)
class Selection:
    """Weight of every candidate for every source; each row sums to one, one-hot is a pick.

    ``scores`` holds what the selector wants reported, by name.
    """

    weights: Float[Tensor, "sources candidates"]
    scores: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class SegmentResult:
    """One separated segment and all that led to it.

    Args:
        stems: At the mixture's rate and channels, before the cross-fade.
        encoded: The mixture's latents and codes.
        candidates: As the sampler gave them.
        decoded: The candidates as sound, at the codec's rate.
        selection: Their weights.
        timings: Seconds by stage.
        warnings: Of the likelihood; the sampler's are the candidates'.
    """

    stems: Float[Tensor, "sources channels samples"]
    encoded: EncodedMixture
    candidates: Candidates
    decoded: DecodedCandidates
    selection: Selection
    timings: Mapping[str, float]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Separation:
    """The result: stems at the mixture's rate, channels and exact length, and what was run.

    Args:
        stems: By source name, float32, ``channels samples``, as they stand in the mixture.
        sample_rate: Of the mixture, in Hz.
        report: What ran, versions, seeds, scores, timings.
    """

    stems: Mapping[str, npt.NDArray[np.float32]]
    sample_rate: int
    report: SeparationReport

    def save(self, directory: str | Path) -> Path:
        """Write ``<stem>.wav`` (PCM 16) per source and ``lqsep.json`` under ``directory``.

        Returns:
            The directory, made if needed.

        Raises:
            AudioError: A file cannot be written.
        """
        from lqsep.core.audio import write_audio

        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, stem in self.stems.items():
            write_audio(directory / f"{name}.wav", stem, self.sample_rate)
        self.report.write(directory / "lqsep.json")
        return directory
