"""What nobody foresaw, as the result of the one task that it struck."""

from __future__ import annotations

import logging
import traceback

from lqsep.core.errors import OUT_OF_MEMORY, is_out_of_memory
from lqsep.core.interfaces.calls import told

logger = logging.getLogger(__name__)


def unexpected(doing: str, error: BaseException) -> str:
    """The error of a task in words; its traceback is logged, for it is a fault of the program.

    Too little memory is none, and needs what the traceback would keep alive.

    Args:
        doing: What the task was, such as ``separating a.wav``.
        error: Anything but `KeyboardInterrupt`.
    """
    if is_out_of_memory(error):
        logger.debug("%s", error)
        traceback.clear_frames(error.__traceback__)
        return f"{doing}: {OUT_OF_MEMORY}"
    logger.error("%s failed unexpectedly", doing, exc_info=error)
    return told(error)
