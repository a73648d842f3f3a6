"""The benchmarks of the joint draw and of its table run, and say what they promise."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.integration
@pytest.mark.parametrize(
    ("script", "sizes", "check", "largest"),
    [
        # The logs of float32 sums over 4096 pairs; float32 distances of the same table.
        ("frame_likelihood", "--hypotheses=3", "largest_difference_of_log_evidence", 1e-4),
        ("sum_table", "--pairs=20", "largest_excess_distance", 1e-5),
    ],
)
def test_benchmark(script: str, sizes: str, check: str, largest: float, tmp_path: Path) -> None:
    out = tmp_path / "results" / "figures.json"
    command = [sys.executable, f"{BENCHMARKS / script}.py", "--codes=64", "--dim=8", sizes]
    subprocess.run([*command, "--rounds=3", f"--out={out}"], check=True, timeout=120)
    result = json.loads(out.read_text())
    assert result["benchmark"] == script
    assert {"processor", "cores", "threads", "load", "torch", "device"} <= set(result["machine"])
    assert result["settings"]["codes"] == 64
    for timing in result["timings"].values():
        assert timing["n"] == len(timing["seconds"]) == 3
        assert 0 < timing["min"] <= timing["median"] <= timing["max"]
        assert 0 <= timing["spread"] <= timing["max"] - timing["min"]
    assert abs(result["checks"][check]) <= largest
