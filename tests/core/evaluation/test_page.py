"""The report of an evaluation: complete, self-contained, the same for the same results."""

import base64
import io
import re
import statistics
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from lqsep.core.audio.files import read_audio
from lqsep.core.errors import ConfigError
from lqsep.core.evaluation.page import sounds as page_audio
from lqsep.core.evaluation.page.charts import box, box_plot
from lqsep.core.evaluation.page.document import render_page
from lqsep.core.evaluation.page.environment import page_environment
from lqsep.core.evaluation.page.sounds import (
    Example,
    excerpt_seconds,
    read_excerpt,
    save_example,
    sound_data,
)
from lqsep.core.evaluation.summary import summarise

STYLE = page_environment().get_template("style.css").render()

RATE = 8000
SOURCES = ("drums", "bass")
ESTIMATES = ("lqsep", "best-of-2", "mixture/2", "codec")
SETTINGS = {
    "model": "tiny",
    "codec_fingerprint": "0123456789abcdef" * 4,
    "sources": list(SOURCES),
    "dataset": {"type": "track-folders", "name": "gm", "split": "test"},
    "versions": {"lqsep": "0.1"},
    "config": {"sampler": {"type": "ancestral"}},
}


def results(n_items: int = 4, track: str = "song") -> list[dict[str, Any]]:
    """Items of two sources with scores that differ everywhere, one of them undefined."""
    generator = np.random.default_rng(0)
    found: list[dict[str, Any]] = [
        {
            "schema_version": 1,
            "item": f"{index:04d}",
            "track": f"{track}{index}",
            "start_s": 1.5 * index,
            "duration_s": 3.0,
            "protocol": "lqvae2021",
            "model": "tiny",
            "seed": 0,
            "scores": [
                {
                    "estimate": estimate,
                    "source": source,
                    "metric": "sdr",
                    "reference": reference,
                    "value": float(generator.normal(5, 4)),
                    "n_windows": 3,
                    "n_undefined": 1,
                }
                for reference in ("original", "decoded")
                for estimate in ESTIMATES
                for source in SOURCES
            ],
            "timings_s": {"separate": 6.0},
            "notes": [],
        }
        for index in range(n_items)
    ]
    found[-1]["scores"][0]["value"] = None
    return found


def media(seconds: float = 0.5, channels: int = 1, seed: int = 0) -> Any:
    generator = np.random.default_rng(seed)

    def wave() -> np.ndarray:
        shape = (channels, round(seconds * RATE))
        return (0.2 * generator.standard_normal(shape)).astype(np.float32)

    return {
        "sample_rate": RATE,
        "mixture": wave(),
        "estimates": {source: wave() for source in SOURCES},
        "references": {source: wave() for source in SOURCES},
    }


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Example:
    return save_example(media(), tmp_path_factory.mktemp("examples") / "0000")


@pytest.fixture(scope="module")
def page(example: Example) -> str:
    items = results()
    return render_page(SETTINGS, items, summarise(items), [example])


class Reader(HTMLParser):
    """Elements with their attributes, and the text of table cells; refuses unbalanced tags."""

    VOID = {"meta", "img", "br", "link", "input", "hr"}

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("th", "td"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open):
            self.tables[-1][-1][-1] += data


def of(reader: Reader, tag: str) -> list[dict[str, str | None]]:
    return [attributes for name, attributes in reader.elements if name == tag]


# The page


def test_the_page_is_well_formed_and_loads_nothing(page: str) -> None:
    reader = Reader(page)
    assert {tag for tag, _ in reader.elements} >= {"title", "table", "svg", "img", "audio"}
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in reader.elements}
    for _, attributes in reader.elements:
        for name in ("src", "href", "srcset", "data", "poster", "xlink:href"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert not re.search(r"https?:|url\(|@import|@font-face", re.sub(r"base64,[\w+/=]+", "", page))


def test_the_title_says_what_was_evaluated_and_how(page: str) -> None:
    assert "<title>tiny under lqvae2021</title>" in page
    text = " ".join(Reader(page).text.split())
    for fact in ("track-folders gm test", "4 of 4 tracks", "0123456789abcdef", "2.00 s per second"):
        assert fact in text


def test_the_same_results_give_the_same_page_without_a_date(page: str, example: Example) -> None:
    items = results()
    assert render_page(SETTINGS, items, summarise(items), [example]) == page
    assert not re.search(r"\b20\d\d-\d\d", re.sub(r"base64,[\w+/=]+", "", page))


def test_the_tables_hold_the_numbers_of_the_results(page: str) -> None:
    items = results()
    by_item = Reader(page).tables[-1]
    assert by_item[0][1:] == [e + s for e in ESTIMATES for s in SOURCES]
    for row, item in zip(by_item[1:], items, strict=True):
        values = [s["value"] for s in item["scores"] if s["reference"] == "original"]
        assert row[1:] == ["-" if value is None else f"{value:.2f}" for value in values]


@pytest.mark.parametrize(("table", "reference"), [(0, "original"), (1, "decoded")])
def test_the_summary_is_that_of_the_items(page: str, table: int, reference: str) -> None:
    rows = Reader(page).tables[table]
    assert rows[0] == ["", "drums", "bass", "all sources"]
    assert rows[1] == ["estimate", *(["mean [95 %]", "median", "n"] * 3)]
    assert [row[0] for row in rows[2:]] == list(ESTIMATES)
    for row in rows[2:]:
        values = [
            score["value"]
            for item in results()
            for score in item["scores"]
            if (score["estimate"], score["source"], score["reference"])
            == (row[0], "drums", reference)
        ]
        known = [value for value in values if value is not None]
        assert row[1].split()[0] == f"{statistics.fmean(known):.2f}"
        assert row[2] == f"{statistics.median(known):.2f}"
        assert row[3] == ("4" if len(known) == 4 else "3 (+1 undefined)")


def test_the_page_says_what_each_row_bounds(page: str) -> None:
    text = " ".join(Reader(page).text.split())
    assert "upper bound" not in text
    assert "best-of-2: each source's best candidate as decoded; no choice among the" in text
    assert "codec: the true stems through the codec; what is decoded can hardly beat it." in text
    assert "lqsep may beat what bounds decoding alone" in text
    assert "oracle-mask" not in text  # no such row here


def test_without_bounds_and_baselines_the_page_explains_none() -> None:
    items = results()
    for item in items:
        item["scores"] = [s for s in item["scores"] if s["estimate"] == "lqsep"]
    text = Reader(render_page(SETTINGS, items, summarise(items))).text
    assert "Blue" in text and "Orange" not in text and "Grey" not in text


def test_the_page_says_how_many_windows_have_a_value(page: str) -> None:
    # Of every item two of three, whatever the estimate.
    assert page.count("Windows with a value: drums 8 of 12, bass 8 of 12.") == 2
    items = results()
    for score in items[0]["scores"]:
        if (score["estimate"], score["source"]) == ("codec", "bass"):
            score["n_undefined"] = 3
    text = render_page(SETTINGS, items, summarise(items))
    assert "drums 8 of 12, bass 8 of 12, bass of codec 6 of 12." in text


def test_no_number_is_minus_zero() -> None:
    items = results(2)
    for item in items:
        for score in item["scores"]:
            score["value"] = -0.001
    tables = Reader(render_page(SETTINGS, items, summarise(items))).tables
    cells = {cell for table in tables for row in table for cell in row}
    assert "0.00" in cells and not any("-0.00" in cell for cell in cells)


def test_without_jinja2_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    page_environment.cache_clear()
    monkeypatch.setitem(sys.modules, "jinja2", None)
    items = results()
    with pytest.raises(ConfigError, match=r"the report needs jinja2, .*'lqsep\[eval\]'$"):
        render_page(SETTINGS, items, summarise(items))


def test_an_undefined_value_is_no_point(page: str) -> None:
    charts = re.findall(r"<svg.*?</svg>", page, re.S)
    assert len(charts) == 4  # two references, two sources
    assert [chart.count("<circle") for chart in charts] == [15, 16, 16, 16]


def test_every_picture_and_player_has_a_name(page: str) -> None:
    reader = Reader(page)
    assert all(svg.get("aria-label") and svg["role"] == "img" for svg in of(reader, "svg"))
    assert all(image.get("alt") for image in of(reader, "img"))
    players = [audio.get("aria-label") for audio in of(reader, "audio")]
    assert players == ["mixture", "drums", "true drums", "bass", "true bass"]


def test_names_cannot_break_the_page(example: Example) -> None:
    track = '<b>"&</td>'
    items = results(track=track)
    settings = {**SETTINGS, "dataset": {"type": "</pre>"}}
    text = render_page(settings, items, summarise(items), [], {"<i>": "x < y"})
    reader = Reader(text)
    assert not {"b", "i"} & {tag for tag, _ in reader.elements}
    assert f"{track}1" in reader.text and "<i>: x < y" in reader.text


def test_failures_are_on_the_page(page: str) -> None:
    items = results()
    text = render_page(SETTINGS, items, summarise(items), [], {"0009": "no such file"})
    assert "1 items failed" in text and "0009: no such file" in text
    assert "failed and are missing" not in page


def test_light_and_dark_define_the_same_colours() -> None:
    light, dark = (set(re.findall(r"(--[\w-]+):", part)) for part in STYLE.split("@media")[:2])
    assert light == dark != set()
    assert set(re.findall(r"var\((--[\w-]+)\)", STYLE)) == light


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.03928 else ((v + 0.055) / 1.055) ** 2.4 for v in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("ink", ["--ink", "--soft", "--own", "--bound"])
def test_text_can_be_read(scheme: int, ink: str) -> None:
    """A contrast of 4.5 and more, as WCAG 2 level AA asks."""
    colours = dict(re.findall(r"(--[\w-]+): (#\w{6})", STYLE.split("@media")[scheme]))
    for paper in ("--paper", "--card"):
        low, high = sorted((luminance(colours[ink]), luminance(colours[paper])))
        assert (high + 0.05) / (low + 0.05) >= 4.5


# Box plots


@pytest.mark.parametrize("n", [1, 2, 3, 4, 7, 30])
def test_quartiles_are_those_of_numpy(n: int) -> None:
    values = np.random.default_rng(n).normal(0, 9, n)
    found = box(values.tolist())
    assert found[1:4] == pytest.approx(np.percentile(values, [25, 50, 75]), abs=1e-12)


def test_whiskers_stop_before_outliers() -> None:
    assert box([0, 1, 2, 3, 4, 100]) == (0, 1.25, 2.5, 3.75, 4)


@pytest.mark.parametrize(
    "values", [[1.25, -3.5, 12.0, 4.0], [0.0], [7.0, 7.0], [-1e-3, 2e-3], [-250.0, 1e4], [29.98]]
)
def test_points_boxes_and_ticks_share_one_scale(values: Sequence[float]) -> None:
    chart = box_plot({"a": {str(i): v for i, v in enumerate(values)}, "b": {}}, "t", "dB")
    assert 2 <= len(chart.ticks) <= 12
    places = np.array([tick.x for tick in chart.ticks])
    labels = np.array([float(tick.text) for tick in chart.ticks])
    slope, start = np.polyfit(labels, places, 1)

    def place(value: float) -> float:
        return pytest.approx(slope * value + start, abs=1e-6)

    assert places.tolist() == [place(label) for label in labels]
    row, empty = chart.rows
    assert [(p.x, p.name, p.value) for p in row.points] == [
        (place(value), str(i), value) for i, value in enumerate(values)
    ]
    assert row.box is not None
    assert list(row.box) == [place(value) for value in box(values)]
    assert row.mean == place(statistics.fmean(values))
    assert labels.min() <= min(values) + 1e-9 and labels.max() >= max(values) - 1e-9
    assert [tick.text for tick in chart.ticks if tick.is_zero] in ([], ["0"], ["0.0000"])
    assert (empty.points, empty.box, empty.mean) == ([], None, None)
    assert 0 < row.y < empty.y < chart.bottom < chart.height


def test_a_chart_without_values_is_empty() -> None:
    chart = box_plot({"a": {"x": float("inf")}, "b": {}}, "t", "dB")
    assert [row.label for row in chart.rows] == ["a", "b"]
    assert all(row.box is None and not row.points for row in chart.rows)


def test_a_chart_is_drawn_as_it_was_laid_out(page: str) -> None:
    chart = re.findall(r"<svg.*?</svg>", page, re.S)[1]  # of the bass against the original
    values: dict[str, dict[str, float]] = {estimate: {} for estimate in ESTIMATES}
    for index, item in enumerate(results()):
        for score in item["scores"]:
            if (score["source"], score["reference"]) == ("bass", "original"):
                values[score["estimate"]][str(index)] = score["value"]
    wanted = box_plot(values, "t", "dB")
    drawn = [float(x) for x in re.findall(r'<circle class="point" cx="([-\d.]+)"', chart)]
    # Places are written with one decimal.
    assert drawn == pytest.approx([p.x for row in wanted.rows for p in row.points], abs=0.051)
    ticks = re.findall(r'class="tick" x="([\d.]+)" y="\d+">(-?[\d.]+)<', chart)
    assert [text for _, text in ticks] == [tick.text for tick in wanted.ticks]
    labels = re.findall(r'class="label"[^>]*>([^<]*)<', chart)
    assert labels == list(ESTIMATES)
    roles = re.findall(r'<g class="(\w+)"', chart)
    assert roles == ["own", "bound", "base", "bound"]


# Sounds


def decoded(data: str) -> np.ndarray:
    kind, _, text = data.partition(";base64,")
    assert kind == "data:audio/flac"
    return soundfile.read(io.BytesIO(base64.b64decode(text)), always_2d=True)[0].T


@pytest.mark.parametrize("channels", [1, 2])
def test_a_sound_in_the_page_is_the_wave(channels: int) -> None:
    wave = media(channels=channels)["mixture"]
    wave[0, :2] = (1.5, -1.5)
    # Rounded to 16 bits, down in libsndfile: one step.
    assert np.abs(decoded(sound_data(wave, RATE)) - wave.clip(-1, 1)).max() < 1.01 / 32768


def test_examples_are_kept_and_found(tmp_path: Path) -> None:
    sounds = media(channels=2)
    kept = save_example(sounds, tmp_path / "item")
    assert Example.find(tmp_path / "item", SOURCES) == kept
    wave, rate = read_audio(kept.references["bass"])
    assert rate == RATE
    assert np.abs(wave - sounds["references"]["bass"]).max() <= 0.5 / 32768
    kept.estimates["drums"].unlink()
    assert Example.find(tmp_path / "item", SOURCES) is None


def test_of_long_items_the_middle_is_kept(tmp_path: Path) -> None:
    sounds = media(20.0)
    kept = save_example(sounds, tmp_path / "item")
    wave, _ = read_audio(kept.mixture)
    assert wave.shape == (1, 12 * RATE)
    assert np.abs(wave - sounds["mixture"][:, 4 * RATE : 16 * RATE]).max() <= 0.5 / 32768


def test_sounds_of_many_examples_are_shortened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [save_example(media(2.0), tmp_path / str(index)) for index in range(3)]
    monkeypatch.setattr(page_audio, "MAX_BYTES", 60_000)
    seconds = excerpt_seconds(examples)
    waves = [read_excerpt(path, seconds)[0] for example in examples for path in example.files]
    assert len(waves) == 15
    assert 0.95 * 60_000 < sum(2 * wave.size for wave in waves) <= 60_000 + 2 * len(waves)
