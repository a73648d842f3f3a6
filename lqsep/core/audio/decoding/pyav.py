"""Decoding by FFmpeg's libraries, through PyAV: what libsndfile does not read (m4a, wma, films)."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from lqsep.core.audio.checks import reason
from lqsep.core.audio.decoding.streams import DecodingError, NotDecodedError

# The containers that are read. Others (playlists, numbered pictures, scripts) lead to further
# files, on this machine or elsewhere.
CONTAINERS = (
    "aac", "ac3", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "dsf", "dts",
    "dtshd", "eac3", "flac", "flv", "iff", "matroska", "mov", "mp3", "mpc", "mpc8", "mpeg",
    "mpegts", "oga", "ogg", "oma", "rm", "shn", "sox", "tak", "tta", "truehd", "voc", "w64", "wav",
    "wv",
)  # fmt: skip

# Where a container's length is no estimate.
_TRUE_LENGTHS = ("mov", "matroska", "asf", "wv", "tta", "ape")

# What may be missing at the end of a whole file.
_TOLERANCE_S = 0.2


def load_av() -> Any:
    """The package.

    Raises:
        ImportError: It is not installed, or its libraries do not load.
    """
    av = importlib.import_module("av")
    if not hasattr(av, "open"):  # a folder of this name is a package, too
        raise ImportError("the package 'av' is not PyAV")
    return av


class PyavStream:
    """The first audio stream of a file.

    Attributes:
        format: Name of the container; ``subtype`` that of the coding.

    Raises:
        ImportError: PyAV is not installed.
        NotDecodedError: FFmpeg does not know what is in it.
        DecodingError: It has no sound.
    """

    def __init__(self, path: Path) -> None:
        av = load_av()
        self._failures = (av.FFmpegError, OSError, ValueError)
        self._invalid = av.error.InvalidDataError
        self._file = path.open("rb")
        self._container: Any = None
        try:
            # Titles need not be text; FFmpeg is given no name, and so can look for no neighbours.
            self._container = av.open(
                self._file,
                options={"format_whitelist": ",".join(CONTAINERS)},
                metadata_errors="replace",
            )
            if not self._container.streams.audio:
                raise DecodingError("it has no audio stream")
            self._stream = self._container.streams.audio[0]
            if self._stream.codec_context is None:
                raise NotDecodedError("FFmpeg does not know its coding")
        except self._failures as error:
            self.close()
            raise NotDecodedError(f"FFmpeg: {reason(error)}") from error
        except BaseException:
            self.close()
            raise
        self.format = str(self._container.format.name).partition(",")[0]
        self.subtype = str(self._stream.codec_context.name)
        self._form: tuple[int, int] | None = None
        self._n_decoded = self._n_damaged = 0
        self._ends_damaged = False
        self._blocks = self._decode()
        self._kept: Float[np.ndarray, "samples channels"] | None = None

    @property
    def form(self) -> tuple[int, int]:
        """Sample rate and number of channels, as they are decoded: headers need not say."""
        if self._form is None:
            self._kept = next(self._blocks, None)
        if self._form is None:
            raise DecodingError("its audio stream is empty")
        return self._form

    def read(self, n_samples: int) -> Float[np.ndarray, "samples channels"]:
        _, channels = self.form
        found, missing = [np.zeros((0, channels), np.float32)], n_samples
        while missing:
            block = self._kept if self._kept is not None else next(self._blocks, None)
            if block is None:
                break
            found.append(block[:missing])
            self._kept = block[missing:] if len(block) > missing else None
            missing -= len(found[-1])
        return np.concatenate(found)

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()

    def warnings(self) -> tuple[str, ...]:
        """What is known when all has been read.

        Raises:
            DecodingError: The file is cut short.
        """
        notes = []
        if len(self._container.streams.audio) > 1:
            notes.append(f"it has {len(self._container.streams.audio)} audio streams; the first is")
            notes[-1] += " read"
        rate, _ = self.form
        promised_s, found_s = self._promised_s(), self._n_decoded / rate
        if promised_s > found_s + _TOLERANCE_S:
            text = f"it promises {promised_s:.2f} s of sound, and {found_s:.2f} s are there"
            if self._ends_damaged:
                raise DecodingError(f"the file is cut short: {text}")
            notes.append(f"{text}; is it cut short?")
        elif self._n_damaged:
            notes.append(f"damaged pieces of it were left out ({self._n_damaged})")
        return tuple(notes)

    def _promised_s(self) -> float:
        """Length by the headers; 0 where they do not tell, or only about."""
        container, stream = self._container, self._stream
        if self.format not in _TRUE_LENGTHS:
            return 0.0
        if stream.duration:
            return float(stream.duration * stream.time_base)
        alone = len(container.streams) == 1
        return container.duration / 1e6 if alone and container.duration else 0.0

    def _decode(self) -> Iterator[Float[np.ndarray, "samples channels"]]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
                frames = [] if packet is None else packet.decode()
                # The last packet is empty: what decoders held back.
                self._ends_damaged &= packet is None or not packet.size
            except self._invalid:  # players leave such pieces out
                self._n_damaged += 1
                self._ends_damaged = True
                continue
            except self._failures as error:
                raise DecodingError(reason(error)) from error
            if packet is None:
                return
            for frame in frames:
                yield self._samples(frame)

    def _samples(self, frame: Any) -> Float[np.ndarray, "samples channels"]:
        channels = len(frame.layout.channels)
        form = (int(frame.sample_rate), channels)
        if self._form not in (None, form):
            raise DecodingError(
                f"its sample rate or number of channels changes at "
                f"{self._n_decoded / form[0]:.2f} s; convert it to one form first"
            )
        self._form = form
        self._n_decoded += frame.samples
        values = frame.to_ndarray()  # planar: one row per channel; else one row of all
        block = values.T if frame.format.is_planar else values.reshape(-1, channels)
        if values.dtype.kind == "f":
            return np.asarray(block, np.float32)
        zero = 128 if values.dtype == np.uint8 else 0
        full = 1 << (8 * values.dtype.itemsize - 1)
        return np.asarray((block.astype(np.float64) - zero) / full, np.float32)
