"""The report: documented fields, plain JSON, whole or not at all."""

import json
import math
from pathlib import Path

import pytest

from lqsep.core.errors import AudioError
from lqsep.core.separation.report import InputReport, SegmentReport, SeparationReport


def report():
    segment = SegmentReport(
        start_s=0.0,
        stop_s=2.0,
        n_frames=10,
        n_candidates=2,
        log_prior={"drums": -1.0, "bass": -math.inf},
        log_likelihood=math.nan,
        log_evidence=-3.0,
        scores={"sigma": 0.1},
        timings_s={"encode": 0.5},
    )
    return SeparationReport(
        model="toy",
        sources=("drums", "bass"),
        codec_fingerprint="abc",
        config={"codec": {"type": "x"}},
        device="cpu",
        seed=1,
        input=InputReport("mix", 8000, 1, 16000, 2.0),
        segments=(segment,),
        elapsed_s=1.0,
    )


def test_what_is_not_finite_becomes_null(tmp_path):
    report().write(tmp_path / "lqsep.json", {"files": ["a.wav"]})
    text = (tmp_path / "lqsep.json").read_text()
    data = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert data["segments"][0]["log_likelihood"] is None
    assert data["segments"][0]["log_prior"] == {"drums": -1.0, "bass": None}
    assert data["files"] == ["a.wav"]
    assert data["seconds_per_second"] == 0.5
    assert {"python", "lqsep", "torch"} <= set(data["versions"])


def test_every_field_is_documented():
    page = Path(__file__).parents[3] / "docs" / "report.md"
    documented = page.read_text()
    data = report().to_dict()
    for name in [*data, *data["segments"][0], *data["input"]]:
        assert f"`{name}`" in documented, name


def test_a_failed_write_leaves_nothing_behind(tmp_path):
    (tmp_path / "lqsep.json").mkdir()
    with pytest.raises(AudioError, match="cannot write"):
        report().write(tmp_path / "lqsep.json")
    assert [p.name for p in tmp_path.iterdir()] == ["lqsep.json"]
