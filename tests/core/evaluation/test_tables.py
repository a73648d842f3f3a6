"""The summary as comma-separated values and as Markdown."""

import csv

from lqsep.core.evaluation.summary import ALL_SOURCES, Summary, SummaryRow
from lqsep.core.evaluation.tables import to_csv, to_markdown


def summary():
    def row(source, *figures):
        return SummaryRow("lqsep", source, "sdr", "original", *figures)

    return Summary(
        protocol="museval-v4",
        model="tiny",
        seed=3,
        statistic="median",
        n_items=2,
        n_tracks=2,
        seconds_per_second=0.5,
        rows=(
            row("drums", 2, 0, 2.0, 2.0, 1.0, 3.0, 120, 4),
            row("bass", 0, 2, None, None, None, None, 120, 120),
            row(ALL_SOURCES, 0, 2, None, None, None, None, 240, 124),
        ),
        notes=("x (1 of 2 items)",),
    )


def test_comma_separated_values():
    lines = list(csv.DictReader(to_csv(summary()).splitlines()))
    assert [line["source"] for line in lines] == ["drums", "bass", ALL_SOURCES]
    assert (lines[0]["mean"], lines[0]["n"], lines[1]["mean"]) == ("2.0", "2", "")
    assert (lines[0]["n_windows"], lines[0]["n_undefined_windows"]) == ("120", "4")


def test_markdown():
    text = to_markdown(summary())
    assert "### SDR against the original stems" in text
    assert "| lqsep | drums | 2 | 0 | 2.00 | 2.00 | 1.00 to 3.00 | 120 | 4 |" in text
    assert "| lqsep | bass | 0 | 2 |  |  |  | 120 | 120 |" in text
    assert "0.50 seconds of computation per second" in text and "- x (1 of 2 items)" in text
