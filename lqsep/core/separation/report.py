"""What was run, with which versions, and how it went: the content of ``lqsep.json``."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from lqsep.core.files.new_file import write_text

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class InputReport:
    """The mixture: name, rate in Hz, channels, length in samples and in seconds."""

    name: str
    sample_rate: int
    channels: int
    n_samples: int
    duration_s: float


@dataclass(frozen=True)
class SegmentReport:
    """One segment.

    Args:
        start_s: Where it starts and stops in the mixture, in seconds.
        n_frames: Code frames.
        n_candidates: Candidates that the sampler gave.
        log_prior: Per source, mean over candidates weighted as selected; natural log.
        log_likelihood: Likewise, unnormalised.
        log_evidence: Likewise.
        scores: What the selector reports.
        sampler: What the sampler reports, such as ``effective_sample_size``; of the whole input
            where it was sampled at once.
        disagreement: Per source, for every second of the segment, how far the candidates differ;
            see `lqsep.core.signal.disagreement`.
        timings_s: Seconds by stage.
    """

    start_s: float
    stop_s: float
    n_frames: int
    n_candidates: int
    log_prior: Mapping[str, float]
    log_likelihood: float
    log_evidence: float
    scores: Mapping[str, float]
    timings_s: Mapping[str, float]
    sampler: Mapping[str, float] = field(default_factory=dict)
    disagreement: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class SeparationReport:
    """Everything needed to know what made the stems; ``to_dict`` is the documented schema."""

    model: str
    sources: Sequence[str]
    codec_fingerprint: str
    config: Mapping[str, Any]
    device: str
    seed: int
    input: InputReport
    segments: Sequence[SegmentReport]
    elapsed_s: float
    warnings: Sequence[str] = ()
    versions: Mapping[str, str] = field(default_factory=lambda: versions())

    @property
    def seconds_per_second(self) -> float:
        """Seconds of computation per second of audio."""
        return self.elapsed_s / self.input.duration_s

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON; numbers that are not finite become None."""
        data = {"schema_version": SCHEMA_VERSION, **asdict(self)}
        data["seconds_per_second"] = self.seconds_per_second
        cleaned = _finite(data)
        assert isinstance(cleaned, dict)
        return cleaned

    def write(self, path: str | Path, extra: Mapping[str, Any] | None = None) -> None:
        """Write as JSON, whole or not at all.

        Args:
            path: The file.
            extra: Further top-level entries.

        Raises:
            AudioError: The file cannot be written.
        """
        content = {**self.to_dict(), **_finite(dict(extra or {}))}
        write_text(path, json.dumps(content, indent=2) + "\n")


def versions() -> dict[str, str]:
    """Versions of lqsep, Python and the libraries that decide the numbers."""
    found = {"python": platform.python_version()}
    for name in ("lqsep", "torch", "torchaudio", "numpy", "soundfile"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
