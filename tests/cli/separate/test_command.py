"""``lqsep separate``: inputs, outputs, flags, failures, several processes, interruptions."""

import hashlib
import json
import os
import re
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
from lqsep.core.audio.files import audio_info, read_audio, write_audio
from lqsep.core.files import staging

RATE = 8000
GAINS = {"drums": 0.8, "bass": 0.2}

# PCM 16 rounds to 1 / 32768.
STEP = 1 / 32768


def example(n_frames: int = 300, seed: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """A mixture that the toy model explains by one pair of codes per frame, and its stems."""
    generator = np.random.default_rng(seed)
    levels = np.array([0.0, 0.1, 0.35])
    stems = {
        name: (levels[generator.integers(0, 3, (1, n_frames))] * gain)
        .repeat(4, 1)
        .astype(np.float32)
        for name, gain in GAINS.items()
    }
    return np.sum(list(stems.values()), 0), stems


def noise(n_samples: int, channels: int = 1, seed: int = 0, scale: float = 0.1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(channels, n_samples)) * scale).clip(-1, 1).astype(np.float32)


class Command:
    """Runs ``lqsep separate`` on the toy model, with a folder for the results."""

    def __init__(self, model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.model, self.folder, self._capsys = model, folder, capsys
        self.out = folder / "out"
        self.results = self.out / "toy"
        self.stdout = self.stderr = ""

    def __call__(self, *arguments: object, code: int = 0) -> "Command":
        self._capsys.readouterr()
        found = run(["separate", "-n", str(self.model), "-o", str(self.out), *map(str, arguments)])
        self.stdout, self.stderr = self._capsys.readouterr()
        assert found == code, self.stderr
        return self

    def document(self) -> dict[str, Any]:
        found = json.loads(self.stdout)
        assert isinstance(found, dict)
        return found

    def write(self, name: str, wave: np.ndarray, rate: int = RATE, **options: Any) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_audio(path, wave, rate, **options)
        return path

    def stem(self, track: str, name: str) -> np.ndarray:
        return np.asarray(read_audio(self.results / track / f"{name}.wav")[0])

    def files(self) -> list[str]:
        """Everything below the output folder, hidden files included."""
        return sorted(
            str(path.relative_to(self.out)) for path in self.out.rglob("*") if path.is_file()
        )


@pytest.fixture
def separate(toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(toy_model, tmp_path, capsys)


TRACK = ["bass.wav", "drums.wav", "lqsep.json"]


# What comes out


def test_the_stems_are_the_true_ones_in_the_expected_places(separate: Command) -> None:
    mixture, stems = example()
    separate(separate.write("mix.wav", mixture, subtype="FLOAT"))
    assert separate.files() == [f"toy/mix/{name}" for name in TRACK]
    for name, truth in stems.items():
        # sigma 0.001 against sums that differ by 0.01 at least: every frame is right but for
        # one in 10^5; rounding adds half a step.
        error = np.abs(separate.stem("mix", name) - truth)
        assert np.mean(error <= STEP) > 0.99


def test_the_report_says_what_was_done(separate: Command) -> None:
    mixture, _ = example()
    path = separate.write("mix.wav", mixture)
    separate(path, "--seed", 7)
    report = json.loads((separate.results / "mix" / "lqsep.json").read_text())
    assert report["schema_version"] == 2
    assert report["model"] == "toy"
    assert report["seed"] == 7
    assert report["sources"] == ["drums", "bass"]
    assert report["input"]["n_samples"] == mixture.shape[1]
    assert report["path"] == str(path)
    assert report["files"] == {"drums": "drums.wav", "bass": "bass.wav"}
    content = path.read_bytes()
    assert report["files_read"] == [
        {"path": str(path), "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    ]
    assert report["settings"]["start_s"] == 0 and report["settings"]["stems"] == ["drums", "bass"]
    assert report["clipped"] == {"drums": 0, "bass": 0}
    assert report["config"]["sampler"]["n_candidates"] == 4
    assert report["output"] == {
        "format": "wav", "subtype": "PCM_16", "clip_mode": "none", "scale": 1.0
    }  # fmt: skip


def test_results_are_a_line_per_track_on_stdout_and_how_they_look(separate: Command) -> None:
    mixture, stems = example()
    separate(separate.write("mix.wav", mixture))
    first, second = separate.stdout.splitlines()
    assert first.startswith(f"mix: drums, bass in {separate.results / 'mix'} (")
    energies = {name: float(np.square(stem).sum()) for name, stem in stems.items()}
    share = 100 * energies["drums"] / sum(energies.values())
    assert second == f"  drums holds {share:.0f} % and bass holds {100 - share:.2g} % of the energy"
    assert separate.stderr == ""


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("n_samples", [1, 2, 1001])
def test_stems_have_the_inputs_rate_channels_and_length(
    separate: Command, rate: int, channels: int, n_samples: int
) -> None:
    separate(separate.write("mix.wav", noise(n_samples, channels), rate), "-p", "refiners=[]")
    for name in GAINS:
        info = audio_info(separate.results / "mix" / f"{name}.wav")
        assert (info.sample_rate, info.channels, info.n_samples) == (rate, channels, n_samples)
        assert info.subtype == "PCM_16"


@pytest.mark.parametrize("ending", ["wav", "flac", "ogg", "mp3"])
def test_reads_every_format(separate: Command, ending: str) -> None:
    separate(separate.write(f"mix.{ending}", noise(2000), 16000))
    assert separate.files() == [f"toy/mix/{name}" for name in TRACK]


@pytest.mark.parametrize(
    ("flags", "ending", "subtype"),
    [
        (["--float32"], "wav", "FLOAT"),
        (["--int24"], "wav", "PCM_24"),
        (["--format", "flac"], "flac", "PCM_16"),
        (["--format", "flac", "--int24"], "flac", "PCM_24"),
        (["--format", "ogg"], "ogg", "VORBIS"),
        (["--format", "mp3"], "mp3", "MPEG_LAYER_III"),
    ],
)
def test_writes_every_format(
    separate: Command, flags: list[str], ending: str, subtype: str
) -> None:
    separate(separate.write("mix.wav", noise(2000), 16000), *flags)
    info = audio_info(separate.results / "mix" / f"drums.{ending}")
    assert (info.subtype, info.sample_rate) == (subtype, 16000)


@pytest.mark.parametrize(
    "flags",
    [
        ["--float32", "--int24"],
        ["--format", "flac", "--float32"],
        ["--format", "mp3", "--int24"],
        ["--format", "ogg", "--float32"],
        ["--format", "m4a"],
    ],
)
def test_impossible_formats_are_refused_before_the_work(
    separate: Command, flags: list[str]
) -> None:
    separate(separate.write("mix.wav", noise(400)), *flags, code=2)
    assert separate.files() == []


def test_some_stems_only(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    separate(path, "--stems", "bass")
    assert separate.files() == ["toy/mix/bass.wav", "toy/mix/lqsep.json"]


@pytest.mark.parametrize(
    ("stems", "message"),
    [
        ("bas", "did you mean 'bass'?"),
        ("drums,vocals", "no source named 'vocals'"),
        (" , ", "no so"),
    ],
)
def test_unknown_stems_are_refused(separate: Command, stems: str, message: str) -> None:
    separate(separate.write("mix.wav", noise(400)), "--stems", stems, code=2)
    assert message in separate.stderr


def test_the_residual_and_all_stems_sum_to_the_mixture(separate: Command) -> None:
    mixture = noise(1001, 2)
    path = separate.write("mix.wav", mixture, subtype="FLOAT")
    separate(path, "--residual", "--float32")
    parts = [separate.stem("mix", name) for name in ("drums", "bass", "residual")]
    # float32 sums of numbers below 1
    assert np.abs(np.sum(parts, 0) - mixture).max() < 1e-6
    assert np.abs(parts[2]).max() > 0.01
    separate(path, "--residual", "--float32", "--stems", "drums", "-o", separate.folder / "some")
    alone = read_audio(separate.folder / "some" / "toy" / "mix" / "residual.wav")[0]
    assert np.array_equal(alone, parts[2])


def test_clipping_warns(separate: Command) -> None:
    path = separate.write("mix.wav", np.full((1, 400), 0.99, np.float32))
    flags = ["-p", "codec.levels=[0.0, 1.25]", "--gain", "drums=1"]
    separate(path, *flags)
    assert "drums has " in separate.stderr
    assert "beyond full scale (peak 1.250), which were clipped" in separate.stderr
    report = json.loads((separate.results / "mix" / "lqsep.json").read_text())
    assert report["clipped"]["drums"] > 0
    assert any("beyond full scale" in warning for warning in report["warnings"])
    separate(path, *flags, "--float32")
    assert separate.stderr == ""
    assert separate.stem("mix", "drums").max() == 1.25


def test_rescaling_uses_one_factor_for_all_files_and_says_so(separate: Command) -> None:
    mixture = np.repeat([[0.99, 0.25]], 200, 1).astype(np.float32)  # drums, then bass
    path = separate.write("mix.wav", mixture)
    flags = ["-p", "codec.levels=[0.0, 1.25]", "--gain", "drums=1", "--float32"]
    separate(path, *flags)
    plain = {name: separate.stem("mix", name) for name in GAINS}
    separate(path, *flags, "--clip-mode", "rescale")
    for name in GAINS:
        assert plain[name].max() > 0
        # one float32 multiplication
        assert np.allclose(separate.stem("mix", name), plain[name] / 1.25, atol=1e-6)
    assert "multiplied by 0.8000" in separate.stderr
    report = json.loads((separate.results / "mix" / "lqsep.json").read_text())
    assert report["output"]["scale"] == pytest.approx(0.8)


# Part of a file


def test_start_and_duration_cut_to_the_sample(separate: Command) -> None:
    mixture, stems = example(n_frames=2000)
    path = separate.write("mix.wav", mixture, subtype="FLOAT")
    separate(path, "--start", 0.1, "--duration", 0.30007, "--float32")
    found = separate.stem("mix", "drums")
    assert found.shape == (1, round(0.30007 * RATE))
    truth = stems["drums"][:, 800 : 800 + found.shape[1]]
    assert np.mean(np.abs(found - truth) < 1e-6) > 0.99
    report = json.loads((separate.results / "mix" / "lqsep.json").read_text())
    assert report["start_s"] == 0.1


def test_a_duration_beyond_the_end_stops_there(separate: Command) -> None:
    separate(separate.write("mix.wav", noise(800)), "--start", 0.05, "--duration", 99)
    assert separate.stem("mix", "drums").shape == (1, 400)


def test_a_start_beyond_the_end_is_an_error(separate: Command) -> None:
    separate(separate.write("mix.wav", noise(800)), "--start", 0.1, code=1)
    assert "no samples from 0.1 s" in separate.stderr
    assert separate.files() == []


@pytest.mark.parametrize(
    "flags",
    [
        ["--start", "-1"],
        ["--start", "nan"],
        ["--duration", "0"],
        ["--duration", "inf"],
        ["--segment", "0"],
        ["--overlap", "1"],
        ["--seed", "-1"],
        ["--jobs", "0"],
        ["--candidates", "0"],
        ["--sigma", "0"],
    ],
    ids=" ".join,
)
def test_impossible_numbers_are_usage_errors(separate: Command, flags: list[str]) -> None:
    separate(separate.write("mix.wav", noise(400)), *flags, code=2)
    assert separate.stderr.count("\n") == 1


# Which inputs


def test_folders_are_searched_and_mirrored(separate: Command) -> None:
    for name in ("in/b.wav", "in/a/b.flac", "in/a/C.WAV", "in/.hidden/x.wav", "in/.x.wav"):
        separate.write(name, noise(40))
    (separate.folder / "in" / "notes.txt").write_text("no audio")
    separate(separate.folder / "in")
    tracks = {str(Path(*Path(name).parts[1:-1])) for name in separate.files()}
    assert tracks == {"b", "a/b", "a/C"}


def test_albums_with_tracks_of_one_name_keep_apart_as_they_grow(separate: Command) -> None:
    """Neither counts as the other, and no name changes when another file comes."""
    for album in ("one", "two"):
        separate.write(f"in/{album}/Track 01.wav", noise(40, seed=len(album)))
        separate(separate.folder / "in", "--skip-existing", "--json")
        names = [track["track"] for track in separate.document()["tracks"]]
    assert sorted(names) == ["one/Track 01", "two/Track 01"]
    assert separate.document()["counts"] == {"done": 1, "skipped": 1, "failed": 0}
    separate.write("in/a/Track 01.wav", noise(40, seed=9))
    separate(separate.folder / "in", "--skip-existing", "--json")
    assert separate.document()["counts"] == {"done": 1, "skipped": 2, "failed": 0}


def test_globs_and_files_given_twice(separate: Command) -> None:
    for name in ("in/a.wav", "in/b.wav", "in/deep/c.wav", "in/d.txt"):
        separate.write(name, noise(40), format="wav")
    separate(separate.folder / "in" / "*", separate.folder / "in" / "a.wav", "--json")
    assert [track["track"] for track in separate.document()["tracks"]] == ["a", "b", "d", "c"]
    separate(separate.folder / "in" / "**" / "*.wav", "--json", "--skip-existing")
    assert separate.document()["counts"] == {"done": 0, "skipped": 3, "failed": 0}


def test_a_file_whose_name_looks_like_a_glob(separate: Command) -> None:
    separate(separate.write("mix [live].wav", noise(40)))
    assert separate.files() == [f"toy/mix [live]/{name}" for name in TRACK]


def test_files_of_one_name_are_called_by_their_folders_or_endings(separate: Command) -> None:
    paths = [separate.write(f"{n}/{name}.wav", noise(40)) for n, name in
             enumerate(("mix", "mix", "other", "MIX"))]  # fmt: skip
    paths += [separate.write(f"song.{ending}", noise(400)) for ending in ("wav", "flac")]
    separate(*paths, "--json")
    names = [track["track"] for track in separate.document()["tracks"]]
    assert names == ["0/mix", "1/mix", "other", "3/MIX", "song.wav", "song.flac"]


def test_results_of_an_earlier_run_are_no_inputs(separate: Command) -> None:
    separate.write("mix.wav", noise(40))
    (separate.model.parent).rename(separate.folder.parent / f"{separate.folder.name}-models")
    separate.model = separate.folder.parent / f"{separate.folder.name}-models" / "toy"
    for _ in range(2):
        separate(separate.folder, "--json")
        assert [track["track"] for track in separate.document()["tracks"]] == ["mix"]
    separate(separate.folder, "--json", "-o", separate.folder / "other")
    assert [track["track"] for track in separate.document()["tracks"]] == ["mix"]


@pytest.mark.parametrize("name", ["...wav", "..wav"])
def test_a_track_cannot_lead_out_of_the_output_folder(separate: Command, name: str) -> None:
    separate(separate.write(name, noise(40), format="wav"))
    assert all(file.startswith("toy/") for file in separate.files())
    assert len(separate.files()) == 3


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.wav", "no such file"),
        ("missing*.wav", "no audio files match"),
        ("empty", "no audio files in folder"),
        ("text.wav", "not a readable audio file"),
        ("cut.wav", "cut short"),
        ("silent.wav", "no samples"),
    ],
)
def test_one_failing_input_does_not_stop_the_others(
    separate: Command, name: str, message: str
) -> None:
    (separate.folder / "empty").mkdir()
    (separate.folder / "text.wav").write_text("this is no audio")
    whole = separate.write("whole.wav", noise(400)).read_bytes()
    (separate.folder / "cut.wav").write_bytes(whole[:500])
    import soundfile

    soundfile.write(separate.folder / "silent.wav", np.zeros((0, 1)), RATE)
    good = separate.write("good.wav", noise(40))
    bad = separate.folder / name
    separate(bad, good, code=1)
    assert separate.files() == [f"toy/good/{name}" for name in TRACK]
    assert message in separate.stderr
    assert f"1 of 2 inputs failed: {bad}" in separate.stderr
    assert separate.stdout.startswith("good: ")
    separate(bad, code=1)
    assert "1 of 1 inputs failed" in separate.stderr


def test_inputs_are_checked_before_the_model_is_loaded(separate: Command) -> None:
    broken = ["--prior", "bass=ngram"]  # there are no weights for it
    separate(separate.folder / "missing.wav", *broken, code=1)
    assert "no such file" in separate.stderr
    separate(separate.write("mix.wav", noise(40)), *broken, code=3)


def test_no_input_is_a_usage_error(separate: Command) -> None:
    separate(code=2)
    assert "INPUT" in separate.stderr


# Names of files


def test_the_template_decides_the_names(separate: Command) -> None:
    template = "{stem}/{track} - {stem}.{ext}"
    separate(separate.write("mix.wav", noise(40)), "--filename", template, "--format", "flac")
    assert separate.files() == [
        "toy/bass/mix - bass.flac",
        "toy/drums/mix - drums.flac",
        "toy/mix/lqsep.json",
    ]
    report = json.loads((separate.results / "mix" / "lqsep.json").read_text())
    assert report["files"]["bass"] == "../bass/mix - bass.flac"


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{track}/{stam}.{ext}", "did you mean 'stem'?"),
        ("{track}/{}.{ext}", "unknown field"),
        ("{track}/{0}.{ext}", "unknown field"),
        ("{track.__class__}/{stem}.{ext}", "unknown field"),
        ("{track}/{stem!r}.{ext}", "no format or conversion"),
        ("{track}/{stem:>9}.{ext}", "no format or conversion"),
        ("{track}/{stem.{ext}", "cannot use the file name template"),
        ("{track}.{ext}", "without {stem}"),
        ("../{track}/{stem}.{ext}", "must stay below the output folder"),
        ("{track}/../../{stem}.{ext}", "must stay below the output folder"),
        ("/tmp/{track}/{stem}.{ext}", "must stay below the output folder"),
        ("{track}/{stem}", "must end in .{ext}"),
        ("{track}/{stem}.mp3", "must end in .{ext}"),
    ],
)
def test_a_wrong_template_is_refused_before_the_work(
    separate: Command, template: str, message: str
) -> None:
    separate(separate.write("mix.wav", noise(40)), "--filename", template, code=2)
    assert message in separate.stderr
    assert separate.files() == []


def test_a_template_without_track_is_refused_for_several_tracks(separate: Command) -> None:
    paths = [separate.write(f"{name}.wav", noise(40)) for name in "ab"]
    separate(paths[0], "--filename", "{stem}.{ext}")
    separate(*paths, "--filename", "{stem}.{ext}", code=2)
    assert "a/drums and b/drums would both be" in separate.stderr


def test_an_input_is_never_replaced(separate: Command) -> None:
    path = separate.write("out/toy/drums.wav", noise(40))
    before = path.read_bytes()
    separate(path, "--filename", "{stem}.{ext}", code=2)
    assert "is an input and would be replaced by the stem drums" in separate.stderr
    assert path.read_bytes() == before


# The output folder


def test_an_output_folder_that_is_a_file_is_refused_before_the_work(separate: Command) -> None:
    separate.out.write_text("in the way")
    separate(separate.write("mix.wav", noise(40)), code=2)
    assert "cannot write to the output folder" in separate.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_read_only_output_folder_is_refused_before_the_work(separate: Command) -> None:
    separate.out.mkdir(mode=0o500)
    separate(separate.write("mix.wav", noise(40)), code=2)
    assert "cannot write to the output folder" in separate.stderr


def test_a_failed_track_leaves_nothing_behind(separate: Command) -> None:
    loud = separate.write("loud.wav", noise(4000, scale=1.0))
    separate(loud, "-p", "codec.when_loud='starve'", code=1)
    assert "no joint code explains frame 0" in separate.stderr
    assert "Traceback" not in separate.stderr
    assert not separate.out.exists()


def test_an_unexpected_failure_is_its_components_and_the_others_go_on(
    separate: Command,
) -> None:
    loud = separate.write("loud.wav", noise(400, scale=1.0))
    quiet = separate.write("quiet.wav", noise(40))
    separate(loud, quiet, "-p", "codec.when_loud='crash'", code=1)
    assert "analyse failed: ZeroDivisionError: a bug in a plugin" in separate.stderr
    assert "Traceback" not in separate.stderr
    assert separate.files() == [f"toy/quiet/{name}" for name in TRACK]


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_pipeline_that_does_not_fit_stops_everything(separate: Command, jobs: int) -> None:
    paths = [separate.write(f"{name}.wav", noise(400, scale=1.0)) for name in "abc"]
    separate(*paths, "-p", "codec.when_loud='misfit'", "-j", jobs, code=2)
    assert separate.stderr == "lqsep: error: these do not fit\n"


@pytest.mark.parametrize(
    ("template", "name"),
    [
        ("{track}/lqsep.json/{stem}.{ext}", "lqsep.json"),
        ("{track}/LQSEP.json/deep/{stem}.{ext}", "LQSEP.json"),
        ("{track}/candidates.npz/{stem}.{ext}", "candidates.npz"),
    ],
)
def test_a_template_by_which_a_file_would_be_a_folder(
    separate: Command, template: str, name: str
) -> None:
    path = separate.write("mix.wav", noise(40))
    separate(path, "--filename", template, "--save-candidates", 1, code=2)
    assert f"{separate.results}/mix/{name} would be a file and a folder" in separate.stderr
    assert separate.stderr.count("\n") == 1
    assert not separate.out.exists()


def test_skip_existing_skips_what_is_complete(separate: Command) -> None:
    a, b = (separate.write(f"{name}.wav", noise(400)) for name in "ab")
    separate(a, b)
    before = (separate.results / "a" / "drums.wav").stat().st_mtime_ns
    (separate.results / "b" / "bass.wav").unlink()
    separate(a, b, "--skip-existing", "--json")
    statuses = {track["track"]: track["status"] for track in separate.document()["tracks"]}
    assert statuses == {"a": "skipped", "b": "done"}
    assert (separate.results / "a" / "drums.wav").stat().st_mtime_ns == before
    (separate.results / "a" / "lqsep.json").unlink()
    separate(a, b, "--skip-existing", "--json", code=1)  # whose are these stems?
    assert separate.document()["counts"] == {"done": 0, "skipped": 1, "failed": 1}
    assert "which is not described by a lqsep.json" in separate.stderr
    separate(a, b, "--skip-existing", "--overwrite", "--json")
    assert separate.document()["counts"] == {"done": 1, "skipped": 1, "failed": 0}
    separate(a, b, "--skip-existing", "--residual", "--json")
    assert separate.document()["counts"]["done"] == 2
    separate(a, b, "--json")
    assert separate.document()["counts"]["done"] == 2


@pytest.mark.parametrize(
    "flags",
    [
        ["--seed", 1],
        ["--sampler", "beam"],
        ["--candidates", 2],
        ["--gain", "drums=0.7"],
        ["--start", 0.01],
        ["--duration", 0.02],
        ["--float32"],
        ["--clip-mode", "clamp"],
        ["-p", "pipeline.prime=false"],
        ["--stems", "drums"],
    ],
    ids=lambda flags: str(flags[0]),
)
def test_other_settings_are_not_skipped(separate: Command, flags: list[object]) -> None:
    path = separate.write("mix.wav", noise(400))
    separate(path)
    separate(path, "--skip-existing", *flags, "--json")
    assert separate.document()["counts"]["done"] == 1
    separate(path, "--skip-existing", *flags, "--json")
    assert separate.document()["counts"]["skipped"] == 1


def test_another_content_is_not_skipped(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    separate(path)
    separate.write("mix.wav", noise(400, seed=1))  # of the same size
    separate(path, "--skip-existing", "--json")
    assert separate.document()["counts"]["done"] == 1


def test_results_of_another_input_are_not_replaced(separate: Command) -> None:
    first, second = (separate.write(f"{n}/mix.wav", noise(400, seed=n)) for n in range(2))
    separate(first)
    before = separate.stem("mix", "drums")
    separate(second, code=1)
    assert f"its results would replace the results of {first} in " in separate.stderr
    assert "--overwrite" in separate.stderr
    assert np.array_equal(separate.stem("mix", "drums"), before)
    separate(second, "--overwrite")
    assert not np.array_equal(separate.stem("mix", "drums"), before)
    # The same file under another name is the same input.
    separate(second.rename(separate.folder / "mix.wav"))


def test_a_file_that_is_no_result_is_not_replaced(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    own = separate.results / "mix" / "drums.wav"
    own.parent.mkdir(parents=True)
    own.write_text("mine")
    separate(path, code=1)
    assert "drums.wav, which is not described by a lqsep.json" in separate.stderr
    assert own.read_text() == "mine"


def test_everything_but_a_stem(separate: Command) -> None:
    mixture = noise(1001, 2)
    path = separate.write("mix.wav", mixture, subtype="FLOAT")
    separate(path, "--stems", "drums", "--complement", "--float32")
    names = ("drums.wav", "lqsep.json", "no_drums.wav")
    assert separate.files() == [f"toy/mix/{name}" for name in names]
    parts = [separate.stem("mix", name) for name in ("drums", "no_drums")]
    assert np.abs(np.sum(parts, 0) - mixture).max() < 1e-6  # float32 sums of numbers below 1
    separate(path, "--two-stems", "drums", "--float32", "--skip-existing", "--json")
    assert separate.document()["counts"]["skipped"] == 1
    separate(path, "--complement", code=2)
    assert "--complement needs --stems" in separate.stderr
    separate(path, "--two-stems", "drums,bass", code=2)
    separate(path, "--two-stems", "drums", "--stems", "bass", code=2)


def test_a_residual_of_nothing_says_so(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    separate(path, "--residual", "--refiner", "consistency")
    assert "the residual is silent, since the stems sum to the mixture" in separate.stderr


# Results for programs


def test_json_is_one_document_on_stdout(separate: Command) -> None:
    good = separate.write("good.wav", noise(800))
    separate(good, separate.folder / "missing.wav", "--json", code=1)
    document = separate.document()
    assert document["model"] == "toy"
    assert document["output"] == str(separate.results)
    assert document["counts"] == {"done": 1, "skipped": 0, "failed": 1}
    tracks = {track["track"]: track for track in document["tracks"]}
    done, failed = tracks["good"], tracks["missing"]
    assert done["status"] == "done"
    assert done["files"]["drums"] == str(separate.results / "good" / "drums.wav")
    assert done["report"] == str(separate.results / "good" / "lqsep.json")
    assert done["duration_s"] == pytest.approx(0.1)
    assert failed["status"] == "failed"
    assert "no such file" in failed["error"]


# Changing the pipeline


def report_config(separate: Command) -> dict[str, Any]:
    config = json.loads((separate.results / "mix" / "lqsep.json").read_text())["config"]
    assert isinstance(config, dict)
    return config


def test_components_are_replaced_with_their_defaults(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    separate(
        path, "--sampler", "beam", "--selector", "mean", "--refiner", "consistency",
        "--candidates", 3, "--sigma", 0.5, "--gain", "bass=0.7", "--segment", 0.2,
        "--overlap", 0.25, "--prior", "bass=markov", "-p", "sources.drums.prior.seed=9",
        "--codec", "adding", "--likelihood", "lqsep-toys:adding",
    )  # fmt: skip
    config = report_config(separate)
    assert config["sampler"]["type"] == "beam"
    assert config["sampler"]["beam_width"] == 3
    assert config["selector"]["type"] == "mean"
    assert [refiner["type"] for refiner in config["refiners"]] == ["consistency"]
    # the full name of the component that is there already: kept
    assert config["likelihood"] == {"type": "adding", "sigma": 0.5}
    assert config["sources"]["bass"]["gain"] == 0.7
    assert config["sources"]["bass"]["prior"]["seed"] == 2  # the type is unchanged: kept
    assert config["sources"]["drums"]["prior"]["seed"] == 9
    assert (config["pipeline"]["segment"], config["pipeline"]["overlap"]) == (0.2, 0.25)


def test_an_unchanged_type_keeps_its_settings(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    separate(path, "--sampler", "ancestral")
    assert report_config(separate)["sampler"]["n_candidates"] == 4
    separate(path, "--sampler", "ancestral", "--candidates", 2)
    assert report_config(separate)["sampler"]["n_candidates"] == 2


def test_refiners_in_order_or_none(separate: Command) -> None:
    path = separate.write("mix.wav", noise(400))
    with (separate.model / "model.toml").open("a") as file:
        file.write('[[refiners]]\ntype = "consistency"\nshare = "energy"\n')
    separate(path, "--refiner", "wiener", "--refiner", "consistency")
    refiners = report_config(separate)["refiners"]
    assert [refiner["type"] for refiner in refiners] == ["wiener", "consistency"]
    assert refiners[1]["share"] == "energy"
    separate(path, "--refiner", "none")
    assert report_config(separate)["refiners"] == []
    separate(path, "--refiner", "none", "--refiner", "wiener", code=2)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--sampler", "beem"], "did you mean 'beam'?"),
        (["--refiner", "winer"], "did you mean 'wiener'?"),
        (["--prior", "bas=markov"], "no source named 'bas'; did you mean 'bass'?"),
        (["--prior", "bass=mark"], "did you mean 'markov'?"),
        (["--prior", "bass"], "not of the form SOURCE=VALUE"),
        (["--gain", "bass=loud"], "expected a number above 0"),
        (["--gain", "bass=-1"], "expected a number above 0"),
        (["--gain", "vocals=1"], "no source named 'vocals'"),
        (["--likelihood", "adding", "--selector", "best", "-p", "selector.x=1"], "selector.x: unk"),
        (["-p", "sampler"], "not of the form section.key=value"),
        (["-p", "sampler.n_candidates=many"], "sampler.n_candidates"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--device", "cuda:99"], "device 'cuda:99' is not available"),
    ],
)
def test_wrong_choices_are_one_line_and_exit_code_2(
    separate: Command, flags: list[str], message: str
) -> None:
    separate(separate.write("mix.wav", noise(40)), *flags, code=2)
    assert message in separate.stderr
    assert separate.stderr.count("\n") == 1
    assert separate.files() == []


def test_a_flag_for_a_setting_that_the_component_lacks(
    separate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    import lqsep_toys

    monkeypatch.setattr(lqsep_toys, "LikelihoodConfig", lqsep_toys.PriorConfig)
    separate(separate.write("mix.wav", noise(40)), "--sigma", 1, code=2)
    assert "sigma: likelihood 'adding' has no setting sigma" in separate.stderr


def test_a_configuration_file_names_the_output_folder(separate: Command) -> None:
    config = separate.folder / "my-pipeline.toml"
    config.write_text((separate.model / "model.toml").read_text())
    path = separate.write("mix.wav", noise(40))
    assert run(["separate", str(path), "--config", str(config), "-o", str(separate.out)]) == 0
    assert separate.files() == [f"my-pipeline/mix/{name}" for name in TRACK]
    separate(path, "--config", config, code=2)
    assert "not both" in separate.stderr


def test_an_unknown_model_is_exit_code_3(separate: Command) -> None:
    path = separate.write("mix.wav", noise(40))
    separate(path, "-n", "no-such-model", code=3)
    assert "no model named 'no-such-model'" in separate.stderr


# Randomness, processes


def stems_of(separate: Command, tracks: str) -> dict[str, bytes]:
    return {
        f"{track}/{name}": (separate.results / track / f"{name}.wav").read_bytes()
        for track in tracks
        for name in GAINS
    }


@pytest.mark.slow
def test_the_same_seed_gives_the_same_stems_whatever_jobs_and_order(separate: Command) -> None:
    paths = [separate.write(f"{name}.wav", noise(3000, seed=n)) for n, name in enumerate("abc")]
    flags = ["--sigma", 0.2, "--seed", 5]
    separate(*paths, *flags)
    first = stems_of(separate, "abc")
    separate(*reversed(paths), *flags, "-j", 2)
    assert stems_of(separate, "abc") == first
    assert set(re.findall("^([^ ]+):", separate.stdout, re.MULTILINE)) == set("abc")
    separate(*paths, "--sigma", 0.2, "--seed", 6)
    assert stems_of(separate, "abc") != first


def test_what_a_killed_command_has_left_goes_with_the_next_that_skips(
    separate: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = separate.write("mix.wav", noise(40))
    separate(path)
    folder = separate.out / "toy" / "mix"
    left = folder / f"{staging.PREFIX}left"
    left.mkdir()
    # As it lies there when its writer, and with it the lock, is gone.
    (left / staging._OWNER).write_bytes(staging._MARK)
    (left / "drums.wav").write_bytes(b"half")
    monkeypatch.setattr(staging, "_swept", set())
    separate(path, "--skip-existing", "--json")
    assert separate.document()["counts"]["skipped"] == 1
    assert not left.exists()


@pytest.mark.slow
def test_failures_in_a_worker_stay_with_their_track(separate: Command) -> None:
    paths = [
        separate.write(f"{name}.wav", noise(400, scale=scale))
        for name, scale in (("a", 0.1), ("loud", 1.0), ("b", 0.1), ("c", 0.1))
    ]
    separate(*paths, "-j", 2, "-p", "codec.when_loud='die'", "--json", code=1)
    statuses = {track["track"]: track["status"] for track in separate.document()["tracks"]}
    assert statuses == {"a": "done", "loud": "failed", "b": "done", "c": "done"}
    assert "worker process ended unexpectedly (exit code -9)" in separate.stderr


@pytest.mark.parametrize("jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_model_that_cannot_be_loaded_is_one_line_and_exit_code_3(
    separate: Command, jobs: int
) -> None:
    paths = [separate.write(f"{name}.wav", noise(40)) for name in "ab"]
    separate(*paths, "--prior", "bass=ngram", "-j", jobs, code=3)
    assert separate.stderr.startswith("lqsep: error: no weights file at ")
    assert separate.stderr.count("\n") == 1
    assert not separate.out.exists()


# Interruptions, in a process of their own


@pytest.fixture
def start(separate: Command) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts ``lqsep separate`` in a process group of its own, which ends with the test."""
    started = []

    def run_apart(*arguments: object) -> "subprocess.Popen[str]":
        script = "from lqsep.cli.main import main; main()"
        command = [sys.executable, "-c", script, "separate", "-n", separate.model]
        process = subprocess.Popen(
            [str(part) for part in (*command, "-o", separate.out, *arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
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
        time.sleep(0.05)


SLOW = ["-p", "sources.drums.prior.delay_s=0.02"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code", "jobs"),
    [
        (signal.SIGINT, 130, 1),
        (signal.SIGTERM, 143, 1),
        (signal.SIGTERM, 143, 2),
        (signal.SIGHUP, 129, 1),
        (signal.SIGHUP, 129, 2),
        (signal.SIGKILL, -9, 1),
        (signal.SIGKILL, -9, 2),
    ],
)
def test_an_interruption_leaves_no_half_written_file(
    separate: Command,
    start: Callable[..., "subprocess.Popen[str]"],
    number: signal.Signals,
    code: int,
    jobs: int,
) -> None:
    paths = [separate.write(f"{name}.wav", noise(20000)) for name in "ab"]
    process = start(*paths, *SLOW, "-j", jobs)
    wait_for(lambda: len(list(separate.results.glob("*/.lqsep-*/*.wav"))) >= 2 * jobs)
    process.send_signal(number)
    _, error = process.communicate(timeout=600)
    assert process.returncode == code
    if number == signal.SIGKILL:
        # Nobody could clean up, save the workers, which notice that their parent is gone; what is
        # left is hidden.
        if jobs == 2:
            wait_for(lambda: separate.files() == [])
        assert all(".lqsep-" in name for name in separate.files())
    else:
        assert separate.files() == []
    # A second run is not in the way of what the first one left.
    separate(*paths, "--json", "--duration", 0.05)
    assert separate.document()["counts"]["done"] == 2
    assert not any(".lqsep-" in name for name in separate.files())


@pytest.mark.slow
def test_ctrl_c_reaches_the_whole_group(
    separate: Command, start: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """As a terminal does it: parent and workers all get the signal."""
    paths = [separate.write(f"{name}.wav", noise(20000)) for name in "ab"]
    process = start(*paths, *SLOW, "-j", 2)
    wait_for(lambda: len(list(separate.results.glob("*/.lqsep-*/*.wav"))) >= 4)
    os.killpg(process.pid, signal.SIGINT)
    _, error = process.communicate(timeout=600)
    assert process.returncode == 130
    assert error.strip().endswith(
        "lqsep: interrupted; 0 of 2 tracks are done; the same command with --skip-existing goes on"
    )
    assert "Process " not in error  # no traceback of a worker
    assert separate.files() == []


# The shipped components


def test_the_shipped_components_end_to_end(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    separate = Command(tiny_model, tmp_path, capsys)
    separate.results = separate.out / "tiny"
    mixture = noise(6000, 2)
    separate(separate.write("mix.wav", mixture, 16000, subtype="FLOAT"), "--float32")
    stems = [separate.stem("mix", name) for name in GAINS]
    # The last refiner makes them sum to the mixture: float32 sums of numbers below 1.
    assert np.abs(np.sum(stems, 0) - mixture).max() < 1e-5
    report = json.loads((separate.results / "mix" / "lqsep.json").read_text())
    assert len(report["codec_fingerprint"]) == 64
    assert len(report["segments"]) > 1


def test_damaged_weights_are_exit_code_3(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    separate = Command(tiny_model, tmp_path, capsys)
    with (tiny_model / "codec.safetensors").open("ab") as file:
        file.write(b"x")
    separate(separate.write("mix.wav", noise(40)), code=3)
    assert "is not the file its model.toml describes" in separate.stderr
    assert separate.stderr.count("\n") == 1
