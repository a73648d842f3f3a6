"""``lqsep separate --reference``: forming the mixture, and scoring the result."""

import json
from pathlib import Path

import numpy as np
import pytest

from lqsep.cli.separate.references import Reference, mixture_name
from lqsep.core.audio.files import audio_info
from lqsep.core.signal.metrics import sdr, si_sdr, windowed_sdr

RATE = 8000
GAINS = {"drums": 0.8, "bass": 0.2}  # of the toy model

# PCM 16 rounds to 1 / 32768.
STEP = 1 / 32768


@pytest.fixture
def recordings(toy_run, toy_stems):
    """Files of the sources, and the flags that name them."""
    paths = {name: toy_run.write(f"{name}/song.wav", wave) for name, wave in toy_stems.items()}
    return paths, flags(paths)


def flags(paths):
    return [part for name, path in paths.items() for part in ("--reference", f"{name}={path}")]


def score(scores, estimate, source, reference):
    (found,) = [
        entry
        for entry in scores
        if (entry["estimate"], entry["source"], entry["reference"]) == (estimate, source, reference)
    ]
    return found


def noise(n_samples, channels=1, seed=0, scale=0.1):
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(channels, n_samples)) * scale).astype(np.float32)


# The mixture


def test_the_mixture_is_the_sum_of_gain_times_reference(toy_run, toy_stems, recordings):
    """And of nothing else: no other factor, and the gains that the flags give."""
    toy_run(*recordings[1], "--float32", "--gain", "drums=0.3")
    expected = 0.3 * toy_stems["drums"] + 0.2 * toy_stems["bass"]
    # one float32 rounding each for two products and their sum
    assert np.abs(toy_run.read("song/mixture.wav") - expected).max() < 1e-7
    assert toy_run.files() == [
        f"toy/song/{name}" for name in ("bass.wav", "drums.wav", "lqsep.json", "mixture.wav")
    ]


def test_start_and_duration_are_absolute_positions_in_all_files(toy_run, toy_stems, recordings):
    paths, _ = recordings
    paths["bass"] = toy_run.write("bass/song.wav", toy_stems["bass"].repeat(2, 1), 2 * RATE)
    toy_run(*flags(paths), "--float32", "--start", 0.05, "--duration", 0.06)
    found = toy_run.read("song/mixture.wav")
    assert audio_info(toy_run.results / "song" / "mixture.wav").sample_rate == 2 * RATE
    # At twice the rate: samples 800 to 1760. Each level lasts 8 samples; away from the steps of
    # the resampled drums, whose ringing is some per cent of a step.
    drums = toy_stems["drums"].repeat(2, 1)[:, 800:1760] * 0.8
    bass = toy_stems["bass"].repeat(2, 1)[:, 800:1760] * 0.2
    assert found.shape == bass.shape
    assert np.corrcoef(found[0] - bass[0], drums[0])[0, 1] > 0.95
    report = toy_run.report("song")
    assert (report["path"], report["start_s"]) == (None, 0.05)
    assert report["references"] == {
        name: {"path": str(path), "gain": GAINS[name]} for name, path in paths.items()
    }


def test_the_shortest_reference_ends_the_mixture(toy_run, toy_stems, recordings):
    paths, _ = recordings
    paths["bass"] = toy_run.write("bass/song.wav", toy_stems["bass"][:, :1000])
    toy_run(*flags(paths), "--start", 0.025)
    assert toy_run.read("song/mixture.wav").shape == (1, 800)


def test_mono_and_stereo_go_together(toy_run, toy_stems, recordings):
    paths, _ = recordings
    stereo = np.concatenate([toy_stems["bass"], 0.5 * toy_stems["bass"]])
    paths["bass"] = toy_run.write("bass/song.wav", stereo)
    toy_run(*flags(paths), "--float32")
    expected = 0.8 * toy_stems["drums"] + 0.2 * stereo
    assert np.abs(toy_run.read("song/mixture.wav") - expected).max() < 1e-7


def test_the_template_names_the_mixture_too(toy_run, recordings):
    toy_run(*recordings[1], "--filename", "{track}-{stem}.{ext}", "--format", "flac")
    assert "toy/song-mixture.flac" in toy_run.files()


@pytest.mark.parametrize(
    ("drums", "bass", "name"),
    [
        ("d/song.wav", "b/song.flac", "song"),
        ("song/drums.wav", "song/bass.wav", "song"),
        ("a/drums.wav", "b/bass.wav", "mixture"),
        ("song-drums.wav", "song-bass.wav", "song"),
        ("my song_drum.wav", "my song_dry.wav", "my song"),
        ("drum.wav", "dry.wav", "mixture"),
        ("...wav", "...wav", "mixture"),
    ],
)
def test_the_mixture_is_named_after_the_files(drums, bass, name):
    references = [Reference("drums", Path(drums), 1), Reference("bass", Path(bass), 1)]
    assert mixture_name(references) == name


# The scores


def test_the_scores_are_those_of_the_files(toy_run, toy_stems, recordings):
    """Recomputed from the written stems, with the metrics for waves in memory."""
    toy_run(*recordings[1], "--float32", "-p", "likelihood.sigma=0.05", "--segment", 0.05)
    scores = toy_run.report("song")["scores"]
    mixture = toy_run.read("song/mixture.wav")
    assert len(scores) == 2 * 5
    for source, wave in toy_stems.items():
        truth = wave * np.float32(GAINS[source])
        for estimate, found in (
            ("lqsep", toy_run.read(f"song/{source}.wav")),
            ("mixture/2", mixture / 2),
        ):
            entry = score(scores, estimate, source, "original")
            # float32 sums against float64 ones
            assert entry["sdr"] == pytest.approx(sdr(truth, found), abs=1e-4)
            assert entry["si_sdr"] == pytest.approx(si_sdr(truth, found), abs=1e-4)
            # 0.15 s are one window
            median = windowed_sdr(truth, found, RATE).median
            assert entry["sdr_median"] == pytest.approx(median, abs=1e-4)
            assert (entry["n_windows"], entry["n_silent"]) == (1, 0)
    # A wrong draw here and there, so that there is something to score.
    assert score(scores, "lqsep", "drums", "original")["sdr"] < 40


def test_the_decoded_reference_is_the_codecs_round_trip_times_the_gain(
    toy_run, toy_stems, recordings
):
    paths, _ = recordings
    off = {name: wave + np.float32(0.02) for name, wave in toy_stems.items()}
    paths = {name: toy_run.write(f"{name}/song.wav", wave) for name, wave in off.items()}
    # Gains of the flags, so that levels off the codec's are off the true ones by 0.02.
    toy_run(*flags(paths), "--float32", "--segment", 0.05)
    scores = toy_run.report("song")["scores"]
    for source, clean in toy_stems.items():
        gain = GAINS[source]
        # The codec rounds every level back to the clean one.
        entry = score(scores, "codec", source, "original")
        assert entry["sdr"] == pytest.approx(sdr(off[source] * gain, clean * gain), abs=1e-3)
        entry = score(scores, "mixture/2", source, "decoded")
        mixture = toy_run.read("song/mixture.wav")
        assert entry["sdr"] == pytest.approx(sdr(clean * gain, mixture / 2), abs=1e-3)


def test_an_input_is_scored_against_its_references(toy_run, toy_stems, recordings):
    mixture = sum(wave * GAINS[name] for name, wave in toy_stems.items())
    path = toy_run.write("mix.wav", mixture.astype(np.float32))
    toy_run(path, *recordings[1][:2], "--json")
    (track,) = json.loads(toy_run.stdout)["tracks"]
    assert {entry["source"] for entry in track["scores"]} == {"drums"}
    assert track["scores"] == toy_run.report("mix")["scores"]
    assert "mixture" not in track["files"]
    # Explained to the sample but for rare draws, see the model.
    assert score(track["scores"], "lqsep", "drums", "original")["sdr"] > 15


@pytest.mark.parametrize(("channels", "reference_channels"), [(2, 1), (1, 2)])
def test_references_are_brought_to_the_inputs_rate_and_channels(
    toy_run, channels, reference_channels
):
    def tone(rate, channels):
        wave = 0.3 * np.sin(2 * np.pi * 200 * np.arange(rate) / rate)
        return np.tile(wave, (channels, 1)).astype(np.float32)

    path = toy_run.write("mix.wav", tone(RATE, channels))
    reference = toy_run.write("tone.wav", tone(2 * RATE, reference_channels), 2 * RATE)
    toy_run(path, "--reference", f"drums={reference}", "--gain", "drums=1")
    found = score(toy_run.report("mix")["scores"], "mixture/2", "drums", "original")["sdr"]
    # x against x / 2, but for the resampled file's two ends
    assert found == pytest.approx(20 * np.log10(2), abs=0.05)


def test_a_reference_that_ends_early_is_said(toy_run, toy_stems, recordings):
    mixture = toy_run.write("mix.wav", noise(2000))
    toy_run(mixture, *recordings[1], "--segment", 0.05)
    assert "the references end at 0.15 s of 0.25 s; what follows is not scored" in toy_run.stderr


def test_references_at_another_level_than_the_mixture_are_said(toy_run, toy_stems, recordings):
    mixture = sum(wave * GAINS[name] for name, wave in toy_stems.items())
    for factor, words in ((1, ""), (2, "the mixture is 2.00 times as loud as the sum")):
        toy_run(toy_run.write("mix.wav", (factor * mixture).astype(np.float32)), *recordings[1])
        assert words in toy_run.stderr and bool(words) == bool(toy_run.stderr)


def test_scores_are_printed_as_a_table(toy_run, recordings):
    toy_run(*recordings[1])
    lines = toy_run.stdout.splitlines()
    assert lines[0].startswith("song: drums, bass, mixture in ")
    assert " of the energy" in lines[1]
    assert lines[3].split()[:3] == ["source", "estimate", "reference"]
    assert [line.split()[0] for line in lines[4:]] == ["drums"] * 5 + ["bass"] * 5


def test_skipping_looks_at_the_references(toy_run, recordings):
    paths, given = recordings

    def status(*arguments):
        toy_run(*arguments, "--json", "--skip-existing")
        (track,) = json.loads(toy_run.stdout)["tracks"]
        assert len(track["scores"]) == 10
        return track["status"]

    assert status(*given) == "done"
    assert status(*given) == "skipped"
    assert status(*given, "--gain", "drums=0.5") == "done"
    assert status(*given, "--gain", "drums=0.5") == "skipped"
    (toy_run.results / "song" / "mixture.wav").unlink()
    assert status(*given, "--gain", "drums=0.5") == "done"


# Mistakes


def test_wrong_references_are_one_line(toy_run, recordings):
    paths, given = recordings
    mix = toy_run.write("mix.wav", noise(400))

    def fails(*arguments, says, code=2):
        toy_run(*arguments, code=code)
        assert says in toy_run.stderr
        assert "Traceback" not in toy_run.stderr
        if code == 2:
            assert toy_run.stderr.count("\n") == 1
        assert toy_run.files() == []

    fails("--reference", f"drum={mix}", says="no source named 'drum'; did you mean 'drums'?")
    fails("--reference", "drums", says="not of the form SOURCE=VALUE")
    fails(*given[:2], says="missing: bass")
    fails(*given, *given[:2], says="two files for the source 'drums'")
    fails(mix, paths["drums"], *given, says="--reference goes with one INPUT; there are 2 files")
    fails(*given, "--start", 1, says="the reference of drums has no samples from 1 s", code=1)
    fails(*given[:3], "bass=nowhere.wav", says="cannot read nowhere.wav", code=1)
    fails(mix, *given, "--start", 0.2, says="mix has no samples from 0.2 s", code=1)
    wide = {name: toy_run.write(f"{name}.wav", noise(400, n)) for n, name in
            ((2, "drums"), (3, "bass"))}  # fmt: skip
    fails(*flags(wide), says="the reference of drums has 2 channels where 3 are needed", code=1)


def test_a_reference_is_never_replaced(toy_run, recordings):
    path = toy_run.write("out/toy/drums.wav", noise(400))
    before = path.read_bytes()
    given = ["--reference", f"drums={path}", *recordings[1][2:]]
    toy_run(*given, "--filename", "{stem}.{ext}", code=2)
    assert "is an input and would be replaced by the stem drums" in toy_run.stderr
    assert path.read_bytes() == before


def test_a_failure_leaves_nothing_behind(toy_run, recordings):
    loud = toy_run.write("drums/song.wav", noise(4000, scale=1.0) * 2)
    given = ["--reference", f"drums={loud}", *recordings[1][2:]]
    toy_run(*given, "-p", "codec.when_loud='starve'", "--save-candidates", 2, "--plots", code=1)
    assert "no joint code explains frame 0" in toy_run.stderr
    assert toy_run.files() == []
    assert not toy_run.results.exists()
