"""Names that hold control characters cannot move the cursor of a terminal; JSON has them as is."""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import pytest

from lqsep.cli.console import progress, tables
from lqsep.cli.console.logs import start_logging
from lqsep.cli.console.printable import one_line, printable
from lqsep.cli.main import run
from lqsep.cli.options import GlobalOptions

NAME = "a\nb\x1b[31m\rc\td\x9b\u202e"
SHOWN = r"a\nb\x1b[31m\rc\td\x9b\u202e"


def is_plain(text: str) -> bool:
    return all(line.isprintable() for line in text.split("\n"))


def test_controls_are_escapes_and_the_rest_stays() -> None:
    assert printable(NAME) == SHOWN
    assert printable("Größe – 音楽 🎵\u00a0!") == "Größe – 音楽 🎵\u00a0!"
    assert one_line("two\n  lines\r\nof\x07 text") == r"two lines of\x07 text"
    assert one_line(f"cannot read {NAME}:\nodd", [NAME]) == f"cannot read {SHOWN}: odd"


def test_tracks_by_their_names(toy_run) -> None:
    good = toy_run.write(f"{NAME}.wav", np.zeros((1, 400), np.float32))
    bad = toy_run.folder / f"{NAME} bad.wav"
    bad.write_text("no audio")
    toy_run(good, bad, toy_run.folder / f"{NAME} none.wav", code=1)
    assert is_plain(toy_run.stdout) and is_plain(toy_run.stderr)
    assert toy_run.stdout.startswith(f"{SHOWN}: drums, bass in ")
    assert f"cannot read {toy_run.folder}/{SHOWN} bad.wav" in toy_run.stderr
    assert f"{toy_run.folder}/{SHOWN} none.wav" in toy_run.stderr
    assert len(toy_run.stderr.splitlines()) == 3
    toy_run(good, "--json", "--overwrite")
    (track,) = json.loads(toy_run.stdout)["tracks"]
    assert (track["track"], track["input"]) == (NAME, str(good))


def test_errors_about_what_was_typed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["models", "show", NAME]
    monkeypatch.setattr(sys, "argv", ["lqsep", *arguments])
    assert run(arguments) == 3
    stderr = capsys.readouterr().err
    assert is_plain(stderr) and SHOWN in stderr and stderr.count("\n") == 1


def test_names_in_log_messages(capsys: pytest.CaptureFixture[str]) -> None:
    start_logging(GlobalOptions())
    logging.getLogger("lqsep").warning("left out: %s: %s", Path(NAME), "odd")
    logging.getLogger("lqsep").warning("%s", "two\nlines\x1b")
    expected = f"lqsep: warning: left out: {SHOWN}: odd\nlqsep: warning: two lines\\x1b\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize("is_terminal", [False, True])
def test_names_in_tables(
    is_terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = NAME.replace("\n", "")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    monkeypatch.setenv("COLUMNS", "120")
    tables.print_table(["track", "dB"], [[name.replace("\t", ""), 1.0]])
    out = capsys.readouterr().out
    assert r"ab\x1b[31m" in out and r"\x9b\u202e" in out
    assert "\x1b[31m" not in out and "\u202e" not in out and "\x9b" not in out


def test_names_in_progress_bars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "DELAY_S", -1.0)
    with progress.ProgressBars(enabled=True) as bars:
        bars.update(NAME, 1, 2)
        assert bars._progress is not None
        assert [task.description for task in bars._progress.tasks] == [SHOWN]


def test_names_in_a_check_of_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for source in ("drums", "bass"):
        folder = tmp_path / source / "train"
        folder.mkdir(parents=True)
        (folder / f"{NAME}.wav").write_text("no audio")
    run(["data", "check", str(tmp_path)])
    found = capsys.readouterr()
    assert is_plain(found.out) and is_plain(found.err)
    assert f"{SHOWN}.wav" in found.out
