"""Power spectra of the sources from their codes, and the codes' spectra fitted to the mixture.

What a code stands for was learnt from other recordings. A mixture in which it comes again and again
says how it sounds here: its spectrum is moved towards what the mixture leaves for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.interfaces.refiner import RefineContext

# A code that is there in two frames is believed half of what they say.
_PSEUDO_FRAMES = 2.0

# A frame has at most so much more or less power than was expected, 60 dB.
_MOST = 1e6


@dataclass(frozen=True)
class CodeSpectra:
    """The codes of one source that occur in a segment.

    Args:
        power: Of each code as it stands in the mixture, gain included.
        presence: Probability that the source has the code, by the selection's weights; each frame
            sums to one.
    """

    power: Float[Tensor, "codes bins"]
    presence: Float[Tensor, "frames codes"]

    def expected(self) -> Float[Tensor, "frames bins"]:
        """Mean power of the source, over what its code may be."""
        return self.presence @ self.power


def code_spectra(context: RefineContext) -> list[CodeSpectra] | None:
    """Per source; None where the codes stand for no power spectra."""
    result = []
    for source in range(len(context.gains)):
        weights = context.selection.weights[source]
        kept = weights > 0
        codes, place = torch.unique(context.candidates.codes[source, kept], return_inverse=True)
        power = context.bound.source_power(source, codes[None])
        if power is None:
            return None
        n_frames = place.shape[1]
        frames = torch.arange(n_frames, device=place.device).expand_as(place)
        presence = power.new_zeros(n_frames, len(codes))
        shares = weights[kept].to(power)[:, None].expand(place.shape)
        presence.index_put_((frames, place), shares, accumulate=True)
        result.append(CodeSpectra(power[0].T, presence))
    return result


def fitted(
    spectra: Sequence[CodeSpectra], observed: Float[Tensor, "frames bins"], rounds: int
) -> list[CodeSpectra]:
    """The same with spectra nearer to what the mixture leaves for them.

    A source with power ``p`` among ``t`` in all, where ``x`` is observed, has had the power
    ``(p/t)^2 x + p (1 - p/t)`` on average: that of its Wiener estimate plus what is uncertain of
    it. A round moves the log spectrum of each code by the mean of this power's log over ``p``, over
    the frames in which the code is there, with two frames more that ask for no change. In codes
    spectra are means of logs too.

    Args:
        spectra: Of every source.
        observed: The mixture's power.
        rounds: How often; 0 leaves the spectra as they are.

    Reference: Fevotte, Bertin and Durrieu 2009, "Nonnegative matrix factorization with the
    Itakura-Saito divergence", Neural Computation 21(3), for the posterior power of a component.
    """
    powers = [part.power for part in spectra]
    presences = [part.presence for part in spectra]
    for _ in range(rounds):
        expected = [p @ power for p, power in zip(presences, powers, strict=True)]
        total = torch.stack(expected).sum(0).clamp_(min=torch.finfo(observed.dtype).tiny)
        excess = (observed / total).clamp_(max=_MOST) - 1
        for source, presence in enumerate(presences):
            ratio = 1 + expected[source].div_(total).mul_(excess)
            change = presence.T @ ratio.clamp_(min=1 / _MOST).log_()
            change /= presence.sum(0)[:, None] + _PSEUDO_FRAMES
            powers[source] = powers[source] * change.exp_()
    return [CodeSpectra(*pair) for pair in zip(powers, presences, strict=True)]
