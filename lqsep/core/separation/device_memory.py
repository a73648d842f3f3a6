"""What a device that is too small for an input is told as: one line, with everything let go."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lqsep.core.errors import DeviceMemoryError, is_out_of_memory
from lqsep.core.separation.clock import StageClock

logger = logging.getLogger(__name__)


@contextmanager
def enough_memory(device: torch.device, clock: StageClock, length_s: float) -> Iterator[None]:
    """Says which stage of what did not fit; what the stage had made is freed.

    Args:
        device: Where the work is done.
        clock: Knows the stage.
        length_s: Seconds of audio that are worked on.

    Raises:
        DeviceMemoryError: The device ran out of memory; a shorter input may fit.
    """
    try:
        yield
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        logger.debug("%s", error)
        # The traceback keeps the failed stage's tensors alive, and the next input may fit.
        traceback.clear_frames(error.__traceback__)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        cures = ["fewer candidates (--candidates)", "shorter segments (--segment)"]
        if device.type != "cpu":
            cures.append("--device cpu")
        raise DeviceMemoryError(
            f"out of memory on {device} in the stage '{clock.stage}' of a segment of "
            f"{length_s:.1f} s; use {' or '.join([', '.join(cures[:-1]), cures[-1]])}"
        ) from None
