"""All benchmarks in one run: their results, the table of the page, and what fails."""

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = "before\n\n<!-- measured -->\n| old |\n<!-- end -->\n\nafter\n"


@pytest.fixture
def everything(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import all as everything  # type: ignore[import-not-found]

    return everything


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "benchmarks" / "all.py", "--quick", *arguments]
    words = [str(word) for word in command]
    return subprocess.run(words, capture_output=True, text=True, timeout=900)


@pytest.mark.slow
@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_a_quick_run(everything: ModuleType, tmp_path: Path) -> None:
    page, out = tmp_path / "page.md", tmp_path / "new" / "out"
    page.write_text(PAGE)
    done = run("--out", out, "--page", page)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [step.name for step in everything.STEPS]
    assert [line.split()[0] for line in done.stdout.splitlines()] == names
    results = {path.stem: json.loads(path.read_text()) for path in out.iterdir()}
    assert set(results) == {*names, "run"}
    about = results["run"]
    assert about["quick"] is True and list(about["took"]) == names
    assert all(results[name]["machine"]["threads"] == 1 for name in names)

    before, _, rest = page.read_text().partition("<!-- measured -->\n\n")
    table, _, after = rest.partition("\n\n<!-- end -->")
    assert (before, after) == ("before\n\n", "\n\nafter\n")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    assert rows[0] == ["what", "figure", "unit", "machine", "date", "commit"]
    assert {len(row) for row in rows} == {6}
    assert {row[4] for row in rows[2:]} == {about["date"]}
    assert all(float(row[1]) >= 0 for row in rows[2:])
    said = "\n".join(row[0] for row in rows)
    for what in ("sum table", "joint draw", "step of", "choice under", "smoothing", "museval"):
        assert what in said
    for model in ("drums-bass", "drums-bass-lqvae"):
        assert f"`lqsep separate -n {model}`" in said


def test_a_page_without_a_place_is_told_before_any_work(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("no markers\n")
    done = run("--out", tmp_path / "out", "--page", page)
    assert done.returncode == 1 and not (tmp_path / "out").exists()
    assert done.stderr == f"{page}: expected the lines <!-- measured --> and <!-- end -->\n"


def test_a_script_that_fails_is_one_line(
    everything: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    step = everything.Step("sums", "codebook_sums", "", "--codes=none")
    (tmp_path / "sums.json").write_text("{}")
    assert everything.run(step, tmp_path, quick=True) is None
    [line] = capsys.readouterr().out.splitlines()
    assert line.startswith("sums") and line.endswith("invalid int value: 'none'")
    assert not (tmp_path / "sums.json").exists(), "an older result is left"


def test_every_script_of_the_run_has_lines_in_the_table(everything: ModuleType) -> None:
    from _measured import FIGURES  # type: ignore[import-not-found]

    assert {step.script for step in everything.STEPS} == set(FIGURES)
    assert len({step.name for step in everything.STEPS}) == len(everything.STEPS)


def test_the_page_has_the_place(everything: ModuleType) -> None:
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert page.count(everything.BEGIN) == page.count(everything.END) == 1
