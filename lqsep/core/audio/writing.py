"""Write an audio file block by block: whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import soundfile
from jaxtyping import Float
from torch import Tensor

from lqsep.core.audio.channel_order import order_for_file
from lqsep.core.audio.checks import BLOCK, check_finite, name_for_soundfile, reason, system_errno
from lqsep.core.audio.reading import AudioReader
from lqsep.core.audio.writable import container_of, overflows, resolve_format
from lqsep.core.errors import AudioError, ShapeError
from lqsep.core.files.staging import PREFIX, Staging

ClipMode = Literal["none", "clamp", "rescale"]
CLIP_MODES: tuple[ClipMode, ...] = ("none", "clamp", "rescale")

_DISK_ERRORS = {errno.EFBIG, errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}


class AudioWriter:
    """Write one file block by block; it appears under its name when all went well.

    A context manager: leaving it renames the file to its name, an exception discards it.

    Args:
        path: The file; its folder must exist. An older file of that name is replaced.
        sample_rate: Hz.
        channels: Rows of every block.
        format: ``wav``, ``flac``, ``ogg`` or ``mp3``; None takes the path's ending.
        subtype: ``PCM_16``, ``PCM_24`` or ``FLOAT``. Lossy formats know the default only, which
            stands for their own coding.
        clip_mode: What happens to values beyond full scale. ``none``: an integer file saturates,
            a float or lossy file keeps them; ``clamp``: limited to full scale; ``rescale``: the
            whole file is divided by its peak where that is above 1.
        n_samples: How long the file will be, where that is known. A wav file above 4 GiB is
            written as RF64 then; of unknown length, it is refused when it reaches them.

    Attributes:
        peak: Largest absolute value met so far.
        n_clipped: Values beyond full scale that were saturated or limited.
        scale: Factor applied on `commit`; 1 but for ``rescale``.

    Raises:
        AudioError: The format cannot hold this, or the folder is missing or not writable.
    """

    def __init__(
        self,
        path: str | Path,
        sample_rate: int,
        channels: int,
        *,
        format: str | None = None,
        subtype: str = "PCM_16",
        clip_mode: ClipMode = "none",
        n_samples: int | None = None,
    ) -> None:
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self.peak = 0.0
        self.n_clipped = 0
        self.n_samples = 0
        self.scale = 1.0
        self._format, self._subtype = resolve_format(
            self.path, format, subtype, channels, sample_rate
        )
        self._container = container_of(self._format, self._subtype, channels, n_samples)
        self._order = order_for_file(self._format, self._subtype, channels)
        if clip_mode not in CLIP_MODES:
            raise AudioError(
                f"cannot write {self.path}: clip mode must be one of {', '.join(CLIP_MODES)}, "
                f"got {clip_mode!r}."
            )
        self._clip_mode = clip_mode
        is_folder = os.path.isdir(self.path)
        if is_folder or not os.path.isdir(self.path.parent):
            wrong = "it is a folder" if is_folder else "its folder does not exist"
            raise AudioError(f"cannot write {self.path}: {wrong}.")
        try:
            self._staging = Staging(self.path.parent)
        except OSError as error:
            raise AudioError(f"cannot write {self.path}: {_refusal(error)}.") from error
        self._part = self._staging.folder / self.path.name
        self._draft: Path | None = None
        self._is_finished = False
        try:
            self._file = self._open(self._part, self._container, self._subtype)
            if clip_mode == "rescale":
                # The factor is known at the end only: the real file was opened to see that it can
                # be.
                self._file.close()
                self._draft = self._staging.folder / f"{PREFIX}draft.w64"
                self._file = self._open(self._draft, "W64", "FLOAT")
        except BaseException:  # an interruption, too, after which nobody else knows of the file
            self._staging.close()
            raise

    def write(self, wave: Float[np.ndarray, "channels samples"] | Tensor) -> None:
        """Append a block.

        Raises:
            ShapeError: The block does not have the writer's channels.
            AudioError: A value is NaN or infinite, the disk refuses, or the file becomes longer
                than its format can tell.
        """
        block = as_array(wave)
        if block.shape[0] != self.channels:
            raise ShapeError(
                f"writing {self.path}: expected (channels, samples) with {self.channels} channels, "
                f"got shape {block.shape}."
            )
        check_finite(block, self.n_samples, self.sample_rate, f"cannot write {self.path}")
        self._check_length(self.n_samples + block.shape[1])
        if block.shape[1]:
            self.peak = max(self.peak, float(np.abs(block).max()))
        self.n_samples += block.shape[1]
        self._append(block, plain=self._draft is not None)

    def finish(self, peak: float | None = None) -> None:
        """Write the rest and see that all is there; the file has no name yet.

        Args:
            peak: For ``rescale``: the peak to divide by, where several files share one factor;
                default this file's own.

        Raises:
            AudioError: Nothing was written, or the disk refuses; nothing is left.
        """
        if self._is_finished:
            return
        try:
            if self.n_samples == 0:
                raise AudioError(f"cannot write {self.path}: there are no samples to write.")
            self._file.close()
            if self._draft is not None:
                self._rescale(self._draft, max(self.peak if peak is None else peak, 1.0))
            self._check_whole()
        except (soundfile.SoundFileError, OSError) as error:
            self.discard()
            raise AudioError(f"cannot write {self.path}: {_refusal(error)}.") from error
        except BaseException:
            self.discard()
            raise
        self._is_finished = True

    def commit(self, peak: float | None = None) -> None:
        """Finish the file and give it its name.

        Args:
            peak: As for `finish`.

        Raises:
            AudioError: Nothing was written, or the disk refuses; the path is left as it was.
        """
        self.finish(peak)
        try:
            os.replace(self._part, self.path)
        except OSError as error:
            self.discard()
            raise AudioError(f"cannot write {self.path}: {_refusal(error)}.") from error
        self._staging.close()

    def discard(self) -> None:
        """Drop what was written; the path is left as it was, once it has its file, too."""
        self._file.close()
        self._staging.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self.discard()
        elif not self._file.closed:
            self.commit()

    def _check_whole(self) -> None:
        """See that what was written is in the file: libsndfile tells of no close that fails.

        Raises:
            AudioError: It is not, as on a full disk.
        """
        try:
            with soundfile.SoundFile(name_for_soundfile(self._part)) as file:
                found = file.frames
        except soundfile.SoundFileError as error:
            raise self._not_whole(f"it cannot be read again ({reason(error)})") from error
        # Lossy formats may pad their last block.
        if found < self.n_samples or (self._format in {"wav", "flac"} and found > self.n_samples):
            raise self._not_whole(f"{found} of {self.n_samples} samples are in it")

    def _not_whole(self, why: str) -> AudioError:
        return AudioError(
            f"cannot write {self.path}: the disk did not take it, {why}; it is full, or a limit is "
            "reached."
        )

    def _open(self, path: Path, container: str, subtype: str) -> Any:
        try:
            path.open("wb").close()  # libsndfile would only tell of a "system error"
        except OSError as error:
            raise AudioError(f"cannot write {self.path}: {_refusal(error)}.") from error
        try:
            return soundfile.SoundFile(
                name_for_soundfile(path),
                "w",
                self.sample_rate,
                self.channels,
                subtype,
                format=container,
            )
        except (soundfile.SoundFileError, OSError, ValueError) as error:
            path.unlink(missing_ok=True)
            raise AudioError(
                f"cannot write {self.path} as {self._format} ({self.channels} channels, "
                f"{self.sample_rate} Hz): {_refusal(error)}."
            ) from error

    def _append(self, block: npt.NDArray[np.float32], *, plain: bool) -> None:
        try:
            for start in range(0, block.shape[1], BLOCK):
                part = block[:, start : start + BLOCK].T
                self._file.write(np.ascontiguousarray(part if plain else self._encode(part)))
        except (soundfile.SoundFileError, OSError) as error:
            raise AudioError(f"cannot write {self.path}: {_refusal(error)}.") from error

    def _encode(self, values: npt.NDArray[np.float32]) -> npt.NDArray[Any]:
        """As the file takes them. libsndfile would round down; this rounds to the nearest."""
        if self._order is not None:
            values = values[:, self._order]
        over = int((np.abs(values) > 1).sum())
        bits = {"PCM_16": 16, "PCM_24": 24}.get(self._subtype)
        if bits is not None or self._clip_mode == "clamp":
            self.n_clipped += over
        if bits is None:
            return values.clip(-1, 1) if self._clip_mode == "clamp" else values
        full = 1 << (bits - 1)
        codes = np.rint(values.astype(np.float64) * full).clip(-full, full - 1)
        return codes.astype(np.int16) if bits == 16 else codes.astype(np.int32) << 8

    def _check_length(self, n_samples: int) -> None:
        if self._container == "WAV" and overflows(self._subtype, self.channels, n_samples):
            raise AudioError(
                f"cannot write {self.path}: longer than a wav file can be (4 GiB). Use flac, or "
                "say how long it will be (n_samples)."
            )

    def _rescale(self, draft: Path, peak: float) -> None:
        self.scale = 1 / peak
        self._file = self._open(self._part, self._container, self._subtype)
        with AudioReader(draft) as reader:
            for block in reader.blocks():
                self._append(block * np.float32(self.scale), plain=False)
        self._file.close()
        draft.unlink()


def _refusal(error: Exception) -> str:
    """Why a file cannot be written."""
    why = reason(error)
    if system_errno(error) in _DISK_ERRORS:
        return f"{why}: the disk is full, or a limit is reached"
    return why


def as_array(wave: npt.NDArray[Any] | Tensor) -> npt.NDArray[np.float32]:
    """A wave as a float32 array ``channels samples``; one axis is one channel."""
    values = wave.detach().cpu().numpy() if isinstance(wave, Tensor) else np.asarray(wave)
    if values.ndim == 1:
        values = values[None]
    if values.ndim != 2 or values.dtype.kind != "f":
        raise ShapeError(
            "writing audio: expected floats of shape (channels, samples), "
            f"got {values.dtype} of shape {values.shape}."
        )
    return values.astype(np.float32, copy=False)
