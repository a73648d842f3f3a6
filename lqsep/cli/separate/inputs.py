"""Which files are meant by the inputs of a command, and what their tracks are called."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from lqsep.core.errors import AudioError
from lqsep.core.separation.output.settings import REPORT_FILE


@dataclass(frozen=True)
class FoundFile:
    """A file that an input stands for.

    Args:
        path: As it was given, or below the folder that was.
        below: The folders between the folder that was given and the file; none for others.
        name: Of its results, where the path has none to give: of a pipe.
    """

    path: Path
    below: tuple[str, ...] = ()
    name: str | None = None


@dataclass
class Inputs:
    """What the inputs of a command stand for.

    Attributes:
        files: In the order given, each once.
        given: What a user called a file that lies elsewhere: standard input, a pipe.
        failures: ``(input, error)`` for each input that stands for none, or has something in it
            that cannot be looked at.
        left_out: ``(file, reason)`` for each file of a folder that is sound and is not read.
    """

    files: list[FoundFile] = field(default_factory=list)
    given: dict[Path, str] = field(default_factory=dict)
    failures: list[tuple[str, str]] = field(default_factory=list)
    left_out: list[tuple[Path, str]] = field(default_factory=list)


def find_inputs(inputs: Sequence[str], skip: Path, pipes: ExitStack) -> Inputs:
    """Resolve files, folders, glob patterns and pipes, in the order given, each file once.

    A folder stands for all audio files below it, whatever their endings, but hidden ones, those
    below ``skip`` (the output folder) and those beside a ``lqsep.json`` (stems of an earlier run).
    A file named in full is taken whatever it is; whether it can be read is for the reader to say.
    ``-`` is standard input; what comes through it, or through a pipe, is kept in a file.

    Args:
        inputs: As given on the command line.
        skip: A folder that is not searched.
        pipes: Closed when the files of pipes are no longer needed.
    """
    found = Inputs()
    files: dict[Path, FoundFile] = {}
    for text in inputs:
        errors: list[str] = []
        try:
            for file in _found(text, skip, pipes, found, errors):
                files.setdefault(file.path.resolve(), file)
        except OSError as error:
            errors.append(f"cannot read {text}: {error.strerror or error}")
        except ValueError as error:  # names with a zero byte
            errors.append(f"cannot read {text!r}: {error}")
        except RuntimeError:  # what Python 3.11 and 3.12 make of a link to itself
            errors.append(f"cannot read {text}: its links lead in a circle")
        found.failures += [(text, error) for error in errors]
    found.files = list(files.values())
    return found


def track_names(files: Sequence[FoundFile]) -> list[str]:
    """A name for each file: its stem, below the folders that it was found in.

    The name of a file does not depend on how many others there are, but where two would be one:
    these keep their endings, or are named by more of the folders that they lie in. Upper and lower
    case make no difference, as some file systems have it.
    """
    names = [file.name or _joined(file.below, _stem(file.path)) for file in files]
    tries = 0
    while clashes := _clashes(names):
        for place in clashes:
            names[place] = _longer_name(files[place], tries, place)
        tries += 1
    return names


def _longer_name(file: FoundFile, tries: int, place: int) -> str:
    """What a file may be called beside others of its name, from one try to the next."""
    if file.name is not None:
        return f"{file.name}_{place + 1}"
    if tries == 0:
        return _joined(file.below, file.path.name.strip(".") or "track")
    folders = file.path.resolve().parent.parts[1:]
    n_folders, with_ending = (tries + 1) // 2, tries % 2 == 0
    if n_folders > len(folders):
        return f"{_stem(file.path)}_{place + 1}"
    name = file.path.name.strip(".") if with_ending else _stem(file.path)
    return _joined(folders[-n_folders:], name)


def _joined(folders: Sequence[str], name: str) -> str:
    return "/".join((*folders, name))


def _clashes(names: Sequence[str]) -> list[int]:
    counts = Counter(name.casefold() for name in names)
    return [place for place, name in enumerate(names) if counts[name.casefold()] > 1]


def _stem(path: Path) -> str:
    # "...wav" has the stem "..", which as a folder would lead out of the output folder.
    return path.stem if path.stem.strip(".") else "track"


def _found(
    text: str, skip: Path, pipes: ExitStack, found: Inputs, errors: list[str]
) -> list[FoundFile]:
    """The files that one input stands for; what is wrong with it is added to ``errors``."""
    from lqsep.core.audio.inputs.spooling import is_pipe, spooled

    path = Path(text)
    if is_pipe(text):
        try:
            file = pipes.enter_context(spooled(text))
        except AudioError as error:
            errors.append(str(error))
            return []
        number = 1 + sum(other.stem == file.stem for other in found.given)
        found.given[file] = text
        return [FoundFile(file, name=file.stem if number == 1 else f"{file.stem}_{number}")]
    if path.is_dir():
        files, nothing = _audio_below(path, skip, found, errors), "in folder"
    elif os.path.lexists(path) or not glob.has_magic(text):
        return [FoundFile(path)]
    else:
        files, nothing = _matches(text, skip, found, errors), "match"
    if not files and not errors:
        errors.append(f"no audio files {nothing} {text}")
    return files


def _matches(pattern: str, skip: Path, found: Inputs, errors: list[str]) -> list[FoundFile]:
    files: list[FoundFile] = []
    for match in sorted(glob.glob(pattern, recursive=True)):
        path = Path(match)
        if path.is_dir():
            files += _audio_below(path, skip, found, errors)
        elif _is_audio(path, found):
            files.append(FoundFile(path))
    return files


def _audio_below(folder: Path, skip: Path, found: Inputs, errors: list[str]) -> list[FoundFile]:
    def cannot_list(error: OSError) -> None:
        errors.append(f"cannot list folder {error.filename}: {error.strerror or error}")

    files = []
    skipped = skip.resolve()
    for root, folders, names in os.walk(folder, onerror=cannot_list):
        here = Path(root)
        if here != folder and (REPORT_FILE in names or here.resolve() == skipped):
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        visible = (here / name for name in sorted(names) if not name.startswith("."))
        below = here.relative_to(folder).parts
        files += [FoundFile(path, below) for path in visible if _is_audio(path, found)]
    return files


def _is_audio(path: Path, found: Inputs) -> bool:
    from lqsep.core.audio.inputs.recognition import recognize

    recognition = recognize(path)
    if recognition.left_out and path not in (other for other, _ in found.left_out):
        found.left_out.append((path, recognition.left_out))
    return recognition.is_audio
