"""The picture: built components, and the data flow through them as one short method.

::

    wave ─ codec.analyse ─▶ EncodedMixture ─ likelihood.bind ─▶ BoundLikelihood ┐
                                              priors (one per source) ─────────┴▶ SequencePosterior
    SequencePosterior ─ sampler ─▶ Candidates ─ codec.decode ─▶ DecodedCandidates
    DecodedCandidates ─ selector ─▶ Selection ─ refiners, in order ─▶ stems

`Pipeline.separate_segment` is this picture: `Pipeline.analyse`, `Pipeline.infer` (to the
candidates) and `Pipeline.render` (to the stems). Everything that separates goes through these
three: a whole input segment after segment (`lqsep.core.separation.run`), evaluation, `posterior`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.audio.mono import to_mono
from lqsep.core.audio.resampling import resample
from lqsep.core.components.config import check_two_sources
from lqsep.core.inference.batches import BatchLimit, in_batches
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates, Selection
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.codec_calls import analysed, decoded_codes
from lqsep.core.interfaces.data import EncodedMixture, Mixture
from lqsep.core.interfaces.likelihood import BoundLikelihood, Likelihood
from lqsep.core.interfaces.prior import Prior
from lqsep.core.interfaces.refiner import RefineContext, Refiner
from lqsep.core.interfaces.sampler import OnFrame, Sampler
from lqsep.core.interfaces.selector import Selector
from lqsep.core.separation.clock import StageClock
from lqsep.core.separation.device_memory import enough_memory
from lqsep.core.separation.stage_calls import bound_to, refined, sampled, selected
from lqsep.core.separation.unheard import heard


@dataclass(frozen=True)
class SegmentResult:
    """The stems of one segment and all that led to them.

    Args:
        stems: At the mixture's rate and channels, before the cross-fade.
        encoded: The mixture's latents and codes.
        bound: The likelihood that the candidates were inferred with in the end.
        candidates: As the sampler gave them.
        decoded: The candidates as sound, at the codec's rate.
        selection: Their weights.
        timings: Seconds by stage.
    """

    stems: Float[Tensor, "sources channels samples"]
    encoded: EncodedMixture
    bound: BoundLikelihood
    candidates: Candidates
    decoded: DecodedCandidates
    selection: Selection
    timings: Mapping[str, float]


class Pipeline:
    """Built components that fit each other.

    Args:
        codec: Shared by all sources.
        priors: By source name, in the order of the configuration.
        likelihood: Of the codec's codes.
        sampler: Gives the candidates.
        selector: Weighs them.
        refiners: In order.
        gains: Linear factor of each source in the mixture.
        segment_s: Seconds that go through the picture at a time.
        overlap: Share of a segment that overlaps the next one, in [0, 1).
        prime: Whether a segment starts from the previous one's last codes.
        device: Where the tensors live.
        name: For reports and output folders.
        config: What all this was built from, for the report.

    Raises:
        IncompatibleComponentsError: There are not two sources.
    """

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
            mixture: The segment at its own rate, on the pipeline's device.
            generator: The only source of randomness.
            prompt: Codes that came just before the segment, per candidate.
            on_frame: Progress of the sampler.

        Raises:
            DeviceMemoryError: A stage does not fit in the device's memory.
        """
        clock, info = StageClock(), self.codec.info
        mixture = heard(mixture, info.lowest_hz)
        wave = to_mono(mixture.wave, mixture.sample_rate, info.sample_rate)
        encoded = self.analyse(wave.expand(info.channels, -1), clock=clock)
        candidates = self.infer(
            encoded, generator=generator, prompt=prompt, on_frame=on_frame, clock=clock
        )
        return self.render(mixture, encoded, candidates, clock=clock)

    def analyse(
        self, wave: Float[Tensor, "channels samples"], *, clock: StageClock | None = None
    ) -> EncodedMixture:
        """Encode a stretch of the mixture.

        Args:
            wave: At the codec's rate and channels, on the pipeline's device; without what lies
                below `CodecInfo.lowest_hz`.
            clock: Counts the time.

        Raises:
            DeviceMemoryError: It does not fit in the device's memory.
        """
        clock = clock or StageClock()
        with self._work(clock, wave.shape[1] / self.codec.info.sample_rate), clock("encode"):
            return analysed(self.codec, wave)

    def posterior_of(
        self,
        encoded: EncodedMixture,
        prompt: Int64[Tensor, "candidates sources frames"] | None = None,
    ) -> SequencePosterior:
        """The posterior over the joint codes of an encoded stretch.

        Args:
            encoded: As `analyse` gives it.
            prompt: Codes that came just before the stretch, per candidate.
        """
        bound = bound_to(self.likelihood, encoded, self.gains)
        return SequencePosterior(tuple(self.priors.values()), bound, prompt=prompt)

    def infer(
        self,
        encoded: EncodedMixture,
        *,
        generator: torch.Generator,
        prompt: Int64[Tensor, "candidates sources frames"] | None = None,
        on_frame: OnFrame | None = None,
        clock: StageClock | None = None,
    ) -> Candidates:
        """Draw the candidates of an encoded stretch.

        Args:
            encoded: As `analyse` gives it.
            generator: The only source of randomness.
            prompt: Codes that came just before the stretch, per candidate.
            on_frame: Progress of the sampler.
            clock: Counts the time.

        Returns:
            With ``bound``, the likelihood that was used in the end.

        Raises:
            DeviceMemoryError: It does not fit in the device's memory.
            EmptySupportError: Priors and likelihood allow no code at some frame.
        """
        clock = clock or StageClock()
        with self._work(clock, encoded.n_samples / self.codec.info.sample_rate):
            with clock("encode"):
                posterior = self.posterior_of(encoded, prompt)
            with clock("sample"):
                found = sampled(self.sampler, posterior, generator, on_frame)
        return found if found.bound is not None else replace(found, bound=posterior.bound)

    def render(
        self,
        mixture: Mixture,
        encoded: EncodedMixture,
        candidates: Candidates,
        *,
        clock: StageClock | None = None,
    ) -> SegmentResult:
        """From the candidates of a segment to its stems.

        Args:
            mixture: The segment at its own rate, on the pipeline's device. What is not heard of it
                is added to the stems in the end, in equal parts.
            encoded: The same stretch as `analyse` gives it.
            candidates: As `infer` gives them.
            clock: Counts the time, to what was spent before.

        Raises:
            DeviceMemoryError: A stage does not fit in the device's memory.
        """
        clock, bound = clock or StageClock(), candidates.bound
        assert bound is not None, "candidates come from Pipeline.infer"
        length_s = mixture.wave.shape[-1] / mixture.sample_rate

        def decode(rows: Tensor) -> Tensor:
            with self._work(clock, length_s), clock("decode"):
                return self._decode(candidates.codes[:, rows], encoded)

        with self._work(clock, length_s):
            with clock("decode"):
                decoded = DecodedCandidates(
                    candidates, decode, self._round_trip(encoded), self.gains
                )
            with clock("select"):
                selection = selected(self.selector, decoded, encoded.wave)
            with clock("refine"):
                stems = self._stems(decoded, selection, mixture)
                context = RefineContext(
                    mixture, encoded, bound, candidates, decoded, selection, self.codec, self.gains
                )
                for refiner in self.refiners:
                    stems = refined(refiner, stems, context)
                if mixture.unheard is not None:
                    stems = stems + mixture.unheard / len(stems)
        return SegmentResult(stems, encoded, bound, candidates, decoded, selection, clock.seconds)

    @contextmanager
    def _work(self, clock: StageClock, length_s: float) -> Iterator[None]:
        """Nothing of it is differentiated; too small a device is told in one line."""
        with enough_memory(self.device, clock, length_s), torch.inference_mode():
            yield

    def _decode(
        self, chosen: Int64[Tensor, "sources candidates frames"], encoded: EncodedMixture
    ) -> Float[Tensor, "sources candidates channels samples"]:
        waves = []
        for source, codes in enumerate(chosen):
            # Candidates often share their codes (a beam's per source, say): decode each once.
            unique, place = torch.unique(codes, dim=0, return_inverse=True)

            def decode(start: int, stop: int, source: int = source, u: Tensor = unique) -> Tensor:
                return decoded_codes(
                    self.codec, u[start:stop], encoded.n_samples, source, encoded.wave
                )

            parts = in_batches(decode, unique.shape[0], limit=self._decode_limit)
            waves.append(torch.cat(parts)[place])
        return torch.stack(waves).div_(encoded.scale)

    def _round_trip(self, encoded: EncodedMixture) -> Tensor:
        """The mixture as the codec gives it back; itself where it has no codes."""
        wave = encoded.wave
        if encoded.codes is None:
            return wave
        trip = decoded_codes(self.codec, encoded.codes[None], encoded.n_samples, None, wave)[0]
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
