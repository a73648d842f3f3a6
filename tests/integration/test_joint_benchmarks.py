"""The benchmarks of the joint draw and of its table run, and say what they promise."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def run(script: str, out: Path, *settings: str) -> dict[str, Any]:
    command = [sys.executable, f"{BENCHMARKS / script}.py", "--codes=64", "--dim=8", *settings]
    subprocess.run([*command, "--rounds=3", f"--json={out}"], check=True, timeout=600)
    result: dict[str, Any] = json.loads(out.read_text())
    assert result["benchmark"] == script
    assert {"processor", "cores", "threads", "load", "torch", "device"} <= set(result["machine"])
    assert result["settings"]["codes"] == 64
    for timing in result["timings"].values():
        assert timing["n"] == len(timing["seconds"]) == 3
        assert 0 < timing["min"] <= timing["median"] <= timing["max"]
        assert 0 <= timing["spread"] <= timing["max"] - timing["min"]
    return result


@pytest.mark.integration
def test_codebook_sums(tmp_path: Path) -> None:
    result = run("codebook_sums", tmp_path / "results" / "figures.json", "--pairs=20")
    # float32 distances of the same table
    assert abs(result["checks"]["largest_excess_distance"]) <= 1e-5


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_posterior_step(tmp_path: Path) -> None:
    result = run("posterior_step", tmp_path / "figures.json", "--candidates=3")
    # the row sums are float32, the reference float64
    assert 0 < result["total_variation"] < 1e-5
    assert result["dense_s"] > 0 and result["fast_s"] > 0
    assert result["dense_peak_mb"] >= 0 and result["fast_peak_mb"] >= 0
