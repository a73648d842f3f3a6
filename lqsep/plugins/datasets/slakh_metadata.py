"""What a Slakh2100 track says of its stems, and where that cannot be right.

::

    TrackXXXXX/metadata.yaml     stems: {S00: {inst_class, is_drum, program_num, audio_rendered}}
    TrackXXXXX/stems/S00.flac

Some of the published metadata is wrong. Nothing in here raises for it: what is in doubt is left out
and becomes one of the track's problems.

Reference: Manilow et al. 2019, "Cutting music source separation some Slakh", WASPAA.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lqsep.core.errors import AudioError, LqsepError
from lqsep.plugins.datasets.layouts import audio_files

METADATA_FILE = "metadata.yaml"
STEMS_FOLDER = "stems"

DRUMS = "Drums"

# Slakh's classes are the families of General MIDI, eight programs each, in this order.
_FAMILIES = (
    "Piano",
    "Chromatic Percussion",
    "Organ",
    "Guitar",
    "Bass",
    "Strings",
    "Strings (continued)",
    "Brass",
    "Reed",
    "Pipe",
    "Synth Lead",
    "Synth Pad",
    "Synth Effects",
    "Ethnic",
    "Percussive",
    "Sound Effects",
)
CLASSES = (DRUMS, *_FAMILIES)

# Slakh gives drums the program after the last one.
_DRUMS_PROGRAM = 128

# Slakh's own files are below 20 kB and nested three deep.
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 16

_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


@dataclass(frozen=True)
class SlakhFolder:
    """One track folder as its metadata describes it.

    Args:
        classes: Audio files by their stem's instrument class, lower case; sorted by stem.
        problems: What is wrong with the metadata, one sentence each.
    """

    name: str
    classes: Mapping[str, tuple[Path, ...]]
    problems: tuple[str, ...]


def read_slakh_folder(folder: Path, known: Collection[str] = ()) -> SlakhFolder:
    """Read a track's metadata and find its files.

    Args:
        folder: The track.
        known: Instrument classes, lower case, to be accepted beside Slakh's own.

    Raises:
        LqsepError: PyYAML is not installed.
    """
    problems: list[str] = []
    files = _stem_files(folder, problems)
    entries = _read_entries(folder / METADATA_FILE, problems)
    classes: dict[str, tuple[Path, ...]] = {}
    for stem, entry in sorted(entries.items()):
        if not isinstance(entry, dict):
            problems.append(f"{stem}: expected a table in {METADATA_FILE}")
            continue
        path = files.get(stem)
        is_rendered = _boolean(entry, "audio_rendered", stem, problems)
        if is_rendered is False:
            if path:
                problems.append(f"{stem}: {path.name} is there, but audio_rendered is false")
            continue
        if path is None:
            problems.append(f"{stem}: no audio file in {STEMS_FOLDER}/")
        instrument = _instrument_class(stem, entry, known, problems)
        if path and instrument:
            classes[instrument] = (*classes.get(instrument, ()), path)
    if entries:
        without = sorted(files.keys() - entries.keys())
        problems += [
            f"{stem}: {files[stem].name} has no entry in {METADATA_FILE}" for stem in without
        ]
    return SlakhFolder(folder.name, classes, tuple(problems))


def _stem_files(folder: Path, problems: list[str]) -> dict[str, Path]:
    try:
        return audio_files(folder / STEMS_FOLDER)
    except AudioError as error:
        problems.append(str(error).removeprefix("data set: ").rstrip("."))
    except OSError as error:
        problems.append(f"cannot list {STEMS_FOLDER}/ ({error.strerror})")
    return {}


def _read_entries(path: Path, problems: list[str]) -> dict[str, Any]:
    """The metadata of every stem; empty where the file is of no use."""
    try:
        data = _read_yaml(path)
    except _UnusableError as error:
        problems.append(f"{METADATA_FILE}: {error}")
        return {}
    stems = data.get("stems") if isinstance(data, dict) else None
    if not isinstance(stems, dict) or not stems:
        problems.append(f"{METADATA_FILE}: expected a table 'stems'")
        return {}
    return {str(stem): entry for stem, entry in stems.items()}


class _UnusableError(Exception):
    """A metadata file that cannot be read; the message says why."""


def _read_yaml(path: Path) -> Any:
    """The file's tables with every scalar as text: nothing in it is converted or executed."""
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise LqsepError(
            "reading Slakh's metadata: the package 'yaml' is missing. "
            "Run: pip install 'lqsep[train]'"
        ) from error
    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)  # ten times as fast where it is built
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
        if len(content) > _MAX_BYTES:
            raise _UnusableError(f"larger than {_MAX_BYTES >> 20} MiB")
        if _is_deep(content, loader):  # loading it would recurse into it
            raise _UnusableError(f"nested more than {_MAX_DEPTH} deep")
        return yaml.load(content, Loader=loader)
    except FileNotFoundError:
        raise _UnusableError("not there") from None
    except OSError as error:
        raise _UnusableError(error.strerror or str(error)) from error
    except yaml.YAMLError as error:
        raise _UnusableError(f"not valid YAML ({_first_line(error)})") from error


def _is_deep(content: bytes, loader: type) -> bool:
    """Whether anything is nested deeper than it may be, before the first mistake in the file."""
    import yaml

    depth = 0
    try:
        for event in yaml.parse(content, Loader=loader):
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            if depth > _MAX_DEPTH:
                return True
    except yaml.YAMLError:
        # The fast loader of some versions stops at a depth of its own, and has not said by then
        # how deep it was. The one in Python has; it is slow, and asked only after a mistake.
        return loader is not yaml.BaseLoader and _is_deep(content, yaml.BaseLoader)
    return False


def _first_line(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    text = getattr(error, "problem", None) or str(error).partition("\n")[0]
    return f"line {mark.line + 1}: {text}" if mark else str(text)


def _boolean(entry: Mapping[str, Any], key: str, stem: str, problems: list[str]) -> bool | None:
    """None where the entry does not say; what it says otherwise is a problem."""
    value = entry.get(key)
    if value is None:
        problems.append(f"{stem}: no {key}")
        return None
    known = _BOOLEANS.get(value.lower()) if isinstance(value, str) else None
    if known is None:
        problems.append(f"{stem}: {key} is {_short(value)}, expected true or false")
    return known


def _program(entry: Mapping[str, Any], stem: str, problems: list[str]) -> int | None:
    value = entry.get("program_num")
    if value is None:
        problems.append(f"{stem}: no program_num")
        return None
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 4
    if not is_number or int(value) > _DRUMS_PROGRAM:
        problems.append(f"{stem}: program_num is {_short(value)}, expected 0 to {_DRUMS_PROGRAM}")
        return None
    return int(value)


def _instrument_class(
    stem: str, entry: Mapping[str, Any], known: Collection[str], problems: list[str]
) -> str | None:
    """The stem's class, lower case; None where it is in doubt.

    A stem of no class is better than one of a wrong class: it would teach a source another's sound.
    """
    is_drum = _boolean(entry, "is_drum", stem, problems)
    program = _program(entry, stem, problems)
    name = entry.get("inst_class")
    if not isinstance(name, str) or not name:
        problems.append(f"{stem}: no inst_class")
        if is_drum or (is_drum is None and program == _DRUMS_PROGRAM):
            return DRUMS.lower()
        if program is None or program == _DRUMS_PROGRAM:
            return None
        return _FAMILIES[program // 8].lower()
    if is_drum is not None and is_drum != (name.lower() == DRUMS.lower()):
        problems.append(
            f"{stem}: inst_class is {_short(name)}, but is_drum is {str(is_drum).lower()}; not used"
        )
        return None
    if name.lower() not in {*known, *(known_name.lower() for known_name in CLASSES)}:
        problems.append(f"{stem}: unknown inst_class {_short(name)}; not used")
        return None
    return name.lower()


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
