"""The noise of a mixture's latent around the weighted sum of its sources' code vectors."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from lqsep.core.corpus.audio_pool import STRICT, AudioPool, Reading, stem_level
from lqsep.core.errors import CheckpointError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.store.weights import load_weights, save_weights

CovarianceKind = Literal["full", "diagonal"]

# Least variance of a dimension, as a share of their mean: no frame decides by one dimension alone.
_LEAST_VARIANCE = 1e-3


@dataclass(frozen=True)
class Calibration:
    """Mean and covariance of ``m - gain_0 e_i - gain_1 e_j``.

    Args:
        mean: In the codec's latent units.
        covariance: Positive definite; ``embedding_dim`` values of a diagonal one.
        gains: Of the mixtures it was measured on.
        codec_fingerprint: Of the codec it was measured on.
        n_frames: Frames measured.
    """

    mean: Float64[Tensor, " embedding_dim"]
    covariance: Float64[Tensor, "*rows embedding_dim"]
    gains: tuple[float, ...]
    codec_fingerprint: str
    n_frames: int

    def whitening(self) -> Float64[Tensor, "embedding_dim embedding_dim"]:
        """W with ``W^T W`` the inverse of the covariance."""
        if self.covariance.ndim == 1:
            return self.covariance.rsqrt().diag()
        lower = torch.linalg.cholesky(self.covariance)
        eye = torch.eye(len(lower), dtype=lower.dtype)
        whitening: Tensor = torch.linalg.solve_triangular(lower, eye, upper=False)
        return whitening


def shrunk_covariance(
    noise: Float[Tensor, "frames embedding_dim"], kind: CovarianceKind
) -> tuple[Float64[Tensor, " embedding_dim"], Float64[Tensor, "*rows embedding_dim"]]:
    """Mean and covariance of some noise.

    A full covariance is shrunk towards its diagonal, by the share that makes the expected squared
    error least. Variances are at least a thousandth of their mean.

    Reference: Schaefer and Strimmer 2005, "A Shrinkage Approach to Large-Scale Covariance Matrix
    Estimation", table 2, target D.
    """
    mean = noise.double().mean(0)
    centred = noise.double() - mean
    n_frames = len(centred)
    covariance = centred.T @ centred / n_frames
    variance = covariance.diagonal()
    # A codec whose sums are exact has no noise at all, and any small variance will do.
    variance = variance.clamp_min(max(_LEAST_VARIANCE * float(variance.mean()), 1e-12))
    if kind == "diagonal":
        return mean, variance
    squares = centred.square()
    error = (squares.T @ squares / n_frames - covariance.square()) / n_frames
    off = ~torch.eye(len(variance), dtype=torch.bool, device=noise.device)
    total = float(covariance[off].square().sum())
    share = min(1.0, float(error[off].sum()) / total) if total > 0 else 1.0
    return mean, ((1 - share) * covariance).masked_fill(~off, 0) + variance.diag()


@torch.no_grad()
def measure_noise(
    dataset: Dataset,
    sources: Sequence[str],
    codec: Codec,
    *,
    gains: Sequence[float],
    n_clips: int,
    clip_s: float,
    device: torch.device,
    generator: torch.Generator,
    reading: Reading = STRICT,
    on_clip: Callable[[int, int], None] | None = None,
) -> Float64[Tensor, "frames embedding_dim"]:
    """Errors of the weighted sum of code vectors on mixtures of random clips of the sources.

    Stems are brought to the level at which they stand in the codec's mixtures, and mixture and
    sources are scaled alike, as a separation does. The clips of a mixture are drawn independently:
    no recorded mixture is needed, and none is learnt from.

    Args:
        dataset: Recordings of the sources, best not those that the codec was trained on.
        sources: Their names.
        codec: On ``device``.
        gains: Linear factor of each source in the mixture.
        n_clips: Mixtures to make.
        clip_s: Their length.
        device: Where the codec runs.
        generator: Draws the clips.
        reading: Which tracks may be left out.
        on_clip: Progress callback ``(clips_done, clips_total)``.

    Raises:
        AudioError: There is no audio, or too much that cannot be read.
    """
    level = stem_level(codec.info.level, gains)
    pool = AudioPool(dataset, sources, codec.info.sample_rate, level=level, reading=reading)
    # No longer than the recordings: what is padded with zeros is not noise.
    longest = min(max(len(wave) for wave in waves) for waves in pool.waves)
    n_samples = max(1, min(round(clip_s * codec.info.sample_rate), longest))
    noise = []
    for clip in range(n_clips):
        stems = torch.stack([pool.clip(index, n_samples, generator) for index in range(len(gains))])
        stems = stems.to(device)
        weights = stems.new_tensor(gains)
        encoded = codec.analyse((weights @ stems)[None, None])
        total = torch.zeros_like(encoded.latents, dtype=torch.float64)
        for index, gain in enumerate(gains):
            codes = codec.encode(encoded.scale * stems[index, None, None], index)
            total += gain * codec.embed(codes, index)[0].double()
        noise.append((encoded.latents.double() - total).cpu())
        if on_clip is not None:
            on_clip(clip + 1, n_clips)
    return torch.cat(noise)


def save_calibration(path: str | Path, calibration: Calibration) -> str:
    """Write a calibration.

    Returns:
        sha256 of the file.

    Raises:
        CheckpointError: The file cannot be written.
    """
    tensors = {"mean": calibration.mean, "covariance": calibration.covariance}
    metadata = {
        "codec_fingerprint": calibration.codec_fingerprint,
        "gains": json.dumps(list(calibration.gains)),
        "n_frames": str(calibration.n_frames),
    }
    return save_weights(path, tensors, metadata)


def load_calibration(path: str | Path, *, sha256: str | None = None) -> Calibration:
    """Read a calibration onto the CPU.

    Raises:
        CheckpointError: Missing, damaged, not the file that ``sha256`` expects, or no calibration.
    """
    weights = load_weights(path, sha256=sha256)
    try:
        first, second = (float(gain) for gain in json.loads(weights.metadata["gains"]))
        n_frames = int(weights.metadata["n_frames"])
        fingerprint = weights.metadata["codec_fingerprint"]
        mean, covariance = weights.tensors["mean"], weights.tensors["covariance"]
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(_not_one(path, f"{error} is missing or wrong")) from error
    shapes = (mean.shape, mean.shape * 2)
    if mean.ndim != 1 or covariance.shape not in shapes:
        raise CheckpointError(_not_one(path, "mean and covariance do not fit each other"))
    if not (mean.is_floating_point() and covariance.is_floating_point()):
        raise CheckpointError(_not_one(path, "mean and covariance are integers"))
    mean, covariance = mean.double(), covariance.double()
    calibration = Calibration(mean, covariance, (first, second), fingerprint, n_frames)
    try:
        is_valid = bool(mean.isfinite().all() and calibration.whitening().isfinite().all())
    except RuntimeError:  # Cholesky's
        is_valid = False
    if not is_valid:
        raise CheckpointError(_not_one(path, "its covariance is not positive definite"))
    return calibration


def _not_one(path: str | Path, why: str) -> str:
    return f"{path} is not a calibration: {why}; make it again with `lqsep sums --calibrate`"
