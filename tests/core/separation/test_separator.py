"""The separator on a codec whose codes add up: what goes in, what comes out, long inputs."""

import json
import logging
import weakref

import numpy as np
import pytest
import torch

from lqsep.core.audio.files import write_audio
from lqsep.core.audio.mono import is_mid_silent
from lqsep.core.errors import AudioError, ConfigError, DeviceError, DeviceMemoryError
from lqsep.core.interfaces.candidates import Selection
from lqsep.core.interfaces.data import Mixture
from lqsep.core.interfaces.refiner import Refiner
from lqsep.core.interfaces.selector import Selector
from lqsep.core.separation import run as separation_run
from lqsep.core.separation.segments import CrossFader
from lqsep.core.separation.separator import Separator
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.forward_backward import ForwardBackwardSampler
from lqsep.plugins.selectors.mean import MeanSelector
from lqsep.testing.toys import AddingCodec, AddingLikelihood, random_markov_prior

RATE = 8000


class First(Selector):
    """The first candidate."""

    def select(self, decoded, mixture):
        weights = torch.zeros(decoded.waves.shape[:2])
        weights[:, 0] = 1
        return Selection(weights, {"first": 1.0})


def make(*, sampler=None, segment_s=0.05, overlap=0.2, prime=True, gains=(0.5, 0.5)):
    generator = torch.Generator().manual_seed(3)
    # With unequal gains all sums of two levels differ: one pair of codes explains a frame, and the
    # stems are known.
    codec = AddingCodec((0.0, 0.1, 0.35))
    priors = {name: random_markov_prior(3, generator) for name in ("drums", "bass")}
    return Separator(
        codec=codec,
        priors=priors,
        likelihood=AddingLikelihood(codec, sigma=0.001),
        sampler=sampler or BeamSampler(beam_width=4),
        selector=First(),
        gains=gains,
        segment_s=segment_s,
        overlap=overlap,
        prime=prime,
        name="toy",
    )


def example(n_frames=300, gains=(0.5, 0.5), seed=0):
    """A mixture that the model explains, and its stems."""
    generator = np.random.default_rng(seed)
    levels = np.array([0.0, 0.1, 0.35])
    stems = levels[generator.integers(0, 3, (2, n_frames))] * np.array(gains)[:, None]
    stems = stems.repeat(4, 1).astype(np.float32)
    return stems.sum(0, keepdims=True), stems


def test_stems_have_the_mixtures_length_channels_and_rate():
    separator = make()
    for rate in (8000, 11025, 44100):
        for channels in (1, 2):
            for n_samples in (1, 7, 3001):
                wave = np.random.default_rng(0).normal(size=(channels, n_samples)) * 0.1
                result = separator.separate((wave, rate))
                assert result.sample_rate == rate
                for stem in result.stems.values():
                    assert stem.shape == (channels, n_samples)
                    assert stem.dtype == np.float32


def test_asymmetric_gains_stay_with_their_sources():
    gains = (0.8, 0.2)
    mixture, stems = example(gains=gains)
    result = make(gains=gains).separate((mixture, RATE))
    # The likelihood tells each frame's pair with sigma 0.001 against gaps of 0.01, so
    # all frames are right; swapped gains would put most of them wrong.
    for stem, truth in zip(result.stems.values(), stems, strict=True):
        assert np.mean(np.abs(stem[0] - truth) < 1e-4) > 0.99


def test_a_long_input_equals_its_segments_cross_faded():
    mixture, _ = example(n_frames=500)
    separator = make(prime=False)
    whole = separator.separate((mixture, RATE), seed=5)
    run = separator.stream((mixture, RATE), seed=5)
    assert len(run.plan.segments) > 4
    fader = CrossFader(run.plan)
    parts = []
    for segment in run.plan.segments:
        alone = separator.separate_segment(
            Mixture(torch.from_numpy(mixture[:, segment.start : segment.stop]), RATE),
            generator=torch.Generator().manual_seed(0),
        )
        parts.append(fader.push(segment, alone.stems))
    # the beam is deterministic: the same numbers, exactly
    joined = torch.cat(parts, -1).numpy()
    assert np.array_equal(np.stack(list(whole.stems.values())), joined)


def test_the_report_says_where_candidates_differ():
    mixture, _ = example(n_frames=2 * RATE // 4 + 10)
    one = make(segment_s=10.0).separate((mixture, RATE)).report.segments[0]
    assert set(one.disagreement) == {"drums", "bass"}
    # Two seconds and a bit. Four sequences of a beam that differ in few codes.
    for curve in one.disagreement.values():
        assert len(curve) == 3 and all(0 <= value < 0.5 for value in curve)
    assert any(value > 0 for curve in one.disagreement.values() for value in curve)
    alone = make(sampler=BeamSampler(beam_width=1), segment_s=10.0).separate((mixture, RATE))
    curves = alone.report.segments[0].disagreement.values()
    # One candidate agrees with itself, but for the rounding of squares in float32.
    assert all(value < 1e-6 for curve in curves for value in curve)


def test_a_segments_timings_are_those_of_its_separation():
    """Waves that are asked for later are decoded later, and not in that time."""
    mixture, _ = example()
    run = make(sampler=AncestralSampler(8)).stream((mixture, RATE))
    _, result = next(run.segments())
    kept = dict(result.timings)
    assert result.decoded.chosen(torch.arange(8)).shape[1] == 8
    assert result.timings == kept
    (report,) = run.report().segments
    assert report.timings_s.pop("compare") > 0
    assert report.timings_s == kept


def test_a_run_may_be_iterated_again():
    mixture, _ = example()
    run = make(sampler=AncestralSampler(2)).stream((np.tile(mixture, 2) * [[1], [-1]], RATE))
    first, found = [block.stems for block in run], run.report()
    again, same = [block.stems for block in run], run.report()
    assert torch.equal(torch.cat(first, -1), torch.cat(again, -1))
    assert found.warnings and same.warnings == found.warnings
    assert [s.start_s for s in same.segments] == [s.start_s for s in found.segments]
    next(iter(run))
    assert len(run.report().segments) == 1


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None])
def test_a_seed_is_a_whole_number(seed):
    mixture, _ = example()
    with pytest.raises(ConfigError, match="seed: expected a whole number, 0 or more, got"):
        make().separate((mixture, RATE), seed=seed)
    with pytest.raises(ConfigError, match="seed: expected"):
        separation_run.segment_generator(seed, 0)


def test_seeds_of_numpy_are_seeds():
    mixture, _ = example()
    run = make(sampler=AncestralSampler(2)).stream((mixture, RATE), seed=np.int64(3))
    assert json.loads(json.dumps(run.report().to_dict()))["seed"] == 3


def test_segments_are_primed_with_the_codes_before_them():
    mixture, _ = example(n_frames=500)
    primed = make(prime=True)
    result = primed.posterior((mixture, RATE))
    plan = primed.stream((mixture, RATE)).plan
    (_, before), (second, after) = result[0], result[1]
    prompt = before.codes[:, :, : plan.hop_frames].transpose(0, 1)
    alone = primed.separate_segment(
        Mixture(torch.from_numpy(mixture[:, second.start : second.stop]), RATE),
        generator=torch.Generator().manual_seed(0),
        prompt=prompt,
    )
    assert torch.equal(alone.candidates.log_prior, after.log_prior)
    unprimed = make(prime=False).posterior((mixture, RATE))[1][1]
    assert not torch.allclose(unprimed.log_prior, after.log_prior)


class Counting(AddingCodec):
    """Notes how many rows were decoded of each source."""

    def __init__(self, levels):
        super().__init__(levels)
        self.n_decoded = [0, 0]

    def decode(self, codes, n_samples, source=None, mixture=None):
        if source is not None:
            self.n_decoded[source] += len(codes)
        return super().decode(codes, n_samples, source, mixture)


def test_whole_inputs_are_sampled_as_if_they_were_one_segment(monkeypatch):
    """To 1e-5, whatever the segments; what is drawn is the same to the last code."""
    mixture, _ = example(n_frames=600)
    sampler = ForwardBackwardSampler(4, block_frames=50)
    one = make(sampler=sampler, segment_s=10.0).separate((mixture, RATE), seed=2)
    for segment_s, overlap in ((0.05, 0.2), (0.11, 0.0)):
        separator = make(sampler=sampler, segment_s=segment_s, overlap=overlap)
        found = separator.separate((mixture, RATE), seed=2)
        assert len(found.report.segments) > 2
        for name, stem in found.stems.items():
            np.testing.assert_allclose(stem, one.stems[name], atol=1e-5)
    # Segments without overlap: their scores are those of the frames, which add up.
    for score in ("log_likelihood", "log_evidence"):
        total = sum(getattr(segment, score) for segment in found.report.segments)
        assert total == pytest.approx(getattr(one.report.segments[0], score), abs=1e-4)

    monkeypatch.setattr(separation_run, "WHOLE_S", 0.15)
    apart = make(sampler=sampler, segment_s=0.05).posterior((mixture, RATE), seed=2)
    together = make(sampler=sampler, segment_s=10.0).posterior((mixture, RATE), seed=2)[0][1]
    # Longer inputs in several parts, whose draws are others.
    first = apart[0][1].codes
    assert not torch.equal(first, together.codes[:, :, : first.shape[2]])


@pytest.mark.parametrize("sampler", [BeamSampler(beam_width=2), ForwardBackwardSampler(2)])
def test_rounding_between_rates_may_add_a_frame_to_a_segment(sampler):
    wave = np.random.default_rng(0).normal(size=(1, 2000)) * 0.1
    separator = make(sampler=sampler, segment_s=0.0333)
    run = separator.stream((wave, 11_025))
    longest = max(segment.stop - segment.start for segment in run.plan.segments)
    assert longest * 8000 / 11_025 > 4 * run.plan.segment_frames
    results = [result for _, result in run.segments()]
    for segment, result in zip(run.plan.segments, results, strict=True):
        assert result.stems.shape == (2, 1, segment.stop - segment.start)


def test_candidates_of_a_whole_input_are_ranked_as_wholes():
    mixture, _ = example(n_frames=600)
    separator = make(sampler=ForwardBackwardSampler(4), segment_s=0.1)
    parts = [candidates for _, candidates in separator.posterior((mixture, RATE))]
    whole = make(sampler=ForwardBackwardSampler(4), segment_s=10.0).posterior((mixture, RATE))
    for part in parts:
        torch.testing.assert_close(part.whole_log_posterior, whole[0][1].log_posterior)
    assert whole[0][1].whole_log_posterior is None


def test_what_nobody_needs_is_not_decoded():
    mixture, _ = example(n_frames=300)
    codec = Counting((0.0, 0.1, 0.35))
    rng = torch.Generator().manual_seed(3)

    def run(refiners):
        codec.n_decoded = [0, 0]
        separator = Separator(
            codec=codec,
            priors={name: random_markov_prior(3, rng) for name in ("drums", "bass")},
            likelihood=AddingLikelihood(codec, sigma=0.3),
            sampler=ForwardBackwardSampler(20),
            selector=MeanSelector(weighting="uniform"),
            refiners=refiners,
            gains=(0.5, 0.5),
            segment_s=10.0,
        )
        separator.separate((mixture, RATE))
        return codec.n_decoded

    class Halves(Refiner):
        needs_stems = False

        def refine(self, stems, context):
            assert not stems.any()
            return (context.mixture.wave / 2).expand_as(stems)

    # The report compares eight candidates; without a refiner all of them make the stems.
    assert run([Halves()]) == [8, 8]
    assert run([]) == [20, 20]


def test_blocks_cover_the_input_and_bring_the_mixture_along():
    mixture, _ = example(n_frames=400)
    run = make().stream((mixture, RATE))
    blocks = list(run)
    assert [b.start for b in blocks] == [
        sum(x.stems.shape[-1] for x in blocks[:n]) for n in range(len(blocks))
    ]
    assert np.array_equal(torch.cat([b.mixture for b in blocks], -1).numpy(), mixture)


def test_the_same_seed_gives_the_same_stems_and_another_seed_others():
    wave = np.random.default_rng(1).normal(size=(1, 2000)).astype(np.float32) * 0.1
    separator = make(sampler=AncestralSampler(n_candidates=3))
    first, again, other = (separator.separate((wave, RATE), seed=s) for s in (1, 1, 2))
    for name in first.stems:
        assert np.array_equal(first.stems[name], again.stems[name])
    assert any(not np.array_equal(first.stems[n], other.stems[n]) for n in first.stems)


def test_channels_that_cancel_are_separated_from_the_left_one():
    gains = (0.8, 0.2)
    mixture, stems = example(gains=gains)
    result = make(gains=gains).separate((np.concatenate([mixture, -mixture]), RATE))
    assert np.mean(np.abs(result.stems["drums"][0] - stems[0]) < 1e-4) > 0.99
    assert "cancel" in result.report.warnings[0]
    assert not is_mid_silent(torch.zeros(2, 10))
    assert not is_mid_silent(torch.ones(2, 10))


def test_the_report_says_what_ran(tmp_path):
    mixture, _ = example()
    seen = []
    result = make().separate((mixture, RATE), seed=9, on_progress=lambda *x: seen.append(x))
    total_s = mixture.shape[1] / RATE
    assert seen[-1] == (total_s, total_s)
    assert all(a[0] <= total_s for a in seen)
    result.save(tmp_path / "out")
    report = json.loads((tmp_path / "out" / "lqsep.json").read_text())
    assert report["schema_version"] == 2
    assert report["seed"] == 9
    assert report["input"]["n_samples"] == mixture.shape[1]
    assert report["sources"] == ["drums", "bass"]
    assert {"encode", "sample", "decode", "select", "refine", "compare"} == set(
        report["segments"][0]["timings_s"]
    )
    assert report["segments"][0]["scores"] == {"first": 1.0}
    assert report["segments"][-1]["stop_s"] == pytest.approx(total_s)
    assert (tmp_path / "out" / "drums.wav").is_file()


def test_a_file_is_read_in_stretches_and_gives_the_arrays_result(tmp_path):
    mixture, _ = example()
    write_audio(tmp_path / "mix.wav", mixture, RATE, subtype="FLOAT")
    from_file = make().separate(tmp_path / "mix.wav")
    from_array = make().separate((mixture, RATE))
    for name in from_file.stems:
        assert np.array_equal(from_file.stems[name], from_array.stems[name])
    assert from_file.report.input.name == "mix"


def test_no_samples_is_an_error():
    with pytest.raises(AudioError, match="no samples"):
        make().separate((np.zeros((1, 0)), RATE))


class Starved(BeamSampler):
    """Runs out of memory as soon as a segment is longer than it can bear."""

    def sample(self, posterior, *, generator, on_frame=None):
        if posterior.n_frames > 50:
            large = torch.zeros(10)
            self.large = weakref.ref(large)
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.\nTried to allocate 2 GiB.")
        return super().sample(posterior, generator=generator, on_frame=on_frame)


def test_memory_that_runs_out_is_one_line_that_says_what_to_do():
    mixture, _ = example()
    separator = make(sampler=Starved(4))
    with pytest.raises(DeviceError, match=r"out of memory on cpu .*'sample'") as caught:
        separator.separate((mixture, RATE))
    message = str(caught.value)
    assert "--candidates" in message and "--segment" in message
    assert "\n" not in message
    # This input's fault alone: other inputs go on, and nothing keeps the failed call's tensors.
    assert isinstance(caught.value, DeviceMemoryError) and caught.value.exit_code == 1
    assert separator.sampler.large() is None
    assert separator.separate((mixture[:, :160], RATE)).stems["drums"].shape == (1, 160)


@pytest.mark.parametrize("allocate", [torch.empty, np.empty])
def test_memory_of_the_machine_runs_out_likewise(allocate):
    class Greedy(BeamSampler):
        def sample(self, posterior, *, generator, on_frame=None):
            allocate(1 << 56)  # more bytes than there are addresses
            raise AssertionError

    mixture, _ = example()
    separator = make(sampler=Greedy(4))
    with pytest.raises(DeviceMemoryError, match=r"out of memory on cpu .*'sample'") as caught:
        separator.separate((mixture, RATE))
    assert "--segment" in str(caught.value) and "--device" not in str(caught.value)


class TightCodec(AddingCodec):
    """Decodes two candidates at once at most."""

    def decode(self, codes, n_samples, source, mixture):
        if len(codes) > 2:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return super().decode(codes, n_samples, source, mixture)


def test_decoding_remembers_what_fits(caplog):
    mixture, _ = example()
    roomy, tight = (make(sampler=AncestralSampler(8)) for _ in range(2))
    tight.codec = TightCodec((0.0, 0.1, 0.35))
    for separator in (roomy, tight):
        # Many candidates differ.
        separator.likelihood = AddingLikelihood(separator.codec, sigma=0.3)
    expected = roomy.separate((mixture, RATE))
    with caplog.at_level(logging.WARNING, logger="lqsep"):
        found = tight.separate((mixture, RATE))
    assert len(found.report.segments) > 3
    assert len(caplog.records) == 2  # 8 to 4 to 2, in the first segment alone
    for name, stem in expected.stems.items():
        assert np.array_equal(found.stems[name], stem)


def test_a_model_is_changed_from_python_as_by_the_flags(tiny_model):
    made = Separator.from_pretrained(
        tiny_model, device="cpu", sampler="smc", candidates=3, gains={"drums": 0.7}, refiners=[],
        sigma=0.3, overrides=["sampler.n_islands=1"],
    )  # fmt: skip
    assert made.config["sampler"]["type"] == "smc" and made.config["sampler"]["n_islands"] == 1
    assert made.sampler.n_candidates == 3
    assert made.gains == (0.7, 0.5) and made.refiners == ()
    assert made.likelihood.sigma == 0.3
    with pytest.raises(ConfigError, match="no source named 'drum'; did you mean 'drums'"):
        Separator.from_pretrained(tiny_model, gains={"drum": 0.7})
    with pytest.raises(ConfigError, match=r"model.toml, with other settings: sampler.type: no"):
        Separator.from_pretrained(tiny_model, sampler="smk")
