"""Windows over a prior's context, where a sequence is longer than the prior can see."""

from __future__ import annotations


def window_start(position: int, total: int, max_frames: int | None) -> int:
    """First position of the window in which a prior predicts ``position``.

    Windows of ``max_frames`` start at 0, hop, 2 hop, ... with ``hop = max_frames // 2``; the last
    one is moved back to end with the sequence. A position is predicted in the first window that
    holds it, with everything before it in that window as context.

    Args:
        position: To be predicted, counted from the start of the prompt.
        total: Length of prompt and frames together, ``> position``.
        max_frames: The prior's context; None has no limit.
    """
    if max_frames is None or position < max_frames:
        return 0
    hop = max(1, max_frames // 2)
    index = -(-(position - max_frames + 1) // hop)
    return min(index * hop, total - max_frames)
