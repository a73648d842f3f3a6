"""The separator: the data flow as one method, and what carries it along a long input.

::

    wave ─ codec.analyse ─▶ EncodedMixture ─ likelihood.bind ─▶ BoundLikelihood ┐
                                              priors (one per source) ─────────┴▶ SequencePosterior
    SequencePosterior ─ sampler ─▶ Candidates ─ codec.decode ─▶ DecodedCandidates
    DecodedCandidates ─ selector ─▶ Selection ─ refiners, in order ─▶ Separation(stems, report)

`Separator.separate_segment` is this picture.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.audio.mixtures import ArrayReader, FileReader, MixtureReader
from lqsep.core.audio.mono import to_mono
from lqsep.core.audio.resampling import resample
from lqsep.core.components.assemble import build
from lqsep.core.components.config import PipelineConfig, check_two_sources, load_config
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import DeviceMemoryError
from lqsep.core.inference.batches import BatchLimit, in_batches
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.data import (
    Candidates,
    DecodedCandidates,
    EncodedMixture,
    Mixture,
    SegmentResult,
    Selection,
    Separation,
)
from lqsep.core.interfaces.likelihood import Likelihood
from lqsep.core.interfaces.prior import Prior
from lqsep.core.interfaces.refiner import RefineContext, Refiner
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.core.interfaces.selector import Selector
from lqsep.core.separation.clock import StageClock
from lqsep.core.separation.run import OnProgress, SeparationRun
from lqsep.core.separation.segments import Segment
from lqsep.core.separation.stretch import SampledStretch
from lqsep.core.store.model_directory import Model, build_model, find_config, model_name

logger = logging.getLogger(__name__)

Result = TypeVar("Result")


MixtureLike = str | Path | tuple[npt.ArrayLike, int] | MixtureReader
"""A path, ``(wave [channels, samples], sample_rate)``, or an open reader."""


class Separator:
    """A pipeline of built components; make one with `from_pretrained` or `from_config`."""

    def __init__(
        self,
        *,
        codec: Codec,
        priors: Mapping[str, Prior],
        likelihood: Likelihood,
        sampler: Sampler,
        selector: Selector,
        refiners: Sequence[Refiner] = (),
        gains: Sequence[float],
        segment_s: float = 12.0,
        overlap: float = 0.1,
        prime: bool = True,
        device: torch.device | str = "cpu",
        name: str = "custom",
        config: Mapping[str, Any] | None = None,
    ) -> None:
        check_two_sources(tuple(priors), name)
        self.codec = codec
        self.priors = dict(priors)
        self.likelihood = likelihood
        self.sampler = sampler
        self.selector = selector
        self.refiners = tuple(refiners)
        self.gains = tuple(float(gain) for gain in gains)
        self.segment_s = segment_s
        self.overlap = overlap
        self.prime = prime
        self.device = torch.device(device)
        self.name = name
        self.config = dict(config or {})
        self._decode_limit = BatchLimit()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the sources, in order."""
        return tuple(self.priors)

    @classmethod
    def from_pretrained(
        cls,
        name: str | Path,
        *,
        device: str | torch.device = "auto",
        registry: Registry | None = None,
        overrides: Sequence[str] = (),
    ) -> Separator:
        """Load a model and assemble its pipeline.

        Args:
            name: A shipped model's name, a model directory, or a ``.toml`` configuration.
            device: ``auto``, ``cpu``, ``cuda``, ``cuda:N`` or a device.
            registry: Where components are looked up; discovered when None.
            overrides: ``"section.key=value"`` settings.

        Raises:
            CheckpointError: The model or its weights are missing, damaged or do not fit.
            ConfigError: The configuration is wrong.
            DeviceError: The device is not available.
            IncompatibleComponentsError: There are not two sources, or parts do not fit.
        """
        registry = registry or Registry.discover()
        path = find_config(name)
        config = load_config(path, registry, overrides)
        return cls.from_config(config, registry=registry, device=device, name=model_name(path))

    @classmethod
    def from_config(
        cls,
        config: PipelineConfig,
        *,
        registry: Registry | None = None,
        device: str | torch.device = "auto",
        name: str = "custom",
    ) -> Separator:
        """Assemble the pipeline of a validated configuration; errors as in `from_pretrained`."""
        check_two_sources(tuple(config.sources), name)
        registry = registry or Registry.discover()
        return cls.from_model(build_model(config, registry, device, name=name), registry)

    @classmethod
    def from_model(cls, model: Model, registry: Registry) -> Separator:
        """Add likelihood, sampler, selector and refiners to a loaded model."""
        config = model.config

        def make(kind: Kind, slot: Any) -> Any:
            return build(registry.find(kind, slot.type), slot, model.context)

        return cls(
            codec=model.codec,
            priors=model.priors,
            likelihood=make(Kind.LIKELIHOOD, config.likelihood),
            sampler=make(Kind.SAMPLER, config.sampler),
            selector=make(Kind.SELECTOR, config.selector),
            refiners=[make(Kind.REFINER, slot) for slot in config.refiners],
            gains=config.gains,
            segment_s=config.pipeline.segment,
            overlap=config.pipeline.overlap,
            prime=config.pipeline.prime,
            device=model.device,
            name=model.name,
            config=config.to_dict(),
        )

    def separate(
        self, mixture: MixtureLike, *, seed: int = 0, on_progress: OnProgress | None = None
    ) -> Separation:
        """Separate a mixture of any length, rate and number of channels.

        Args:
            mixture: A path, ``(wave [channels, samples], sample_rate)``, or an open reader.
            seed: The same seed gives the same stems.
            on_progress: Called with the seconds of audio done and in all.

        Returns:
            Stems at the mixture's rate, channels and exact length.

        Raises:
            AudioError: The mixture cannot be read or holds no samples.
            ConfigError: The seed is no whole number of 0 or more.
            EmptySupportError: Priors and likelihood allow no code at some frame.
            DeviceMemoryError: A segment does not fit in the device's memory.
        """
        run = self.stream(mixture, seed=seed, on_progress=on_progress)
        parts = [block.stems for block in run]
        stems = torch.cat(parts, -1).cpu().numpy().astype(np.float32)
        return Separation(
            stems=dict(zip(self.sources, stems, strict=True)),
            sample_rate=run.reader.sample_rate,
            report=run.report(),
        )

    def stream(
        self, mixture: MixtureLike, *, seed: int = 0, on_progress: OnProgress | None = None
    ) -> SeparationRun:
        """Like `separate`, but gives out finished stretches, so that memory stays bounded."""
        return SeparationRun(self, _reader(mixture), seed, on_progress)

    def posterior(
        self, mixture: MixtureLike, *, seed: int = 0, on_progress: OnProgress | None = None
    ) -> list[tuple[Segment, Candidates]]:
        """Candidates of every segment, with log prior, likelihood and evidence."""
        return list(self.stream(mixture, seed=seed, on_progress=on_progress).candidates())

    def sequence_posterior(
        self,
        encoded: EncodedMixture,
        prompt: Int64[Tensor, "candidates sources frames"] | None = None,
    ) -> SequencePosterior:
        """The posterior over the joint codes of one encoded segment.

        Args:
            encoded: As `Codec.analyse` gives it.
            prompt: Codes that came just before the segment, per candidate.
        """
        bound = self.likelihood.bind(encoded, self.gains)
        return SequencePosterior(tuple(self.priors.values()), bound, prompt=prompt)

    def sample_stretch(
        self,
        wave: Float[Tensor, "channels samples"],
        *,
        generator: torch.Generator,
        prompt: Int64[Tensor, "candidates sources frames"] | None = None,
        on_frame: OnFrame | None = None,
    ) -> SampledStretch:
        """Encode a stretch of the mixture and draw its candidates.

        Args:
            wave: At the codec's rate and channels, on the separator's device.
            generator: The only source of randomness.
            prompt: Codes that came just before, per candidate.
            on_frame: Progress of the sampler.

        Raises:
            DeviceMemoryError: It does not fit in the device's memory.
        """

        def work(clock: StageClock) -> SampledStretch:
            with clock("encode"):
                encoded = self.codec.analyse(wave[None])
                posterior = self.sequence_posterior(encoded, prompt)
            with clock("sample"):
                candidates = self.sampler.sample(posterior, generator=generator, on_frame=on_frame)
            return SampledStretch(
                wave, encoded, candidates, posterior.bound.warnings, clock.seconds
            )

        return self._guarded(StageClock(), wave.shape[1] / self.codec.info.sample_rate, work)

    def separate_segment(
        self,
        mixture: Mixture,
        *,
        generator: torch.Generator,
        prompt: Int64[Tensor, "candidates sources frames"] | None = None,
        on_frame: OnFrame | None = None,
    ) -> SegmentResult:
        """Separate one segment: the data flow from the mixture to the refined stems.

        Args:
            mixture: The segment at its own rate, on the separator's device.
            generator: The only source of randomness.
            prompt: Codes that came just before the segment, per candidate.
            on_frame: Progress of the sampler.

        Raises:
            DeviceMemoryError: A stage does not fit in the device's memory.
        """
        info = self.codec.info
        wave = to_mono(mixture.wave, mixture.sample_rate, info.sample_rate)
        sampled = self.sample_stretch(
            wave.expand(info.channels, -1), generator=generator, prompt=prompt, on_frame=on_frame
        )
        return self.finish_segment(mixture, sampled)

    def finish_segment(self, mixture: Mixture, sampled: SampledStretch) -> SegmentResult:
        """From the candidates of a segment to its stems.

        Args:
            mixture: The segment at its own rate, on the separator's device.
            sampled: The same stretch.

        Raises:
            DeviceMemoryError: A stage does not fit in the device's memory.
        """
        clock = StageClock(sampled.timings)
        wave, encoded, candidates = sampled.wave, sampled.encoded, sampled.candidates
        length_s = mixture.wave.shape[-1] / mixture.sample_rate

        def decode(rows: Tensor) -> Tensor:
            def work(clock: StageClock) -> Tensor:
                with clock("decode"):
                    return self._decode(candidates.codes[:, rows], encoded, wave)

            return self._guarded(clock, length_s, work)

        def work(clock: StageClock) -> SegmentResult:
            with clock("decode"):
                decoded = DecodedCandidates(
                    candidates, decode, self._round_trip(encoded, wave), self.gains
                )
            with clock("select"):
                selection = self.selector.select(decoded, wave)
            with clock("refine"):
                stems = self._stems(decoded, selection, mixture)
                context = RefineContext(
                    mixture, encoded, candidates, decoded, selection, self.codec, self.gains
                )
                for refiner in self.refiners:
                    stems = refiner.refine(stems, context)
            return SegmentResult(
                stems, encoded, candidates, decoded, selection, clock.seconds, sampled.warnings
            )

        return self._guarded(clock, length_s, work)

    def _guarded(
        self, clock: StageClock, length_s: float, work: Callable[[StageClock], Result]
    ) -> Result:
        """Do it in inference mode; one line where the device's memory does not suffice."""
        try:
            with torch.inference_mode():
                return work(clock)
        except torch.cuda.OutOfMemoryError as error:
            logger.debug("%s", error)
        # Outside the handler: its traceback kept the failed stage's tensors alive, and the next
        # input may fit.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise DeviceMemoryError(
            f"out of memory on {self.device} in the stage '{clock.stage}' of a segment of "
            f"{length_s:.1f} s; use fewer candidates (--candidates), shorter segments (--segment) "
            "or --device cpu"
        )

    def _decode(
        self,
        chosen: Int64[Tensor, "sources candidates frames"],
        encoded: EncodedMixture,
        wave: Tensor,
    ) -> Float[Tensor, "sources candidates channels samples"]:
        n_samples = encoded.n_samples
        waves = []
        for source, codes in enumerate(chosen):
            # Candidates often share their codes (a beam's per source, say): decode each once.
            unique, place = torch.unique(codes, dim=0, return_inverse=True)

            def decode(start: int, stop: int, source: int = source, u: Tensor = unique) -> Tensor:
                return self.codec.decode(u[start:stop], n_samples, source, wave)

            parts = in_batches(decode, unique.shape[0], limit=self._decode_limit)
            waves.append(torch.cat(parts)[place])
        return torch.stack(waves).div_(encoded.scale)

    def _round_trip(self, encoded: EncodedMixture, wave: Tensor) -> Tensor:
        """The mixture as the codec gives it back; itself where it has no codes."""
        if encoded.codes is None:
            return wave
        trip = self.codec.decode(encoded.codes[None], encoded.n_samples, None, wave)[0]
        return trip / encoded.scale

    def _stems(
        self, decoded: DecodedCandidates, selection: Selection, mixture: Mixture
    ) -> Float[Tensor, "sources channels samples"]:
        """Weighted candidates times their gains, at the mixture's rate and channels."""
        if self.refiners and not self.refiners[0].needs_stems:
            return mixture.wave.new_zeros(len(self.gains), *mixture.wave.shape)
        weights = selection.weights.to(decoded.waves)
        stems = torch.einsum("sk,skcn->scn", weights, decoded.waves)
        stems = (
            stems * torch.tensor(self.gains, dtype=stems.dtype, device=stems.device)[:, None, None]
        )
        stems = resample(
            stems.mean(1, keepdim=True),
            self.codec.info.sample_rate,
            mixture.sample_rate,
            n_samples=mixture.wave.shape[-1],
        )
        return stems.expand(-1, mixture.wave.shape[0], -1)


def _reader(mixture: MixtureLike) -> MixtureReader:
    if isinstance(mixture, str | Path):
        return FileReader(mixture)
    if isinstance(mixture, tuple):
        return ArrayReader(*mixture)
    return mixture
