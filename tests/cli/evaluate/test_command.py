"""``lqsep evaluate``: what it writes, going on where it stopped, processes, mistakes."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lqsep.cli.main import run
from lqsep.core.audio.files import write_audio

RATE = 8000
TRACKS = ("a", "b", "c")

# For the toy model, of which only the handling is of interest.
TOY = ("--no-baselines", "--examples", 0)

OUTPUTS = ["evaluation.json", "report.html", "summary.csv", "summary.md"]


def make_tracks(root: Path, names: tuple[str, ...] = TRACKS, seconds: float = 0.1) -> Path:
    """Tracks of noise in the layout of ``track-folders``."""
    for index, name in enumerate(names):
        generator = np.random.default_rng(index)
        (root / "test" / name).mkdir(parents=True)
        for source in ("drums", "bass"):
            wave = 0.1 * generator.standard_normal((1, round(seconds * RATE)))
            write_audio(root / "test" / name / f"{source}.wav", wave.astype(np.float32), RATE)
    return root


class Command:
    """Runs ``lqsep evaluate`` in this process, and tells what came out."""

    def __init__(
        self, model: Path, data: Path, out: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.model, self.data, self.out = model, data, out
        self._capsys = capsys
        self.stdout = self.stderr = ""

    def arguments(self, *more: object, protocol: str = "si-sdr") -> list[str]:
        fixed = (self.data, "--split", "test", "--protocol", protocol)
        return [str(v) for v in ("evaluate", *fixed, "-n", self.model, "-o", self.out, *more)]

    def __call__(self, *more: object, code: int = 0, protocol: str = "si-sdr") -> None:
        self._capsys.readouterr()
        found = run(self.arguments(*more, protocol=protocol))
        self.stdout, self.stderr = self._capsys.readouterr()
        assert found == code, self.stderr

    def fails(self, *more: object, code: int, says: str) -> None:
        self(*more, code=code)
        assert says in self.stderr
        assert self.stderr.count("\n") == 1
        assert self.stdout == ""

    def has_one_failure(self, error: str, last: str) -> None:
        """On stderr and in the report."""
        first, second = self.stderr.splitlines()
        assert error in first and second.endswith(last)
        assert error in (self.out / "report.html").read_text()

    def items(self) -> dict[str, Any]:
        """Results by track, without what may differ from run to run."""
        found = {}
        for path in sorted((self.out / "items").glob("[!.]*")):
            result = json.loads(path.read_text())
            del result["timings_s"]
            found[result["track"]] = result
        return found

    def times(self) -> dict[str, int]:
        """When each result was written; whatever bears a temporary name is none."""
        paths = (self.out / "items").glob("[!.]*")
        return {path.name: path.stat().st_mtime_ns for path in paths}

    def rows(self) -> list[dict[str, str]]:
        with (self.out / "summary.csv").open() as file:
            return list(csv.DictReader(file))


@pytest.fixture
def evaluate(tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(tiny_model, make_tracks(tmp_path / "data"), tmp_path / "out", capsys)


@pytest.fixture(scope="module")
def finished_files(tiny_model_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, the results of a run with two examples, and what it printed."""
    folder = tmp_path_factory.mktemp("finished")
    make_tracks(folder / "data")
    arguments = ["evaluate", folder / "data", "--split", "test", "--protocol", "si-sdr"]
    arguments += ["-n", tiny_model_files, "-o", folder / "out", "--examples", 2]
    with (
        (folder / "stdout").open("w") as stdout,
        (folder / "stderr").open("w") as stderr,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        assert run([str(argument) for argument in arguments]) == 0
    return folder


@pytest.fixture
def finished(
    finished_files: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> Command:
    """The command after that run. Model and results may be changed, the data belong to all."""
    out = Path(shutil.copytree(finished_files / "out", tmp_path / "out"))
    command = Command(tiny_model, finished_files / "data", out, capsys)
    command.stdout = (finished_files / "stdout").read_text()
    command.stderr = (finished_files / "stderr").read_text()
    return command


@pytest.fixture
def evaluate_toy(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(toy_model, make_tracks(tmp_path / "data"), tmp_path / "out", capsys)


# What comes out


def test_items_summaries_and_a_report_are_written(finished: Command) -> None:
    assert sorted(path.name for path in finished.out.iterdir()) == sorted(
        [*OUTPUTS, "examples", "items"]
    )
    assert list(finished.items()) == list(TRACKS)
    assert finished.stdout == (finished.out / "summary.md").read_text()
    for text in (finished.stdout, (finished.out / "report.html").read_text()):
        assert "SI-SDRi against the original s" in text
    assert finished.stderr == ""
    own = [score for score in finished.items()["a"]["scores"] if score["estimate"] == "lqsep"]
    assert {(s["source"], s["metric"]) for s in own} == {
        (source, metric) for source in ("drums", "bass") for metric in ("si_sdr", "si_sdri")
    }


def test_the_summary_is_that_of_the_items(finished: Command) -> None:
    values: dict[tuple[str, ...], list[float]] = {}
    for result in finished.items().values():
        for score in result["scores"]:
            key = tuple(score[name] for name in ("estimate", "source", "metric", "reference"))
            if score["value"] is not None:
                values.setdefault(key, []).append(score["value"])
    rows = {
        tuple(row[name] for name in ("estimate", "source", "metric", "reference")): row
        for row in finished.rows()
    }
    assert ("mixture/2", "bass", "si_sdr", "original") in values
    assert {key[0] for key in values} == {
        "lqsep",
        "mixture/2",
        "hpss",
        "codec",
        "oracle-mask",
        "best-of-N",
    }
    for key, known in values.items():
        assert int(rows[key]["n"]) == len(known)
        assert float(rows[key]["mean"]) == pytest.approx(np.mean(known), abs=1e-9)


def test_the_settings_are_kept(evaluate: Command) -> None:
    evaluate("--seed", 7, "--examples", 0, "--candidates", 3)
    settings = json.loads((evaluate.out / "evaluation.json").read_text())
    assert settings["protocol"] == "si-sdr"
    assert settings["model"] == "tiny"
    assert settings["seed"] == 7
    assert len(settings["codec_fingerprint"]) == 64
    assert settings["config"]["sampler"]["n_candidates"] == 3
    assert settings["dataset"]["split"] == "test"
    assert settings["versions"]["lqsep"]


def test_json_is_the_summary(finished: Command) -> None:
    finished("--json", "--examples", 0)
    document = json.loads(finished.stdout)
    assert document["protocol"] == "si-sdr"
    assert document["n_items"] == 3
    assert document["failures"] == {}
    assert len(document["rows"]) == len(finished.rows())


def test_the_report_shows_the_first_items_and_no_more(finished: Command) -> None:
    page = (finished.out / "report.html").read_text()
    assert page.count("<audio") == 2 * 5
    assert [path.name for path in sorted((finished.out / "examples").iterdir())] == [
        path.stem for path in sorted((finished.out / "items").iterdir())[:2]
    ]


def test_the_seed_decides(evaluate_toy: Command) -> None:
    # A wide likelihood, under which draws differ.
    few = (*TOY, "--tracks", 1, "--sigma", 1, "--force")
    scores = []
    for seed in (1, 1, 2):
        evaluate_toy("--seed", seed, *few)
        scores.append(evaluate_toy.items()["a"]["scores"])
    assert scores[0] == scores[1] != scores[2]


@pytest.mark.slow
def test_chunks_of_the_protocol_of_2021(evaluate: Command) -> None:
    shutil.rmtree(evaluate.data)
    make_tracks(evaluate.data, ("broken", "long"), seconds=3.2)
    path = evaluate.data / "test" / "broken" / "drums.wav"
    path.write_bytes(path.read_bytes()[:1000])
    evaluate("--no-baselines", "--examples", 0, protocol="lqvae2021", code=1)
    evaluate.has_one_failure(f"broken: cannot read {path}: ", "1 of 2 items failed: broken")
    estimates = {row["estimate"] for row in evaluate.rows()}
    assert estimates == {"lqsep", "marginal", "pair", "best-of-N"}
    [path] = (evaluate.out / "items").iterdir()
    assert json.loads(path.read_text())["duration_s"] == pytest.approx(65_536 / 22_050)


# Going on


def test_a_second_run_computes_nothing_again(finished: Command) -> None:
    times, outputs = finished.times(), [(finished.out / n).read_bytes() for n in OUTPUTS]
    finished("--examples", 2)
    assert finished.times() == times
    assert [(finished.out / name).read_bytes() for name in OUTPUTS] == outputs


def test_more_tracks_join_those_that_are_there(evaluate: Command) -> None:
    evaluate("--tracks", 1, "--examples", 0)
    [(name, time_ns)] = evaluate.times().items()
    evaluate("--examples", 0)
    assert len(evaluate.times()) == 3 and evaluate.times()[name] == time_ns
    joined = evaluate.items()
    evaluate("--tracks", 1, "--examples", 0)
    assert {row["n"] for row in evaluate.rows()} == {"1"}
    # The baselines' filters are chosen on all tracks, so that nothing depends on the first run.
    evaluate("--examples", 0, "--force")
    assert evaluate.items() == joined


def test_an_example_without_its_sounds_is_done_again(finished: Command) -> None:
    next((finished.out / "examples" / "a").iterdir()).unlink()
    before, times = finished.items(), finished.times()
    finished("--examples", 1)
    changed = [name for name, time_ns in finished.times().items() if times[name] != time_ns]
    assert len(changed) == 1
    assert finished.items() == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["--seed", 1], "seed is 0 there and 1 here"),
        (["--candidates", 5], "config.sampler.n_candidates is 2 there and 5 here"),
        (["--no-baselines"], "baselines is true there and false here"),
        (["--protocol", "museval-v4"], 'protocol is "si-sdr" there and "museval-v4" here'),
        (["--sampler", "beam"], "config.sampler.beam_width is not set there"),
    ],
)
def test_results_of_other_settings_are_refused(
    finished: Command, changes: list[str], says: str
) -> None:
    before = finished.items()
    finished.fails("--examples", 0, "--tracks", 1, *changes, code=2, says=says)
    assert "--force" in finished.stderr
    assert finished.items() == before


def test_another_model_of_the_same_name_is_refused(finished: Command) -> None:
    text = (finished.model / "model.toml").read_text().replace('version = "1"', 'version = "2"')
    (finished.model / "model.toml").write_text(text)
    finished.fails("--tracks", 1, code=2, says='config.model.version is "1" there and "2" here')


def test_force_starts_over_and_leaves_other_files(finished: Command) -> None:
    (finished.out / "mine.txt").write_text("")
    finished("--examples", 0, "--tracks", 1, "--seed", 1, "--force")
    assert len(finished.items()) == 1
    assert (finished.out / "mine.txt").exists()
    assert not (finished.out / "examples").exists()


def test_results_without_settings_are_refused(finished: Command) -> None:
    (finished.out / "evaluation.json").unlink()
    finished.fails("--force", code=2, says="holds results but no evaluation.json")
    assert len(finished.items()) == 3


def test_a_damaged_result_is_named(finished: Command) -> None:
    path = finished.out / "items" / "a.json"
    path.write_text("{")
    finished.fails("--examples", 0, "--tracks", 1, code=2, says=f"cannot read {path}")


# Several processes


@pytest.mark.slow
def test_the_numbers_do_not_depend_on_the_number_of_processes(finished: Command) -> None:
    one = finished.items(), finished.stdout.split("\n", 4)[4]
    finished("--examples", 2, "-j", 2, "--force")
    assert (finished.items(), finished.stdout.split("\n", 4)[4]) == one


def make_loud(evaluate_toy: Command, track: str, level: float) -> None:
    for source in ("drums", "bass"):
        path = evaluate_toy.data / "test" / track / f"{source}.wav"
        write_audio(path, np.full((1, 800), level, np.float32), RATE)


@pytest.mark.parametrize("leads_to", ["starve", "crash"])
def test_one_failed_item_does_not_stop_the_others(evaluate_toy: Command, leads_to: str) -> None:
    make_loud(evaluate_toy, "b", 0.99)
    evaluate_toy(*TOY, "-p", f"codec.when_loud='{leads_to}'", code=1)
    assert list(evaluate_toy.items()) == ["a", "c"]
    assert "1 of 3 items failed: " in evaluate_toy.stderr.splitlines()[-1]
    page = (evaluate_toy.out / "report.html").read_text()
    assert "1 items failed and are missing" in page
    assert {row["n"] for row in evaluate_toy.rows()} == {"2"}


def test_failed_items_do_not_stop_those_of_other_processes(evaluate_toy: Command) -> None:
    shutil.rmtree(evaluate_toy.data)
    make_tracks(evaluate_toy.data, ("a", "b", "c", "d", "e"))
    for track, level in (("a", 0.915), ("b", 0.945), ("c", 0.975)):
        make_loud(evaluate_toy, track, level)
    evaluate_toy(*TOY, "-p", "codec.when_loud='starve crash die'", "-j", 2, code=1)
    assert list(evaluate_toy.items()) == ["d", "e"]
    assert "3 of 5 items failed: " in evaluate_toy.stderr.splitlines()[-1]
    page = (evaluate_toy.out / "report.html").read_text()
    assert "3 items failed and are missing" in page
    errors = (
        "a: no joint code",
        "analyse failed: ZeroDivisionError",
        "c: its worker process ended",
    )
    assert all(error in page for error in errors)
    assert {row["n"] for row in evaluate_toy.rows()} == {"2"}


def test_failures_stand_in_the_order_of_the_items(
    evaluate_toy: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever process was done first."""
    from lqsep.cli.evaluate import command

    run_tasks = command.run_tasks

    def backwards(tasks: list[Any], *rest: Any) -> None:
        run_tasks(tasks[::-1], *rest)

    monkeypatch.setattr(command, "run_tasks", backwards)
    for track in ("a", "c"):
        make_loud(evaluate_toy, track, 0.99)
    evaluate_toy(*TOY, "-p", "codec.when_loud='starve'", "--json", code=1)
    assert list(json.loads(evaluate_toy.stdout)["failures"]) == ["a", "c"]
    assert evaluate_toy.stderr.splitlines()[-1].endswith("2 of 3 items failed: a, c")


def test_a_track_that_cannot_be_read_does_not_stop_the_others(evaluate: Command) -> None:
    path = evaluate.data / "test" / "a" / "bass.wav"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    evaluate("--examples", 0, code=1)
    evaluate.has_one_failure(
        f"a: cannot read {path}: the file is cut short", "1 of 3 items failed: a"
    )
    assert list(evaluate.items()) == ["b", "c"]
    path.write_bytes(whole)
    times = evaluate.times()
    evaluate("--examples", 0)
    assert list(evaluate.items()) == ["a", "b", "c"]
    assert times.items() < evaluate.times().items()


@pytest.mark.parametrize(
    ("package", "says"),
    [("jinja2", "the report needs jinja2"), ("matplotlib", "the examples of the report need")],
)
def test_what_the_report_needs_is_asked_for_before_the_work(
    evaluate: Command, monkeypatch: pytest.MonkeyPatch, package: str, says: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    evaluate.fails(code=2, says=f"lqsep: error: {says}")
    assert "pip install 'lqsep[eval]'" in evaluate.stderr
    assert not evaluate.out.exists()


def test_when_no_track_can_be_read_there_is_one_line(evaluate: Command) -> None:
    for path in evaluate.data.rglob("bass.wav"):
        path.write_bytes(path.read_bytes()[:100])
    evaluate(code=1)
    assert "error: all 3 items failed; the first, a: " in evaluate.stderr.splitlines()[-1]
    assert not evaluate.out.exists() or not list(evaluate.out.iterdir())


def test_when_all_items_fail_there_is_no_summary(evaluate_toy: Command) -> None:
    for path in evaluate_toy.data.rglob("*.wav"):
        write_audio(path, np.full((1, 800), 0.99, np.float32), RATE)
    evaluate_toy(*TOY, "-p", "codec.when_loud='starve'", code=1)
    assert "all 3 items failed" in evaluate_toy.stderr
    assert evaluate_toy.stdout == ""
    assert not (evaluate_toy.out / "summary.csv").exists()


# Interruptions


@pytest.fixture
def start(evaluate_toy: Command) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Runs the command in a process and group of its own, where a track takes over a second."""
    delay = {"LQSEP_TOYS_DELAY_S": "0.003"}  # 200 frames of two sources
    started: list[subprocess.Popen[str]] = []

    def run_apart(*more: object) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "lqsep", *evaluate_toy.arguments(*more)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, **delay},
        )
        started.append(process)
        return process

    yield run_apart
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 143)]
)
def test_after_an_interruption_a_run_goes_on(
    evaluate_toy: Command,
    start: Callable[..., "subprocess.Popen[str]"],
    number: signal.Signals,
    code: int,
    jobs: int,
) -> None:
    process = start(*TOY, "-j", jobs)
    wait_for(lambda: len(evaluate_toy.times()) >= 1)
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    _, error = process.communicate(timeout=600)
    assert process.returncode == code
    assert "Traceback" not in error
    done = evaluate_toy.times()
    assert 1 <= len(done) < len(TRACKS)
    for name in done:  # whole, each of them
        json.loads((evaluate_toy.out / "items" / name).read_text())
    assert not (evaluate_toy.out / "summary.csv").exists()

    evaluate_toy(*TOY)
    after = evaluate_toy.times()
    assert {name: after[name] for name in done} == done
    gone_on = evaluate_toy.items()
    shutil.rmtree(evaluate_toy.out)
    evaluate_toy(*TOY)
    assert evaluate_toy.items() == gone_on


# Mistakes


def test_a_source_that_the_data_lack_is_named(evaluate: Command) -> None:
    for path in evaluate.data.rglob("bass.wav"):
        path.rename(path.with_name("vocals.wav"))
    evaluate.fails(code=2, says="bass")
    assert "vocals" in evaluate.stderr


def test_more_sources_than_the_model_knows_do_no_harm(evaluate: Command) -> None:
    evaluate("--examples", 0)
    expected = evaluate.items()
    for path in evaluate.data.rglob("bass.wav"):
        shutil.copy(path, path.with_name("vocals.wav"))
    evaluate("--examples", 0, "--force")
    assert evaluate.items() == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--split", "tset"], "no split 'tset'"),
        (["--dataset", "track-folder"], "did you mean 'track-folders'?"),
        (["--dataset", "synthetic"], "data set 'synthetic' has no setting root"),
        (["-p", "dataset.colour=1"], "data set 'track-folders': colour"),
        (["--sampler", "beem"], "did you mean 'beam'?"),
        (["--device", "cuda:99"], "not available"),
        (["--name", "", "--tracks", "1"], "must not be empty"),
    ],
)
def test_mistakes_are_one_line(evaluate: Command, arguments: list[str], says: str) -> None:
    evaluate.fails(*arguments, code=2, says=says)
    assert not (evaluate.out / "items").exists()


def test_an_unknown_protocol_is_a_usage_error(evaluate: Command) -> None:
    evaluate(protocol="sdr", code=2)
    assert "'lqvae2021', 'museval-v4', 'si-sdr', 'track-sdr'" in evaluate.stderr


def test_damaged_weights_are_exit_code_3(evaluate: Command) -> None:
    with (evaluate.model / "codec.safetensors").open("ab") as file:
        file.write(b"x")
    evaluate.fails(code=3, says="is not the file its model.toml describes")


def test_settings_of_the_data_set_are_its_own(evaluate: Command) -> None:
    stems = evaluate.data.with_name("stems")
    for path in evaluate.data.rglob("*.wav"):
        target = stems / path.stem / "test" / f"{path.parent.name}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    evaluate("--examples", 0)
    expected = evaluate.items()
    evaluate.data, evaluate.out = stems, evaluate.out.with_name("other")
    evaluate("--examples", 0, "--dataset", "stem-folders")
    assert evaluate.items() == expected
    evaluate.fails(
        "--dataset", "stem-folders", "-p", "dataset.sources=['drums']", "--force", code=2,
        says="expected recordings of drums, bass, found drums",
    )  # fmt: skip
