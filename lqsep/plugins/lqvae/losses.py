"""Losses of the LQ-VAE: reconstruction, spectral, commitment and linearisation.

The linearisation loss pairs item ``i`` of a batch with item ``i + batch / 2`` and asks that, at
every level, quantising the weighted sum of their quantised latents gives what the encoder and the
quantiser make of the weighted sum of their waves. In training the codebooks move three times per
call: for the batch, for the summed latents and for the summed waves, in this order.

References: Dhariwal et al. 2020 (Jukebox), arXiv:2005.00341, section 3 and its training details;
Mancusi et al. 2021, arXiv:2110.05313 (linearisation). Different from the reference implementation:
the gains of a pair may be any two numbers, an odd batch is refused, ``latent`` is reported for all
levels, and terms without a weight are not computed.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.errors import AudioError, ShapeError
from lqsep.plugins.lqvae.model import LQVAE
from lqsep.plugins.lqvae.quantizer import (
    Quantizer,
    QuantizerMetrics,
    QuantizerResult,
    Replacement,
)
from lqsep.plugins.lqvae.spectra import (
    magnitude_distance,
    multi_magnitude_distance,
    multi_magnitudes,
    stft_magnitude,
)

PairGains = tuple[float, float] | tuple[Tensor, Tensor]
"""Weights of the first and the second of all pairs, or of each (``pairs 1 1``)."""

PairReplacement = Callable[[int, int, Tensor], Tensor]
"""From (call 0 to 2, level, input vectors) to the new entries of codes to revive."""


@dataclass(frozen=True)
class Bandwidth:
    """Scale of the training audio, by which losses are divided.

    Attributes:
        l1: Mean absolute sample.
        l2: Variance of the samples.
        spectral: Mean Frobenius norm of an item's magnitude spectrogram.
    """

    l1: float = 1.0
    l2: float = 1.0
    spectral: float = 1.0

    def __post_init__(self) -> None:
        if not (self.l1 > 0 and self.l2 > 0 and self.spectral > 0):
            raise AudioError(
                f"bandwidth: l1, l2 and spectral must be positive, got {self.l1}, {self.l2} and "
                f"{self.spectral}. Is the audio silent?"
            )


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weights of the terms in the total; the defaults are the reference's.

    Attributes:
        l1: Absolute error.
        l2: Squared error.
        linf: Mean of the ``linf_k`` largest squared errors of an item.
        linf_k: See ``linf``; at most the number of samples is taken.
        spectral: Distance of magnitude spectra.
        multispectral: The same at several resolutions.
        commitment: Latents to their codes, for the batch and for the summed latents.
        latent: Linearisation.
    """

    l1: float = 0.0
    l2: float = 1.0
    linf: float = 0.02
    linf_k: int = 2048
    spectral: float = 0.0
    multispectral: float = 1.0
    commitment: float = 1.0
    latent: float = 1.0


@dataclass(frozen=True, kw_only=True)
class ReconstructionTerms:
    """Sample errors of one level, averaged over the batch and divided by the bandwidth.

    ``total`` is their weighted sum; ``linf`` is None where it has no weight.
    """

    l1: Tensor
    l2: Tensor
    linf: Tensor | None
    total: Tensor


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """Every term of one call; tuples hold one scalar per level.

    Attributes:
        total: The loss to minimise.
        reconstruction: Sample errors.
        spectral: Spectral distances; None where they have no weight.
        multispectral: Multi-resolution spectral distances; None likewise.
        latent: Linearisation losses.
        commitment: Commitment of the batch, summed over levels.
        commitment_pairs: Commitment of the summed latents, summed over levels.
        metrics: Quantiser metrics of the batch.
    """

    total: Tensor
    reconstruction: tuple[ReconstructionTerms, ...]
    spectral: tuple[Tensor, ...] | None
    multispectral: tuple[Tensor, ...] | None
    latent: tuple[Tensor, ...]
    commitment: Tensor
    commitment_pairs: Tensor
    metrics: tuple[QuantizerMetrics, ...]


@dataclass(frozen=True, kw_only=True)
class LinearisationTerms:
    """The latent side of one level: quantised batch and the losses on it."""

    standard: QuantizerResult
    commitment: Tensor
    commitment_pairs: Tensor
    latent: Tensor


def reconstruction_terms(
    target: Float[Tensor, "batch samples"],
    estimate: Float[Tensor, "batch samples"],
    bandwidth: Bandwidth,
    weights: LossWeights,
) -> ReconstructionTerms:
    """Sample errors and their weighted sum.

    Args:
        target: The wave to reconstruct.
        estimate: The decoded wave.
        bandwidth: Divides the errors.
        weights: Uses ``l1``, ``l2``, ``linf`` and ``linf_k``.
    """
    difference = estimate - target
    squared = difference.square()
    l1 = difference.abs().mean() / bandwidth.l1
    l2 = squared.mean() / bandwidth.l2
    total = weights.l2 * l2
    if weights.l1:
        total = total + weights.l1 * l1
    linf = None
    if weights.linf:
        count = min(weights.linf_k, squared.shape[1])
        linf = squared.topk(count, dim=1, sorted=False).values.mean() / bandwidth.l2
        total = total + weights.linf * linf
    return ReconstructionTerms(l1=l1, l2=l2, linf=linf, total=total)


def decoding_loss(
    target: Float[Tensor, "batch samples"],
    estimate: Float[Tensor, "batch samples"],
    bandwidth: Bandwidth,
    weights: LossWeights,
) -> Tensor:
    """What the decoded waves of one level add to the total of `lqvae_loss`: sample and spectral
    errors, weighted; a scalar.

    Args:
        target: The wave to reconstruct.
        estimate: The decoded wave.
        bandwidth: Divides the errors.
        weights: Uses all but ``commitment`` and ``latent``.
    """
    total = reconstruction_terms(target, estimate, bandwidth, weights).total
    spectral = _spectral_terms(target, [estimate], bandwidth, weights)
    multispectral = _multispectral_terms(target, [estimate], bandwidth, weights)
    if spectral is not None:
        total = total + weights.spectral * spectral[0]
    if multispectral is not None:
        total = total + weights.multispectral * multispectral[0]
    return total


def linearisation_terms(
    quantizer: Quantizer,
    batch_latents: Float[Tensor, "batch embedding_dim frames"],
    sum_latents: Float[Tensor, "pairs embedding_dim frames"],
    gains: PairGains = (0.5, 0.5),
    *,
    replacements: Sequence[Replacement | None] = (None, None, None),
    generator: torch.Generator | None = None,
) -> LinearisationTerms:
    """Commitment and linearisation losses of one level.

    Args:
        quantizer: Quantises three times; in training mode its codebook moves at each.
        batch_latents: Encoded batch; item ``i`` and item ``i + pairs`` form a pair.
        sum_latents: Encoded weighted sums of the paired waves.
        gains: Weights of the first and the second of a pair.
        replacements: Draw of the entries for codes to revive, for each of the three calls.
        generator: Randomness of the default draw.
    """
    standard = quantizer(batch_latents, replacement=replacements[0], generator=generator)
    first, second = standard.quantized.chunk(2)
    of_latents = quantizer(
        gains[0] * first + gains[1] * second,
        replacement=replacements[1],
        generator=generator,
        with_metrics=False,
    )
    of_waves = quantizer(
        sum_latents,
        replacement=replacements[2],
        generator=generator,
        with_commitment=False,
        with_metrics=False,
    )
    return LinearisationTerms(
        standard=standard,
        commitment=standard.commitment,
        commitment_pairs=of_latents.commitment,
        latent=(of_latents.quantized - of_waves.quantized).square().mean(),
    )


def lqvae_loss(
    model: LQVAE,
    batch: Float[Tensor, "batch channels samples"],
    bandwidth: Bandwidth,
    weights: LossWeights | None = None,
    *,
    gains: PairGains = (0.5, 0.5),
    replacement: PairReplacement | None = None,
    generator: torch.Generator | None = None,
) -> LossTerms:
    """The training loss of an LQ-VAE on a batch of paired waves.

    Args:
        model: In training mode its codebooks move.
        batch: Mono waves; the first half is paired with the second half, in order.
        bandwidth: Scale of the training audio.
        weights: Weights of the terms; the reference's by default.
        gains: Weights of the first and the second of a pair in their sum.
        replacement: Draws the entries for codes to revive; random inputs by default.
        generator: Randomness of the default draw.

    Raises:
        ShapeError: The batch is odd or not mono, or its samples are no whole number of frames.
    """
    weights = LossWeights() if weights is None else weights
    _check_batch(model, batch)
    half = len(batch) // 2
    sums = gains[0] * batch[:half] + gains[1] * batch[half:]
    waves = torch.cat([batch, sums])  # one pass of each encoder for both
    sides: list[LinearisationTerms] = []
    estimates: list[Tensor] = []
    for level in range(model.levels):
        latents = model.encode_latents(waves, level)
        side = linearisation_terms(
            model.quantizer(level),
            latents[: len(batch)],
            latents[len(batch) :],
            gains,
            replacements=_at_level(replacement, level),
            generator=generator,
        )
        sides.append(side)
        estimates.append(model.decode_latents(side.standard.quantized, level)[:, 0])

    target = batch[:, 0]
    reconstruction = tuple(
        reconstruction_terms(target, estimate, bandwidth, weights) for estimate in estimates
    )
    commitment = torch.stack([side.commitment for side in sides]).sum()
    commitment_pairs = torch.stack([side.commitment_pairs for side in sides]).sum()
    latent = tuple(side.latent for side in sides)
    total = torch.stack([terms.total for terms in reconstruction]).sum()
    total = total + weights.commitment * (commitment + commitment_pairs)
    total = total + weights.latent * torch.stack(latent).sum()
    spectral = _spectral_terms(target, estimates, bandwidth, weights)
    multispectral = _multispectral_terms(target, estimates, bandwidth, weights)
    if spectral is not None:
        total = total + weights.spectral * torch.stack(spectral).sum()
    if multispectral is not None:
        total = total + weights.multispectral * torch.stack(multispectral).sum()
    metrics = [side.standard.metrics for side in sides]
    return LossTerms(
        total=total,
        reconstruction=reconstruction,
        spectral=spectral,
        multispectral=multispectral,
        latent=latent,
        commitment=commitment,
        commitment_pairs=commitment_pairs,
        metrics=tuple(metric for metric in metrics if metric is not None),
    )


def measure_bandwidth(items: Iterable[Float[Tensor, "channels samples"]]) -> Bandwidth:
    """Scale of a data set.

    Args:
        items: Waves. Channels are averaged for the spectrum only.

    Raises:
        AudioError: There is no item, or nothing but silence.
    """
    total = total_absolute = total_squared = spectral = 0.0
    values = count = 0
    for item in items:
        wave = item.double()
        total += float(wave.sum())
        total_absolute += float(wave.abs().sum())
        total_squared += float(wave.square().sum())
        spectrum = stft_magnitude(wave.mean(dim=0, keepdim=True))
        spectral += float(torch.linalg.vector_norm(spectrum))
        values += wave.numel()
        count += 1
    if values == 0:
        raise AudioError("bandwidth: there is no audio to measure.")
    mean = total / values
    return Bandwidth(
        l1=total_absolute / values, l2=total_squared / values - mean**2, spectral=spectral / count
    )


def _check_batch(model: LQVAE, batch: Tensor) -> None:
    if batch.ndim != 3 or batch.shape[1] != 1:
        raise ShapeError(
            f"lq-vae loss: expected mono waves (batch, 1, samples), got {tuple(batch.shape)}."
        )
    if len(batch) == 0 or len(batch) % 2:
        raise ShapeError(
            "lq-vae loss: the linearisation loss pairs the two halves of a batch, so the batch "
            f"must be even, got {len(batch)} items. Drop the incomplete last batch."
        )
    hop = max(model.hop_lengths)
    if batch.shape[2] == 0 or batch.shape[2] % hop:
        raise ShapeError(
            f"lq-vae loss: the samples of a training clip must be a multiple of {hop}, got "
            f"{batch.shape[2]}."
        )


def _at_level(replacement: PairReplacement | None, level: int) -> list[Replacement | None]:
    """The draws of the three calls at one level."""
    if replacement is None:
        return [None, None, None]

    def at_call(call: int) -> Replacement:
        return lambda vectors: replacement(call, level, vectors)

    return [at_call(call) for call in range(3)]


def _spectral_terms(
    target: Tensor, estimates: Sequence[Tensor], bandwidth: Bandwidth, weights: LossWeights
) -> tuple[Tensor, ...] | None:
    if not weights.spectral:
        return None
    target_spectrum = stft_magnitude(target)
    return tuple(
        magnitude_distance(target_spectrum, stft_magnitude(estimate)).mean() / bandwidth.spectral
        for estimate in estimates
    )


def _multispectral_terms(
    target: Tensor, estimates: Sequence[Tensor], bandwidth: Bandwidth, weights: LossWeights
) -> tuple[Tensor, ...] | None:
    if not weights.multispectral:
        return None
    target_spectra = multi_magnitudes(target)  # computed once for all levels
    return tuple(
        multi_magnitude_distance(target_spectra, multi_magnitudes(estimate)).mean()
        / bandwidth.spectral
        for estimate in estimates
    )
