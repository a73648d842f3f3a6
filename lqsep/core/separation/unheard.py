"""What lies below hearing: taken out of what is analysed, kept apart to be shared out at the end.

A constant offset, rumble, the sway of a warped record: nobody hears them, but their power counts
like any other. It would tell which codes fit, and go to one source whole.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from lqsep.core.audio.mixtures import MixtureReader
from lqsep.core.interfaces.data import Mixture
from lqsep.core.signal.low_pass import low_pass, reach


class HeardReader:
    """A recording without what lies below hearing.

    Args:
        reader: The recording.
        lowest_hz: Where hearing begins; 0: everything is heard.
    """

    def __init__(self, reader: MixtureReader, lowest_hz: float) -> None:
        self._reader = reader
        self._lowest_hz = lowest_hz
        self.name = reader.name
        self.sample_rate = reader.sample_rate
        self.channels = reader.channels
        self.n_samples = reader.n_samples

    def read(self, start: int, stop: int) -> npt.NDArray[np.float32]:
        """Samples ``start`` to ``stop``, as far as they are heard."""
        return self.split(start, stop)[0]

    def split(
        self, start: int, stop: int
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """Samples ``start`` to ``stop``: what is heard, and what is not, which sum to them.

        Returns:
            Float32, ``channels samples``; the second is None where everything is heard.
        """
        if self._lowest_hz <= 0:
            return self._reader.read(start, stop), None
        stop = min(stop, self.n_samples)
        margin = reach(self.sample_rate, self._lowest_hz)
        first = max(0, start - margin)
        wave = self._reader.read(first, min(self.n_samples, stop + margin))
        slow = low_pass(wave, self.sample_rate, self._lowest_hz, first, self.n_samples)
        place = slice(start - first, stop - first)
        return wave[:, place] - slow[:, place], slow[:, place]


def heard(mixture: Mixture, lowest_hz: float) -> Mixture:
    """A mixture, split; what it holds is taken for a whole recording.

    Args:
        mixture: As it is; one that has been split stays so.
        lowest_hz: Where hearing begins; 0: everything is heard.
    """
    if mixture.unheard is not None or lowest_hz <= 0:
        return mixture
    wave = mixture.wave
    samples = wave.cpu().numpy()
    slow = low_pass(samples, mixture.sample_rate, lowest_hz, 0, samples.shape[-1])
    unheard = torch.from_numpy(slow).to(wave)
    return replace(mixture, wave=wave - unheard, unheard=unheard)
