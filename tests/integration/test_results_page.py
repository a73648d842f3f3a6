"""The test sets of docs/results.md are what they say, and its page what the results say."""

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from lqsep.cli.evaluate.command import evaluate
from lqsep.core.audio.files import read_audio, write_audio

ROOT = Path(__file__).resolve().parents[2]
RATE = 8000


@pytest.fixture
def data_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results_data  # type: ignore[import-not-found]

    return results_data


@pytest.fixture
def page_script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import results  # type: ignore[import-not-found]

    return results


@pytest.fixture
def tracks(tmp_path: Path) -> list[Path]:
    """Two tracks of a second of noise, bass louder than drums in the first."""
    folders = []
    for number, levels in enumerate(((0.1, 0.3), (0.2, 0.1))):
        folder = tmp_path / "base" / "test" / f"{number:04d}"
        folder.mkdir(parents=True)
        for seed, (source, level) in enumerate(zip(("drums", "bass"), levels, strict=True)):
            noise = np.random.default_rng([number, seed]).uniform(-1, 1, (1, RATE))
            write_audio(folder / f"{source}.wav", level * noise.astype(np.float32), RATE)
        folders.append(folder)
    return folders


def written(script: ModuleType, tracks: list[Path], name: str, out: Path) -> dict[str, Any]:
    """Waves of one derived set, by track and source, read back from its files."""
    [variants] = [v for found, _, v in script.derived_sets(tracks, 0.5) if found == name]
    script.write_tracks(out / "test", variants)
    paths = sorted(out.glob("test/*/*.wav"))
    return {f"{p.parent.name}/{p.stem}": read_audio(p)[0] for p in paths}


@pytest.mark.parametrize("offset_db", [-12, -6, 0, 6, 12])
def test_offsets_are_exact_and_make_nothing_louder(
    data_script: ModuleType, tracks: list[Path], tmp_path: Path, offset_db: int
) -> None:
    found = written(data_script, tracks, f"offset{offset_db:+d}", tmp_path / "out")
    assert len(found) == 4
    for folder in tracks:
        waves = {s: found[f"{folder.name}/{s}"] for s in ("drums", "bass")}
        level = {s: data_script.level_db(wave) for s, wave in waves.items()}
        # samples are rounded to 24 bits of a float
        assert level["drums"] - level["bass"] == pytest.approx(offset_db, abs=1e-5)
        unchanged = 0
        for source, wave in waves.items():
            before = read_audio(folder / f"{source}.wav")[0][:, : RATE // 2]
            scale = float((wave * before).sum() / (before * before).sum())
            assert scale < 1 + 1e-6
            assert np.allclose(wave, scale * before, atol=1e-7)
            unchanged += np.array_equal(wave, before)
        assert unchanged == 1


def test_every_track_is_once_without_each_source(
    data_script: ModuleType, tracks: list[Path], tmp_path: Path
) -> None:
    found = written(data_script, tracks, "missing", tmp_path / "out")
    assert len(found) == 8
    for folder in tracks:
        for absent, kept in (("drums", "bass"), ("bass", "drums")):
            name = f"{folder.name}-no-{absent}"
            assert not found[f"{name}/{absent}"].any()
            before = read_audio(folder / f"{kept}.wav")[0][:, : RATE // 2]
            assert np.array_equal(found[f"{name}/{kept}"], before)


# The page


def scores(estimates: dict[str, tuple[float | None, float | None]]) -> Iterator[dict[str, Any]]:
    for estimate, values in estimates.items():
        for metric in ("sdr", "si_sdr"):
            for source, value in zip(("drums", "bass"), values, strict=True):
                row = {"estimate": estimate, "source": source, "metric": metric}
                windows = {"n_windows": 1, "n_undefined": int(value is None)}
                yield {**row, "reference": "original", "value": value, **windows}


def write_run(results: Path, name: str, model: str, items: list[dict[str, Any]]) -> None:
    """Results of one model on one set, in the form of ``lqsep evaluate``."""
    folder = results / name / model
    (folder / "items").mkdir(parents=True)
    hpss = {"window_s": 0.0929, "time_s": 0.4, "frequency_hz": 330.0, "exponent": 2.0}
    settings = {"fitted_baselines": {"hpss": hpss, "notes": []}}
    (folder / "evaluation.json").write_text(json.dumps(settings))
    (folder / "data.json").write_text('{"sha256": "x"}')
    for number, estimates in enumerate(items):
        result = {
            "item": f"{number:04d}",
            "track": f"{number:04d}",
            "duration_s": 10.0,
            "protocol": "track-sdr",
            "model": model,
            "seed": 0,
            "scores": list(scores(estimates)),
            "timings_s": {"separate": 8.0, "separate_processor": 4.0},
            "notes": [],
        }
        (folder / "items" / f"{number:04d}.json").write_text(json.dumps(result))


@pytest.fixture
def evaluated(tmp_path: Path) -> Path:
    """A folder with data/sets.json, results of two tracks, and a page to write into."""
    sets = [{"name": "patterns", "title": "Unseen patterns", "commands": ["lqsep data render x"]}]
    (tmp_path / "data").mkdir()
    document = {"command": "python benchmarks/results_data.py data/results", "sets": sets}
    (tmp_path / "data" / "sets.json").write_text(json.dumps(document))
    mask = {"oracle-mask": (15.0, None), "best-of-N": (99.0, 99.0)}
    with_baselines = [
        {"lqsep": (4.0, 6.0), "mixture/2": (1.0, 2.0), "hpss": (4.0, 5.0), **mask},
        {"lqsep": (6.0, 8.0), "mixture/2": (1.0, 2.0), "hpss": (6.0, 5.0), **mask},
    ]
    results = tmp_path / "results"
    write_run(results, "patterns", "drums-bass-lqvae", with_baselines)
    write_run(results, "patterns", "drums-bass", [{"lqsep": (8.0, 9.0)}, {"lqsep": (8.0, 9.0)}])
    (tmp_path / "page.md").write_text(
        "before\n<!-- figures: begin -->\nold\n<!-- figures: end -->\nafter\n"
    )
    return tmp_path


def write_page(folder: Path) -> subprocess.CompletedProcess[str]:
    paths = [folder / "data", folder / "results", "--page", folder / "page.md"]
    command = [sys.executable, ROOT / "benchmarks" / "results.py", *paths]
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=600)


def cells(page: str, label: str) -> list[str]:
    [line] = [line for line in page.splitlines() if line.startswith(f"| {label} |")]
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


@pytest.mark.integration
def test_the_page_says_what_the_results_say(evaluated: Path) -> None:
    done = write_page(evaluated)
    assert done.returncode == 0, done.stderr
    page = (evaluated / "page.md").read_text()
    assert page.startswith("before\n") and page.endswith("after\n") and "old" not in page
    # Both stems: means of 4.5 and 5.5; the bootstrap of two tracks spans all of it.
    assert cells(page, "HPSS")[:3] == ["5.0 (4.5, 5.5)", "5.0 (4.0, 6.0)", "5.0 (5.0, 5.0)"]
    assert cells(page, "`drums-bass-lqvae`")[0] == "6.0 (5.0, 7.0)"
    assert cells(page, "**`drums-bass`**")[-1] == "2"
    assert cells(page, "masks from the true sources")[:3] == ["n/a", "15.0 (15.0, 15.0)", "n/a"]
    # 8.5 - 4.5 and 8.5 - 5.5
    assert cells(page, "`drums-bass` above HPSS")[0] == "+3.5 (+3.0, +4.0)"
    assert cells(page, "Unseen patterns: SDR 3.5 dB above HPSS")[1] == "met"
    assert cells(page, "Unseen patterns") == ["0.80", "0.40", "0.80", "0.40"]
    assert "filters 0.4 s and 330 Hz" in page and "99" not in page
    assert "lqsep data render x\n" in page


@pytest.mark.integration
def test_a_target_that_is_missed_says_by_how_much(evaluated: Path) -> None:
    for path in (evaluated / "results" / "patterns" / "drums-bass" / "items").iterdir():
        path.write_text(path.read_text().replace("9.0", "7.5"))
    assert write_page(evaluated).returncode == 0
    page = (evaluated / "page.md").read_text()
    wanted = cells(page, "Unseen patterns: SDR 3.5 dB above HPSS")
    assert wanted == ["+2.8 (+2.2, +3.2) dB", "missed by 0.75 dB"]


@pytest.mark.integration
def test_results_of_different_sounds_do_not_share_a_page(evaluated: Path) -> None:
    (evaluated / "results" / "patterns" / "drums-bass" / "data.json").write_text('{"sha256": "y"}')
    done = write_page(evaluated)
    assert done.returncode == 1 and "different sounds" in done.stderr
    assert "old" in (evaluated / "page.md").read_text()


@pytest.mark.parametrize("model", ["drums-bass", "drums-bass-lqvae"])
def test_the_commands_are_those_of_lqsep(page_script: ModuleType, model: str) -> None:
    text = page_script.commands({"command": "", "sets": [{"name": "kits", "commands": []}]})
    [line] = [line for line in text.splitlines() if f"-n {model} " in line]
    words = shlex.split(line)
    assert words[:2] == ["lqsep", "evaluate"]
    parsed = evaluate.make_context("evaluate", words[2:]).params
    assert parsed["protocol"] == "track-sdr" and parsed["out"] == Path(f"results/kits/{model}")
    assert parsed["baselines"] == (model == "drums-bass-lqvae")


def test_the_page_in_the_documentation_can_be_written(page_script: ModuleType) -> None:
    page = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
    before, begin, rest = page.partition(page_script.BEGIN)
    assert before and begin and page_script.END in rest
    links = (ROOT / "docs" / "index.md", "\nresults\n"), (ROOT / "README.md", "(docs/results.md)")
    for path, link in links:
        assert link in path.read_text(encoding="utf-8"), path
