"""Where stems are written, and as what: the file-name template and the format."""

from __future__ import annotations

import os
import string
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath
from typing import Any, Literal

from lqsep.core.errors import ConfigError, did_you_mean

DEFAULT_TEMPLATE = "{track}/{stem}.{ext}"
REPORT_FILE = "lqsep.json"
RESIDUAL = "residual"
MIXTURE = "mixture"
CANDIDATE_TABLE = "candidates.npz"
PLOTS = ("spectrograms.png", "disagreement.png", "step.png", "pairs.png")
_FIELDS = ("track", "stem", "ext")


@dataclass(frozen=True)
class OutputSettings:
    """How the results of a run are written.

    Args:
        root: ``<out>/<model>``.
        stems: Sources that are written.
        residual: Whether the mixture minus the sum of all stems is written too.
        complement: Whether the mixture minus the sum of ``stems`` is written too, as
            `complement_name`.
        mixture: Whether the mixture is written too.
        n_candidates: How many candidates are written as stems; with any, the table of all too.
        plots: Whether pictures are drawn.
        template: File name below ``root``, checked by `check_template`.
        format: ``wav``, ``flac``, ``ogg`` or ``mp3``.
        subtype: ``PCM_16``, ``PCM_24`` or ``FLOAT``.
        clip_mode: ``none``, ``clamp`` or ``rescale`` (all files of a track by one factor).
    """

    root: Path
    stems: tuple[str, ...]
    residual: bool = False
    complement: bool = False
    template: str = DEFAULT_TEMPLATE
    format: str = "wav"
    subtype: str = "PCM_16"
    clip_mode: Literal["none", "clamp", "rescale"] = "none"
    mixture: bool = False
    n_candidates: int = 0
    plots: bool = False

    @property
    def complement_name(self) -> str:
        """What everything else is called: ``no_drums`` beside ``drums``."""
        return "no_" + "_".join(self.stems)

    def paths(self, track: str) -> dict[str, Path]:
        """The file of each stem of a track, and of what else is written of the mixture."""
        extras = (
            (self.complement_name, self.complement),
            (RESIDUAL, self.residual),
            (MIXTURE, self.mixture),
        )
        names = (*self.stems, *(name for name, is_written in extras if is_written))
        return {
            name: self.root / self.template.format(track=track, stem=name, ext=self.format)
            for name in names
        }

    def candidate_name(self, k: int, stem: str) -> str:
        """A candidate's stem as reports name it; ``k`` counts from 1."""
        return f"candidates/{k}/{stem}.{self.format}"

    def candidate_paths(self, track: str) -> dict[str, Path]:
        """The candidates' stems, below the folder of the report."""
        names = [
            self.candidate_name(k, stem)
            for k in range(1, self.n_candidates + 1)
            for stem in self.stems
        ]
        return {name: self.root / track / name for name in names}

    def further_paths(self, track: str) -> dict[str, Path]:
        """The table of candidates and the pictures, beside the report."""
        names = ((CANDIDATE_TABLE,) if self.n_candidates else ()) + (PLOTS if self.plots else ())
        return {name: self.root / track / name for name in names}

    def all_paths(self, track: str) -> dict[str, Path]:
        """Every file of a track, but for the report."""
        return {
            **self.paths(track),
            **self.candidate_paths(track),
            **self.further_paths(track),
        }

    def report_path(self, track: str) -> Path:
        """The track's ``lqsep.json``."""
        return self.root / track / REPORT_FILE

    def is_complete(self, track: str) -> bool:
        """Whether a track's report and every file of it are there."""
        files = (self.report_path(track), *self.all_paths(track).values())
        return all(os.path.isfile(file) for file in files)

    def deciding(self) -> dict[str, Any]:
        """What of all this decides the content of the files, plain values."""
        values = asdict(self)
        del values["root"]
        return {**values, "stems": list(self.stems)}


def check_template(template: str) -> None:
    """Refuse a file-name template that cannot work, before anything is computed.

    Raises:
        ConfigError: Unknown or malformed fields; no ``{stem}``; a path that leads out of the
            output folder; another ending than ``.{ext}``.
    """
    wrong = f"cannot use the file name template {template!r}: "
    known = ", ".join(f"{{{name}}}" for name in _FIELDS)
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ConfigError(f"{wrong}{error}; expected {known} and plain text") from error
    fields = [part[1:] for part in parts if part[1] is not None]
    for name, spec, conversion in fields:
        if name not in _FIELDS:
            hint = did_you_mean(str(name), _FIELDS) or ";"
            raise ConfigError(f"{wrong}unknown field {{{name}}}{hint} known: {known}")
        if spec or conversion:
            raise ConfigError(f"{wrong}{{{name}}} takes no format or conversion")
    if "stem" not in [name for name, *_ in fields]:
        raise ConfigError(f"{wrong}without {{stem}} all stems would be one file")
    path = PurePath(template.format(track="t", stem="s", ext="e"))
    if path.is_absolute() or ".." in path.parts:
        raise ConfigError(f"{wrong}it must stay below the output folder")
    if path.suffix != ".e" or template.endswith(("/", "\\")):
        raise ConfigError(f"{wrong}it must end in .{{ext}}")


def check_distinct(settings: OutputSettings, tracks: Iterable[str], inputs: Iterable[Path]) -> None:
    """Refuse names by which two results, or a result and an input, would be one file.

    Args:
        settings: Names the results.
        tracks: Names of the tracks.
        inputs: Files that are read.

    Raises:
        ConfigError: Two stems, stems of two tracks, or a stem and an input share a path; a file
            would lie below another; or a source bears the name of something else that is written.
    """
    tracks = tuple(tracks)
    for name in (RESIDUAL, MIXTURE):
        if name in settings.stems and getattr(settings, name):
            raise ConfigError(
                f"the file of the {name} and that of the source of this name would be one; leave "
                "the source out with --stems"
            )
    kept = {path.resolve() for path in inputs}
    owners: dict[str, str] = {}
    for track in tracks:
        for stem, path in settings.all_paths(track).items():
            other = owners.setdefault(str(path).casefold(), f"{track}/{stem}")
            if other != f"{track}/{stem}":
                raise ConfigError(
                    f"by the file name template {settings.template!r}, {other} and "
                    f"{track}/{stem} would both be {path}; use {{track}} in it"
                )
            if path.resolve() in kept:
                raise ConfigError(
                    f"{path} is an input and would be replaced by the stem {stem}; choose another "
                    "output folder with --out"
                )
    files = [path for track in tracks for path in settings.all_paths(track).values()]
    files += [settings.report_path(track) for track in tracks]
    names = {str(path).casefold() for path in files}
    for path in files:
        for folder in path.relative_to(settings.root).parents:
            if str(settings.root / folder).casefold() in names:
                raise ConfigError(
                    f"by the file name template {settings.template!r}, {settings.root / folder} "
                    "would be a file and a folder; use other names in it"
                )


def check_format(format: str, subtype: str) -> None:
    """Refuse a sample format that the file format does not have.

    Raises:
        ConfigError: Such as float samples in a flac file.
    """
    known = {"wav": ("PCM_16", "PCM_24", "FLOAT"), "flac": ("PCM_16", "PCM_24")}
    if subtype not in known.get(format, ("PCM_16",)):
        flag = "--float32" if subtype == "FLOAT" else "--int24"
        raise ConfigError(f"{flag} does not go with --format {format}; use --format wav")
