"""Decoding by the program ffmpeg, where PyAV is not installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from jaxtyping import Float

from lqsep.core.audio.decoding.pyav import CONTAINERS
from lqsep.core.audio.decoding.streams import DecodingError, NotDecodedError

# ffmpeg is asked for an au file: its header of 24 bytes and a comment tells rate and channels.
_HEADER = 24
_SAMPLE_BYTES = 4


def find_ffmpeg() -> str | None:
    """The program, if there is one."""
    return shutil.which("ffmpeg")


class FfmpegStream:
    """The first audio stream of a file, from a running ffmpeg.

    Raises:
        NotDecodedError: There is no sound in it that ffmpeg knows.
        DecodingError: There is no such program.
    """

    format = "ffmpeg"
    subtype = "FLOAT"

    def __init__(self, path: Path) -> None:
        program = find_ffmpeg()
        if program is None:
            raise DecodingError("the program ffmpeg is not installed")
        self._errors = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [
                program, "-nostdin", "-v", "error", "-format_whitelist", ",".join(CONTAINERS),
                "-protocol_whitelist", "file", "-i", b"file:" + os.fsencode(path.absolute()),
                "-map", "0:a:0", "-c:a", "pcm_f32be", "-f", "au", "-protocol_whitelist", "pipe",
                "pipe:1",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )  # fmt: skip
        self._output = cast(BinaryIO, self._process.stdout)
        try:
            header = self._output.read(_HEADER)
            if len(header) < _HEADER:
                raise NotDecodedError(f"ffmpeg: {self._failure() or 'no sound'}")
            numbers = [int.from_bytes(header[at : at + 4], "big") for at in range(4, _HEADER, 4)]
            self._output.read(numbers[0] - _HEADER)
            self.form = (numbers[3], numbers[4])
        except BaseException:
            self.close()
            raise

    def read(self, n_samples: int) -> Float[np.ndarray, "samples channels"]:
        _, channels = self.form
        content = self._output.read(n_samples * channels * _SAMPLE_BYTES)
        if len(content) < n_samples * channels * _SAMPLE_BYTES and self._process.wait():
            raise DecodingError(self._failure() or "ffmpeg stopped")
        whole = len(content) // (channels * _SAMPLE_BYTES) * channels
        return np.frombuffer(content, ">f4", whole).astype(np.float32).reshape(-1, channels)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._errors.close()

    def warnings(self) -> tuple[str, ...]:
        """What is known when all has been read."""
        failure = self._failure()
        return (f"ffmpeg says: {failure}",) if failure else ()

    def _failure(self) -> str:
        """The first line that it wrote, without the address that is in front."""
        self._errors.seek(0)
        lines = self._errors.read(1 << 12).decode("utf-8", "replace").strip().splitlines()
        return re.sub(r"^\[[^]]* @ 0x[0-9a-f]+\] ", "", lines[0]).rstrip(".") if lines else ""
