"""``lqsep separate --plots``: which pictures there are, and that nothing is left half made."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from lqsep.cli.main import run
from lqsep.core.plotting import separation as separation_plots
from lqsep.core.separation.output.candidates import ranking

matplotlib_image = pytest.importorskip("matplotlib.image")

GAINS = {"drums": 0.8, "bass": 0.2}  # of the toy model
PICTURES = ["disagreement.png", "pairs.png", "spectrograms.png", "step.png"]


@pytest.fixture
def mix(toy_run, toy_stems):
    mixture = sum(wave * GAINS[name] for name, wave in toy_stems.items())
    return toy_run.write("mix.wav", mixture.astype(np.float32))


def test_pictures_beside_the_stems(toy_run, mix):
    toy_run(mix, "--plots")
    stems = ["bass.wav", "drums.wav", "lqsep.json"]
    assert toy_run.files() == [f"toy/mix/{name}" for name in sorted(stems + PICTURES)]
    assert toy_run.stderr == ""
    files = toy_run.report("mix")["files"]
    assert [files[name] for name in PICTURES] == PICTURES
    for name in PICTURES:
        image = matplotlib_image.imread(toy_run.results / "mix" / name)
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 100


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [0, 1])
def test_the_step_is_drawn_under_the_likelihood_that_was_used(tmp_path, monkeypatch, rounds):
    """The shipped model's sampler fits the likelihood to the mixture before it draws."""
    drawn, used = [], []
    plot_step = separation_plots.plot_step
    draw_step = separation_plots.SeparationPlots._draw_step

    def draw(plots, result):
        used.append(result)
        return draw_step(plots, result)

    def plot(scores, *arguments, **options):
        drawn.append(scores)
        return plot_step(scores, *arguments, **options)

    monkeypatch.setattr(separation_plots.SeparationPlots, "_draw_step", draw)
    monkeypatch.setattr(separation_plots, "plot_step", plot)
    mixture = Path(__file__).parents[3] / "examples" / "audio" / "drums-bass" / "mixture.flac"
    options = ["--start", 5, "--duration", 2, "--candidates", 2, "-p", "pipeline.segment=1.0"]
    options += ["-p", f"sampler.adapt_rounds={rounds}", "--plots", "-o", tmp_path]
    assert run([str(part) for part in ("separate", mixture, *options)]) == 0
    (scores,), (result,) = drawn, used
    assert result.candidates.diagnostics["adapt_rounds"] == rounds
    # The sampler's own figures, of the candidate that is drawn and its middle frame.
    row = int(ranking(result)[0])
    frame_scores = result.candidates.frame_scores
    place = [codes.tolist().index(c) for codes, c in zip(scores.codes, scores.chosen, strict=True)]
    assert scores.chosen == tuple(result.candidates.codes[:, row, scores.frame].tolist())
    expected = frame_scores.log_likelihood[row, scores.frame].item()
    # Table and sum are computed in float32, in other orders.
    assert scores.log_likelihood[*place].item() == pytest.approx(expected, abs=1e-3)


def test_references_are_drawn_beside_the_stems(toy_run, mix, toy_stems):
    def width():
        return matplotlib_image.imread(toy_run.results / "mix" / "spectrograms.png").shape[1]

    toy_run(mix, "--plots")
    alone = width()
    reference = toy_run.write("drums.wav", toy_stems["drums"][:, :1000])  # ends before the mixture
    toy_run(mix, "--plots", "--reference", f"drums={reference}")
    assert width() > 1.5 * alone


def test_long_mixtures_are_drawn_from_their_beginning(toy_run, mix, toy_stems, monkeypatch):
    """So that what is held in memory does not grow with them."""
    from lqsep.core.plotting import spectrograms as plotting

    drawn = []
    original = plotting.plot_spectrograms

    def draw(mixture, stems, *arguments):
        drawn.append((mixture, *stems.values(), *arguments[2].values()))
        return original(mixture, stems, *arguments)

    monkeypatch.setattr(separation_plots, "_SHOWN_S", 0.08)
    monkeypatch.setattr(separation_plots, "plot_spectrograms", draw)
    reference = toy_run.write("drums.wav", toy_stems["drums"])
    toy_run(mix, "--plots", "--segment", 0.05, "--reference", f"drums={reference}", "--float32")
    (waves,) = drawn
    assert [wave.shape for wave in waves] == [(1, 640)] * 4
    assert np.array_equal(waves[1], toy_run.read("mix/drums.wav")[:, :640])
    assert np.allclose(waves[3], 0.8 * toy_stems["drums"][:, :640], atol=1e-6)


def test_the_disagreement_is_drawn_of_the_whole_as_the_report_says_it(toy_run, mix, monkeypatch):
    drawn = []
    original = separation_plots.plot_disagreement

    def draw(segments, path):
        drawn.append(segments)
        return original(segments, path)

    monkeypatch.setattr(separation_plots, "plot_disagreement", draw)
    toy_run(mix, "--plots", "--segment", 0.05, "--sigma", 0.1)
    (segments,) = drawn
    reported = toy_run.report("mix")["segments"]
    assert len(segments) == len(reported) > 2
    assert [s.disagreement for s in segments] == [entry["disagreement"] for entry in reported]
    assert any(value > 0 for segment in segments for value in segment.disagreement["bass"])


@pytest.mark.parametrize("selector", ["best", "mean", "rejection"])
def test_whatever_the_selector_and_the_number_of_candidates(toy_run, mix, selector, monkeypatch):
    monkeypatch.setattr(separation_plots, "_MOST_CANDIDATES", 3)
    for n in (1, 5):
        toy_run(mix, "--plots", "--selector", selector, "--candidates", n, "--duration", 0.02)
        assert toy_run.report("mix")["files"]["pairs.png"] == "pairs.png"


@pytest.mark.parametrize("n_samples", [1, 4])
def test_the_shortest_mixtures(toy_run, n_samples):
    path = toy_run.write("mix.wav", np.zeros((2, n_samples), np.float32))
    toy_run(path, "--plots", "--save-candidates", 1, "--reference", f"bass={path}")
    assert (toy_run.results / "mix" / "step.png").exists()
    assert {entry["sdr"] for entry in toy_run.report("mix")["scores"]} == {None}


def test_skipping_knows_the_pictures(toy_run, mix):
    def status(*flags):
        toy_run(mix, "--json", "--skip-existing", *flags)
        return json.loads(toy_run.stdout)["tracks"][0]["status"]

    assert [status(), status("--plots"), status("--plots")] == ["done", "done", "skipped"]


def test_without_matplotlib_one_line_before_the_work(toy_run, mix, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    toy_run(mix, "--plots", "--prior", "bass=ngram", code=2)  # a prior without weights
    assert toy_run.stderr.startswith("lqsep: error: plots need matplotlib, which is not installed")
    assert toy_run.stderr.count("\n") == 1
    assert toy_run.files() == []
    toy_run(mix)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_ctrl_c_leaves_nothing_of_any_file(toy_run, toy_stems, jobs):
    long = np.tile(toy_stems["drums"], 20)
    paths = [toy_run.write(f"{name}.wav", long) for name in "ab"]
    script = "from lqsep.cli.main import main; main()"
    command = [
        sys.executable, "-c", script, "separate", "-n", toy_run.model, "-o", toy_run.folder / "out",
        *paths, "--plots", "--save-candidates", 2, "-j", jobs,
        "-p", "sources.drums.prior.delay_s=0.02",
    ]  # fmt: skip
    process = subprocess.Popen(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        deadline = time.monotonic() + 600
        # The first segment is done: its pictures and arrays are there, under temporary names.
        while len(list(toy_run.results.glob("*/.lqsep-*/pairs.png"))) < jobs:
            assert time.monotonic() < deadline and process.poll() is None
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, error = process.communicate(timeout=600)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 130, error
    assert toy_run.files() == []
    assert not toy_run.results.exists()
