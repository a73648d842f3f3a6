"""The comparison of builds and other separators, as far as it needs none of the latter."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import separation_peers  # type: ignore[import-not-found]

    return separation_peers


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """Another checkout: this one, with a version and a start of its own."""
    package = tmp_path / "other build" / "lqsep"
    package.mkdir(parents=True)
    for path in (ROOT / "lqsep").iterdir():
        (package / path.name).symlink_to(path)
    (package / "__init__.py").unlink()
    text = (ROOT / "lqsep" / "__init__.py").read_text(encoding="utf-8")
    (package / "__init__.py").write_text(f"{text}\n__version__ = '9.9'\n", encoding="utf-8")
    return package.parent


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    tiny = ("--seconds", "0.5", "--rounds", "1", "--threads", "1")
    command = [sys.executable, ROOT / "benchmarks" / "separation_peers.py", *tiny, *arguments]
    words = [str(word) for word in command]
    # From here `python -m lqsep` would be this build, if it were run here.
    return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
@pytest.mark.integration
def test_two_builds(other: Path, tmp_path: Path) -> None:
    """Peers that cannot be installed are left out."""
    no_folder = tmp_path / "file"
    no_folder.write_text("")
    out = tmp_path / "figures.json"
    build = f"second={other}"
    done = run("--build", build, "--peers-env", no_folder, "--json", out)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["benchmark"] == "separation_peers"
    assert {"processor", "cores", "torch"} <= set(result["machine"])
    assert list(result["ways"]) == ["lqsep", "second"]
    assert result["ways"]["second"]["version"] == "9.9" != result["ways"]["lqsep"]["version"]
    assert result["settings"]["audio_s"] == 0.5
    [on_one] = result["results"]
    assert on_one["threads"] == 1
    for name, found in on_one["ways"].items():
        assert found["n"] == len(found["runs"]) == 1
        assert found["seconds"] > 0 and found["peak_memory_bytes"] > 5e7
        assert (on_one["ratio"][name]["seconds"] == 1) == (name == "lqsep")
    assert set(result["left_out"]) == {"htdemucs", "openunmix"}
    assert all("venv" in why and "\n" not in why for why in result["left_out"].values())
    head, *rows = done.stdout.splitlines()
    assert "processor s" in head
    assert [row.split()[0] for row in rows] == ["lqsep", "second", "htdemucs", "openunmix"]


@pytest.mark.slow
@pytest.mark.integration
def test_the_build_that_is_named_is_run(other: Path) -> None:
    start = other / "lqsep" / "__main__.py"
    start.unlink()
    start.write_text("raise SystemExit('the other one')\n")
    done = run("--build", f"second={other}")
    assert done.returncode == 1
    assert done.stderr == "second failed in round 1: exit code 1: the other one\n"


def test_a_build_that_does_not_start(script: ModuleType, other: Path) -> None:
    (other / "lqsep" / "__init__.py").write_text("raise ImportError('torn')\n")
    with pytest.raises(SystemExit, match=r"lqsep cannot be imported: ImportError: torn$"):
        script.facts(other)


def test_builds_have_a_name_and_a_folder(script: ModuleType, other: Path) -> None:
    assert script.build(f"old={other}") == ("old", other)
    for text, message in (
        (str(other), "expected NAME=FOLDER"),
        (f"={other}", "expected NAME=FOLDER"),
        (f"lqsep={other}", "names something else"),
        (f"htdemucs={other}", "names something else"),
        (f"old={other.parent}", "expected a checkout"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=message):
            script.build(text)


def test_the_table(script: ModuleType) -> None:
    from _processes import medians, times_of  # type: ignore[import-not-found]

    def figures(seconds: float) -> dict[str, float]:
        return {
            "seconds": seconds,
            "processor_seconds": 2 * seconds,
            "peak_memory_bytes": seconds * 1e8,
        }

    ways = medians({"lqsep": [figures(2.0)], "other": [figures(3.0), figures(5.0)]})
    results = [{"threads": 2, "ways": ways, "ratio": times_of(ways, "lqsep")}]
    left_out = {"htdemucs": "pip failed: no network"}
    lines = script.table({"results": results, "left_out": left_out}).splitlines()
    assert lines[1].split() == "lqsep 2 2.00 ( 1.00) 4.00 ( 1.00) 200 ( 1.00) 1".split()
    assert lines[2].split() == "other 2 4.00 ( 2.00) 8.00 ( 2.00) 400 ( 2.00) 2".split()
    assert lines[3] == "htdemucs is left out: pip failed: no network"
    assert len({len(line) for line in lines[:3]}) == 1
