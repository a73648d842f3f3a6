import json

import numpy as np
import pytest

from lqsep.core.errors import ConfigError
from lqsep.core.evaluation.summary import ALL_SOURCES, summarise


def result(item, track, values, protocol="lqvae2021", **more):
    """``values``: drums and bass of the estimate ``lqsep``."""
    return {
        "schema_version": 1,
        "item": item,
        "track": track,
        "start_s": 0.0,
        "duration_s": 4.0,
        "protocol": protocol,
        "model": "tiny",
        "seed": 0,
        "scores": [
            {
                "estimate": "lqsep",
                "source": source,
                "metric": "sdr",
                "reference": "original",
                "value": value,
                "n_windows": 5,
                "n_undefined": 5 if value is None else 2,
            }
            for source, value in zip(("drums", "bass"), values, strict=True)
        ],
        "timings_s": {"separate": 2.0},
        "notes": [],
    } | more


def rows(summary):
    return {row.source: row for row in summary.rows}


def test_figures_by_hand():
    results = [
        result("a", "1", (1.0, 10.0)),
        result("b", "1", (2.0, None)),
        result("c", "2", (6.0, 20.0), notes=["odd"]),
    ]
    summary = summarise(results)
    found = rows(summary)
    assert list(found) == ["drums", "bass", ALL_SOURCES]
    drums, bass, both = found.values()
    assert (drums.n, drums.n_undefined, drums.mean, drums.median) == (3, 0, 3.0, 2.0)
    assert (bass.n, bass.n_undefined, bass.mean, bass.median) == (2, 1, 15.0, 15.0)
    # items that lack a source do not count: (1 + 10) / 2 and (6 + 20) / 2
    assert (both.n, both.n_undefined, both.mean, both.median) == (2, 1, 9.25, 9.25)
    assert (summary.n_items, summary.n_tracks, summary.seconds_per_second) == (3, 2, 0.5)
    assert summary.notes == ("odd (1 of 3 items)",)
    windows = [(row.n_windows, row.n_undefined_windows) for row in summary.rows]
    assert windows == [(15, 6), (15, 9), (30, 15)]


def test_what_is_not_finite_does_not_count():
    results = [
        result(str(n), str(n), (value, 0.0)) for n, value in enumerate((1, None, np.nan, np.inf))
    ]
    drums = rows(summarise(results))["drums"]
    assert (drums.n, drums.n_undefined, drums.mean) == (1, 3, 1.0)
    assert (drums.ci_low, drums.ci_high) == (None, None)
    nothing = rows(summarise([result("a", "a", (None, 1.0))]))["drums"]
    assert (nothing.n, nothing.mean, nothing.median) == (0, None, None)


def test_interval_of_the_mean():
    values = np.random.default_rng(0).normal(5, 2, 200)
    row = rows(summarise(result(str(n), str(n), (v, v)) for n, v in enumerate(values)))["drums"]
    half = 1.96 * values.std() / np.sqrt(200)
    # 2000 bootstrap samples: the ends are known to about a tenth of the half width
    assert row.ci_low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert row.ci_high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_interval_draws_whole_tracks():
    """Three equal chunks of a track tell no more than one."""
    values = np.random.default_rng(1).normal(0, 1, 20)
    one = rows(summarise(result(f"{n:02}", str(n), (v, v)) for n, v in enumerate(values)))
    three = rows(
        summarise(
            result(f"{n:02}.{chunk}", str(n), (v, v))
            for n, v in enumerate(values)
            for chunk in range(3)
        )
    )
    assert three["drums"].n == 60
    assert three["drums"].ci_low == pytest.approx(one["drums"].ci_low)


def test_median_protocol_has_the_medians_interval():
    values = [*range(21), 1000]
    make = [result(str(n), str(n), (v, v), "museval-v4") for n, v in enumerate(values)]
    summary = summarise(make)
    row = rows(summary)["drums"]
    assert summary.statistic == "median" and row.median == 10.5
    assert 3 < row.ci_low < 10.5 < row.ci_high < 18  # one wild track moves the mean only


def test_order_of_items_says_nothing():
    results = [result(str(n), str(n), (float(n), 1.0)) for n in range(6)]
    assert summarise(results) == summarise(reversed(json.loads(json.dumps(results))))


def test_mixed_runs_are_refused():
    for other in ({"seed": 1}, {"model": "x"}, {"protocol": "si-sdr"}):
        with pytest.raises(ConfigError, match="one protocol, model and seed"):
            summarise([result("a", "a", (1, 2)), result("b", "b", (1, 2)) | other])
    with pytest.raises(ConfigError, match="got none"):
        summarise([])
