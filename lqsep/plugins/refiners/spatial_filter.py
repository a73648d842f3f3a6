"""What the channels of a mixture tell of two sources, beside what their masks do.

Most of a bass stands in the middle, drums stand left and right of it. Masks that all channels share
cannot use this: where both sources sound at once, each gets a share of everything. A filter that
mixes the channels can turn towards one source and away from the other.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex, Complex128, Float, Float64
from torch import Tensor

# A frame says where a source is by this power of its mask: only those in which it is nearly alone.
_CERTAINTY = 8.0

# As if so many frames had said that a source is where the whole mixture is: of one that is hardly
# ever there, nothing is known.
_SHARED_FRAMES = 0.3

# Power from anywhere that every source is taken to have, relative to its own (-27 dB): no direction
# is cut out altogether.
_DIFFUSE = 0.002

# Levels are those of the channels' mean, with this share of the channels' own where it is silent.
_OWN_LEVEL = 0.05

# Bins filtered at a time: each stands for itself, and the work takes several times their memory.
_BLOCK = 256

# Entries of the bins' matrices at a time, 2 MB of each kind: many channels make fewer bins.
_BLOCK_ENTRIES = 1 << 17

# With more channels (of ambisonics of order 7) the matrices would take most of the time.
_MOST_CHANNELS = 64


def first_of_two(
    spectrum: Complex[Tensor, "channels bins frames"], masks: Float[Tensor, "2 bins frames"]
) -> Complex[Tensor, "channels bins frames"]:
    """Spectrum of the first source in all channels; what is left of the mixture is the second's.

    Where both come from the same direction, or there is one channel only, it is the mask times the
    mixture; likewise with more than 64 channels.

    Args:
        spectrum: Of the mixture.
        masks: Shares of the power that the mean of the channels has, per source; they sum to one.

    Returns:
        Of the spectrum's type.

    Reference: Duong, Vincent and Gribonval 2010, "Under-determined reverberant audio source
    separation using a full-rank spatial covariance model", IEEE TASLP 18(7), equation 9 for the
    filter. The covariances come from the masks at once instead of by its EM algorithm.
    """
    masks = masks.to(spectrum.real.dtype)
    if len(spectrum) > _MOST_CHANNELS:
        return masks[0] * spectrum
    result = torch.empty_like(spectrum)
    block = max(1, min(_BLOCK, _BLOCK_ENTRIES // len(spectrum) ** 2))
    for start in range(0, spectrum.shape[1], block):
        bins = slice(start, start + block)
        filtered = _filtered(spectrum[:, bins].transpose(0, 1), masks[:, bins])
        result[:, bins] = filtered.transpose(0, 1)
    return result


def _filtered(
    spectrum: Complex[Tensor, "bins channels frames"], masks: Float[Tensor, "2 bins frames"]
) -> Complex[Tensor, "bins channels frames"]:
    parts = torch.cat([spectrum.real, spectrum.imag], 1)
    # The level does not matter; it must not underflow.
    parts /= parts.abs().amax((1, 2), keepdim=True).clamp_(min=torch.finfo(parts.dtype).tiny)
    covariances = [_covariance(parts, mask) for mask in masks]
    from_directions, to_directions, ratio = _directions(*covariances)
    parts = to_directions.to(spectrum.dtype) @ spectrum
    first = ratio.to(masks.dtype)[:, :, None] * masks[0, :, None]
    parts *= first / (first + masks[1, :, None])
    return from_directions.to(spectrum.dtype) @ parts


def _covariance(
    parts: Float[Tensor, "bins parts frames"], mask: Float[Tensor, "bins frames"]
) -> Complex128[Tensor, "bins channels channels"]:
    """Of the channels, per bin, where the source is; the power of their mean is about one.

    Args:
        parts: Real parts of all channels, then their imaginary parts: a product of real numbers
            takes half the time of one of complex numbers.
        mask: Of the source.
    """
    tiny = torch.finfo(mask.dtype).tiny
    weight = mask**_CERTAINTY + _SHARED_FRAMES / mask.shape[1]
    products = ((parts * weight[:, None]) @ parts.mT).double()
    n_channels = parts.shape[1] // 2
    real, imaginary = slice(None, n_channels), slice(n_channels, None)
    covariance = torch.complex(
        products[:, real, real] + products[:, imaginary, imaginary],
        products[:, imaginary, real] - products[:, real, imaginary],
    )
    mean_power = covariance.sum((1, 2)).real / n_channels**2
    own_power = covariance.diagonal(dim1=1, dim2=2).real.mean(-1)
    level = (mean_power + _OWN_LEVEL * own_power).clamp(min=tiny)
    diffuse = _DIFFUSE * torch.eye(n_channels, dtype=covariance.dtype, device=covariance.device)
    return covariance / level[:, None, None] + diffuse


def _directions(
    first: Complex128[Tensor, "bins channels channels"],
    second: Complex128[Tensor, "bins channels channels"],
) -> tuple[
    Complex128[Tensor, "bins channels channels"],
    Complex128[Tensor, "bins channels channels"],
    Float64[Tensor, "bins channels"],
]:
    """Mixes of the channels in which neither source has anything in common with the other mixes.

    There the filter is a mask per mix: with ``A`` the first result and ``d`` the last,
    ``first = A diag(d) A^H`` and ``second = A A^H``, so that
    ``v first (v first + w second)^-1 = A diag(v d / (v d + w)) A^-1`` for any powers v and w.

    Returns:
        ``A``, its inverse, and the power of the first source over the second's in each mix.
    """
    root = torch.linalg.cholesky(second)
    inverse = torch.linalg.inv(root)
    whitened = inverse @ first @ inverse.mH
    ratio, rotation = torch.linalg.eigh((whitened + whitened.mH) / 2)
    # Rounding must not make a power negative.
    return root @ rotation, rotation.mH @ inverse, ratio.clamp(min=torch.finfo(ratio.dtype).eps)
