"""The progress bar: on a terminal only, after two seconds only."""

import pytest

from lqsep.cli.console import progress
from lqsep.cli.console.progress import ProgressBars


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rich draw, wherever stderr goes."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.usefixtures("terminal")
def test_the_bar_is_drawn_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    with ProgressBars(enabled=True) as bars:
        bars.update("my mix [live]", 5.0, 10.0)
        print("of a library")
        with bars.paused():
            print("a result")
        bars.finish("my mix [live]")
    captured = capsys.readouterr()
    assert captured.out == "of a library\na result\n"
    assert "my mix [live]" in captured.err
    assert "50%" in captured.err


@pytest.mark.usefixtures("terminal")
def test_there_is_no_bar_before_two_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    assert progress.DELAY_S == 2
    with ProgressBars(enabled=True) as bars:
        bars.update("mix", 5.0, 10.0)
        with bars.paused():
            pass
        bars.finish("mix")
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("terminal")
@pytest.mark.parametrize("enabled", [None, False])
def test_there_is_no_bar_without_a_terminal(
    enabled: bool | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "DELAY_S", 0.0)
    with ProgressBars(enabled=enabled) as bars:  # captured: stderr is no terminal
        bars.update("mix", 5.0, 10.0)
    assert capsys.readouterr().err == ""
