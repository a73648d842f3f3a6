"""``lqsep separate --save-candidates``: stems of the best, codes and scores of all."""

import json

import numpy as np
import pytest
import torch

import lqsep
from lqsep.core.audio.files import audio_info, read_audio
from lqsep.core.audio.mixtures import FileReader
from lqsep.core.inference.joint_scores import joint_scores

GAINS = {"drums": 0.8, "bass": 0.2}  # of the toy model
LEVELS = np.array([0.0, 0.1, 0.35], np.float32)

# A wide likelihood, so that candidates differ.
WIDE = ["--sigma", 0.1]


@pytest.fixture
def mix(toy_run, toy_stems):
    mixture = sum(wave * GAINS[name] for name, wave in toy_stems.items())
    return toy_run.write("mix.wav", mixture.astype(np.float32))


def load(toy_run):
    with np.load(toy_run.results / "mix" / "candidates.npz", allow_pickle=False) as arrays:
        return dict(arrays)


def test_the_files_and_their_place_in_the_report(toy_run, mix):
    toy_run(mix, "--save-candidates", 2, "--stems", "bass", "--format", "flac", "--json")
    expected = {
        "bass": "bass.flac",
        "candidates/1/bass.flac": "candidates/1/bass.flac",
        "candidates/2/bass.flac": "candidates/2/bass.flac",
        "candidates.npz": "candidates.npz",
    }
    assert toy_run.report("mix")["files"] == expected
    assert set(toy_run.files()) == {
        f"toy/mix/{name}" for name in (*expected.values(), "lqsep.json")
    }
    (track,) = json.loads(toy_run.stdout)["tracks"]
    assert track["files"] == {k: str(toy_run.results / "mix" / v) for k, v in expected.items()}
    toy_run(mix, "--save-candidates", 2)
    assert toy_run.stdout.startswith("mix: drums, bass and 5 more files in ")


def test_a_candidates_stems_are_its_decoded_codes_times_the_gains(toy_run, mix):
    toy_run(mix, "--save-candidates", 3, "--float32", "--segment", 1, *WIDE)
    arrays = load(toy_run)
    codes, ranking = arrays["codes_0"], arrays["ranking_0"]
    assert len({code.tobytes() for code in codes.swapaxes(0, 1)}) > 1
    for k in (1, 2, 3):
        for source, (name, gain) in enumerate(GAINS.items()):
            expected = LEVELS[codes[source, ranking[k - 1]]].repeat(4) * np.float32(gain)
            found = toy_run.read(f"mix/candidates/{k}/{name}.wav")
            # one float32 product
            assert np.abs(found - expected).max() < 1e-7


def test_candidates_are_ranked_by_weight_then_by_log_posterior(toy_run, mix):
    toy_run(
        mix, "--save-candidates", 1, "--selector", "best", *WIDE, "-p", "sampler.n_candidates=6"
    )
    arrays = load(toy_run)
    log_posterior = arrays["log_prior_0"].sum(0) + arrays["log_likelihood_0"]
    # The weight of one, and the others' order, are those of the log posterior.
    assert np.all(np.diff(log_posterior[arrays["ranking_0"]]) <= 0)
    assert arrays["weights_0"][:, arrays["ranking_0"][0]].tolist() == [1, 1]
    toy_run(mix, "--save-candidates", 1, "--selector", "rejection", *WIDE)
    arrays = load(toy_run)
    weight = arrays["weights_0"].mean(0)[arrays["ranking_0"]]
    assert weight[0] >= 0.5 and np.all(np.diff(weight) <= 0)


def test_exact_draws_of_equal_weight_are_ranked_by_their_joint_probability(toy_run, mix):
    """As in the default model: one evidence for all candidates, selector ``mean``."""
    components = ["--sampler", "forward-backward", "--selector", "mean"]
    toy_run(mix, "--save-candidates", 3, "--candidates", 8, "--segment", 1, "--float32",
            *components, "--sigma", 0.3)  # fmt: skip
    arrays = load(toy_run)
    log_joint = arrays["log_prior_0"].sum(0) + arrays["log_likelihood_0"]
    assert len(set(log_joint)) > 3
    assert len(set(arrays["log_evidence_0"])) == 1 and set(arrays["weights_0"].flat) == {1 / 8}
    order = np.argsort(-log_joint, kind="stable")
    assert arrays["ranking_0"].tolist() == order.tolist() != sorted(order)
    for k in (1, 2, 3):
        codes = arrays["codes_0"][0, order[k - 1]]
        found = toy_run.read(f"mix/candidates/{k}/drums.wav")
        # one float32 product
        assert np.abs(found - LEVELS[codes].repeat(4) * np.float32(0.8)).max() < 1e-7


def test_segments_are_joined_like_the_stems(toy_run, mix):
    """With one candidate and no refiner, candidate 1 is the result."""
    flags = ["--candidates", 1, "--float32", "--segment", 0.05, "--overlap", 0.5, *WIDE]
    toy_run(mix, "--save-candidates", 1, *flags)
    for name in GAINS:
        found = toy_run.read(f"mix/candidates/1/{name}.wav")
        assert np.abs(found - toy_run.read(f"mix/{name}.wav")).max() < 1e-7
    arrays = load(toy_run)
    n_segments = len(toy_run.report("mix")["segments"])
    assert n_segments > 4
    assert len(arrays["segment_start_s"]) == len(arrays["segment_stop_s"]) == n_segments
    assert arrays[f"codes_{n_segments - 1}"].shape[:2] == (2, 1)
    assert arrays["segment_stop_s"][-1] == pytest.approx(0.15)


def test_stems_have_the_mixtures_rate_and_channels(toy_run, toy_stems):
    path = toy_run.write("mix.wav", np.repeat(toy_stems["drums"], 2, 0), 11_025)
    toy_run(path, "--save-candidates", 1)
    info = audio_info(toy_run.results / "mix" / "candidates" / "1" / "bass.wav")
    assert (info.sample_rate, info.channels, info.n_samples) == (11_025, 2, 1200)


def test_the_table_holds_what_the_sampler_and_the_selector_gave(toy_run, mix):
    toy_run(mix, "--save-candidates", 1, "--selector", "rejection", "--segment", 0.1, *WIDE)
    arrays = load(toy_run)
    assert arrays["sources"].tolist() == ["drums", "bass"]
    assert arrays["gains"].tolist() == [0.8, 0.2]
    separator = lqsep.Separator.from_pretrained(
        toy_run.model, device="cpu", overrides=["likelihood.sigma=0.1", "pipeline.segment=0.1"]
    )
    with FileReader(mix) as reader:
        for segment, result in separator.stream(reader).segments():
            n = segment.index
            for name in ("codes", "log_prior", "log_likelihood", "log_evidence"):
                values = getattr(result.candidates, name).numpy()
                assert np.array_equal(arrays[f"{name}_{n}"], values), name
            pairs = joint_scores(result.decoded)
            assert np.array_equal(arrays[f"pair_log_posterior_{n}"], pairs.log_posterior)
            assert np.array_equal(arrays[f"pair_error_{n}"], pairs.error)
            assert np.array_equal(arrays[f"pair_log_prior_{n}"], pairs.log_prior)
    assert n == 1
    toy_run(mix, "--save-candidates", 1)  # selector best
    assert not [name for name in load(toy_run) if name.startswith("pair")]


def test_fewer_candidates_than_asked_for(toy_run, mix):
    toy_run(mix, "--save-candidates", 4, "--candidates", 2, "--segment", 1, *WIDE)
    assert "1 segments have fewer than 4 candidates" in toy_run.stderr
    assert np.array_equal(
        toy_run.read("mix/candidates/2/drums.wav"), toy_run.read("mix/candidates/4/drums.wav")
    )


def test_skipping_knows_the_candidates(toy_run, mix):
    def status(*flags):
        toy_run(mix, "--json", "--skip-existing", *flags)
        return json.loads(toy_run.stdout)["tracks"][0]["status"]

    assert status() == "done"
    assert status("--save-candidates", 1) == "done"
    assert status("--save-candidates", 1) == "skipped"
    assert status("--save-candidates", 2) == "done"
    (toy_run.results / "mix" / "candidates.npz").unlink()
    assert status("--save-candidates", 2) == "done"


def test_one_factor_rescales_all_files(toy_run):
    path = toy_run.write("mix.wav", np.full((1, 400), 0.99, np.float32))
    flags = ["-p", "codec.levels=[0.0, 1.25]", "--gain", "drums=1", "--float32"]
    toy_run(path, "--save-candidates", 1, *flags, "--clip-mode", "rescale")
    for name in ("drums", "candidates/1/drums"):
        assert toy_run.read(f"mix/{name}.wav").max() == pytest.approx(1.0, abs=1e-6)
    toy_run(path, "--save-candidates", 1, *flags[:-1])
    assert "values of the candidates' stems were clipped" in toy_run.stderr


def test_a_stem_and_a_candidate_in_one_file_are_refused(toy_run, mix):
    flags = ["--filename", "{track}/candidates/1/{stem}.{ext}", "--save-candidates", 1]
    toy_run(mix, *flags, code=2)
    assert "would both be" in toy_run.stderr


@pytest.mark.slow
def test_several_processes_write_the_same(toy_run, toy_stems):
    paths = [toy_run.write(f"{n}.wav", wave) for n, wave in enumerate(toy_stems.values())]
    flags = ["--save-candidates", 2, "--plots", *WIDE]

    def contents():
        return {
            str(path.relative_to(toy_run.results)): path.read_bytes()
            for path in toy_run.results.rglob("*.*")
            if path.suffix in (".wav", ".png") and path.is_file()
        }

    toy_run(*paths, *flags)
    alone = contents()
    assert len(alone) == 2 * (2 + 4 + 4)
    codes = [load_codes(toy_run, n) for n in range(2)]
    toy_run(*paths, *flags, "-j", 2)
    assert contents() == alone
    for n in range(2):
        assert np.array_equal(load_codes(toy_run, n), codes[n])


def load_codes(toy_run, track):
    with np.load(toy_run.results / str(track) / "candidates.npz", allow_pickle=False) as arrays:
        return arrays["codes_0"]


def test_the_shipped_components(tiny_model, tmp_path, capsys, request):
    """A real codec and refiners: candidates are unrefined, at the mixture's rate."""
    toy_run = type(request.getfixturevalue("toy_run"))(tiny_model, tmp_path, capsys)
    generator = torch.Generator().manual_seed(0)
    path = toy_run.write("mix.wav", 0.1 * torch.randn(2, 6000, generator=generator).numpy(), 16_000)
    toy_run(path, "--save-candidates", 2, "--plots", "--reference", f"bass={path}")
    wave, rate = read_audio(tmp_path / "out" / "tiny" / "mix" / "candidates" / "2" / "drums.wav")
    assert wave.shape == (2, 6000) and rate == 16_000
    assert np.abs(wave).max() > 0
    for entry in toy_run.report("mix")["scores"]:
        # Half the mixture is the reference times its gain, and as good as can be.
        if (entry["estimate"], entry["reference"]) == ("mixture/2", "original"):
            assert entry["sdr"] == 100
