"""Progress of work whose amount is not known beforehand, told in frames."""

from __future__ import annotations

from lqsep.core.interfaces.sampler import OnFrame


class Progress:
    """Tells a share of the work as frames; never goes back, even when a batch is repeated.

    Args:
        on_frame: Called with frames done and in all whenever their number grows; None for nobody.
        n_frames: In all.
    """

    def __init__(self, on_frame: OnFrame | None, n_frames: int) -> None:
        self._on_frame = on_frame
        self._n_frames = n_frames
        self._done = 0

    def __call__(self, share: float) -> None:
        """``share`` of the work, 0 to 1, is done."""
        done = int(min(share, 1.0) * self._n_frames + 1e-9)
        if self._on_frame is not None and done > self._done:
            self._done = done
            self._on_frame(done, self._n_frames)
