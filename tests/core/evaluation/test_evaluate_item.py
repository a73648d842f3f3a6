import json
import math
import pickle
from functools import partial

import numpy as np
import pytest
import torch

from lqsep import Separator
from lqsep.core.errors import AudioError
from lqsep.core.evaluation.baselines import HpssSetting, best_hpss
from lqsep.core.evaluation.baselines_of import (
    Baselines,
    baseline_stems,
    codec_round_trips,
    fit_baselines,
)
from lqsep.core.evaluation.evaluate import evaluate_item
from lqsep.core.evaluation.items import load_item, plan_items
from lqsep.core.evaluation.museval import museval_metrics
from lqsep.core.evaluation.protocols import LQVAE2021, MUSEVAL_V4, PROTOCOLS, SI_SDR
from lqsep.core.evaluation.raw_candidates import best_scores, pick, score_candidates
from lqsep.core.evaluation.scores import Figure, museval_scores, si_sdr_scores, track_scores
from lqsep.core.evaluation.sound import CHUNK_RATE, ItemSound
from lqsep.core.evaluation.summary import summarise
from lqsep.core.evaluation.tables import to_markdown
from lqsep.core.evaluation.track_run import separate_track
from lqsep.core.inference.joint_scores import joint_scores
from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates
from lqsep.core.interfaces.data import Mixture
from lqsep.core.separation.run import segment_generator
from lqsep.core.signal.low_pass import low_pass
from lqsep.core.signal.metrics import LIMIT_DB, sdr, si_sdr
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.lqvae.codec import LQVAECodec

TRACK_ESTIMATES = ["lqsep", "best-of-N", "mixture/2", "codec", "oracle-mask", "hpss"]
CHUNK_ESTIMATES = ["lqsep", "marginal", "pair", "best-of-N", *TRACK_ESTIMATES[2:]]


@pytest.fixture(scope="module")
def separator(tiny_model):
    # gains that differ, segments shorter than a track
    return Separator.from_pretrained(
        tiny_model,
        device="cpu",
        overrides=["sources.drums.gain=0.3", "sources.bass.gain=0.7", "pipeline.segment=1.5"],
    )


@pytest.fixture(scope="module")
def dataset():
    return SyntheticDataset(n_tracks=1, duration_s=3.2, sample_rate=8000)


@pytest.fixture(scope="module")
def runs(separator, dataset):
    """By protocol: the plan, the baselines and what became of the items."""
    found = {}
    baselines = Baselines(HpssSetting(), ("hpss: not fitted",))
    for name, protocol in PROTOCOLS.items():
        items = plan_items(dataset, protocol, sources=separator.sources)
        outcomes = [
            evaluate_item(separator, dataset, item, protocol, baselines=baselines) for item in items
        ]
        found[name] = items, baselines, outcomes
    return found


def values(result, metric="sdr", reference="original"):
    return {
        (score["estimate"], score["source"]): score["value"]
        for score in result["scores"]
        if (score["metric"], score["reference"]) == (metric, reference)
    }


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_gives_a_table(runs, separator, name):
    protocol = PROTOCOLS[name]
    results = [json.loads(json.dumps(result, allow_nan=False)) for result, _ in runs[name][2]]
    estimates = CHUNK_ESTIMATES if name == "lqvae2021" else TRACK_ESTIMATES
    for result in results:
        assert result["protocol"] == name and result["timings_s"]["separate"] > 0
        found = {
            (s["estimate"], s["source"], s["metric"], s["reference"]) for s in result["scores"]
        }
        assert found == {
            (estimate, source, metric, reference)
            for estimate in estimates
            for source in separator.sources
            for metric in protocol.metrics
            for reference in protocol.references
            if (estimate, reference) != ("codec", "decoded")
        }
        assert len(found) == len(result["scores"])
        assert all(score["value"] is not None for score in result["scores"])
        assert "hpss: not fitted" in result["notes"]
    assert list(dict.fromkeys(row.estimate for row in summarise(results).rows)) == estimates
    assert to_markdown(summarise(results)).count("###") == len(protocol.metrics) * len(
        protocol.references
    )


def test_same_seed_same_figures(runs, separator, dataset):
    items, baselines, outcomes = runs["lqvae2021"]
    again, media = evaluate_item(
        separator, dataset, pickle.loads(pickle.dumps(items[0])), LQVAE2021, baselines=baselines
    )
    assert again["scores"] == outcomes[0][0]["scores"]
    assert np.array_equal(media["estimates"]["bass"], outcomes[0][1]["estimates"]["bass"])
    other, _ = evaluate_item(separator, dataset, items[0], LQVAE2021, seed=1)
    assert values(other) != values(again)
    assert {name for name, _ in values(other)} == {"lqsep", "marginal", "pair", "best-of-N"}


def test_a_chunk_is_scored_over_two_seconds_at_mixture_level(runs, separator, dataset):
    """Estimate and reference both times their gain; the two kinds of reference are two."""
    items, _, outcomes = runs["lqvae2021"]
    result, media = outcomes[0]
    sound = load_item(dataset, items[0], LQVAE2021, sources=separator.sources, gains=(0.3, 0.7))
    assert media["sample_rate"] == CHUNK_RATE
    assert np.array_equal(media["mixture"], sound.mixture)
    decoded = codec_round_trips(sound, separator.codec, separator.device)
    for n, (source, gain) in enumerate(zip(separator.sources, (0.3, 0.7), strict=True)):
        estimate = media["estimates"][source][:, :44_100]
        truth = gain * sound.sources[n, :, :44_100]
        assert media["references"][source] == pytest.approx(gain * sound.sources[n].numpy())
        assert values(result)["lqsep", source] == pytest.approx(sdr(truth.numpy(), estimate))
        wanted = sdr(decoded[n, :, :44_100].numpy(), estimate)
        assert values(result, reference="decoded")["lqsep", source] == pytest.approx(wanted)
        assert values(result)["codec", source] == pytest.approx(sdr(truth, decoded[n, :, :44_100]))
        assert values(result)["mixture/2", source] == pytest.approx(
            sdr(truth, sound.mixture[:, :44_100] / 2)
        )
        assert values(result)["best-of-N", source] >= values(result)["marginal", source]
        assert values(result)["oracle-mask", source] > values(result)["mixture/2", source] + 3
    assert any("works at 8000 Hz" in note for note in result["notes"])


def test_track_figures_are_those_of_separate(runs, separator, dataset):
    items, _, outcomes = runs["museval-v4"]
    result, media = outcomes[0]
    separation = separator.separate((media["mixture"], 8000), seed=0)
    sound = load_item(dataset, items[0], MUSEVAL_V4, sources=separator.sources, gains=(0.3, 0.7))
    for source, stem in separation.stems.items():
        assert np.array_equal(media["estimates"][source], stem)
    slow = museval_metrics(
        sound.stems.numpy(), np.stack(list(separation.stems.values())), window=8000, hop=8000
    )
    for name in MUSEVAL_V4.metrics:
        for n, source in enumerate(separator.sources):
            wanted = np.nanmedian(slow[name][n])
            assert values(result, name)["lqsep", source] == pytest.approx(wanted, abs=1e-6)


def test_best_candidates_of_a_stereo_track(tiny_model):
    separator = Separator.from_pretrained(
        tiny_model,
        device="cpu",
        overrides=["pipeline.segment=1.0", "pipeline.overlap=0.0", "sampler.n_candidates=4"],
    )
    dataset = SyntheticDataset(n_tracks=1, duration_s=2.5, sample_rate=16_000, channels=2)
    item = plan_items(dataset, SI_SDR, sources=separator.sources)[0]
    sound = load_item(dataset, item, SI_SDR, sources=separator.sources, gains=separator.gains)
    run = separate_track(separator, sound, 0)
    assert run.stems.shape == run.best.shape == (2, 2, 40_000)
    assert run.n_candidates == 4 and run.watch.elapsed_s > 0
    again = separator.stream((sound.mixture.numpy(), 16_000), seed=0)
    for segment, result in again.segments():
        truth = sound.stems[..., segment.start : segment.stop].mean(1)
        scores = score_candidates(result.decoded, truth[None], 8000, 16_000, truth.shape[-1])[0]
        for n in range(2):
            best = run.best[n, :, segment.start : segment.stop]
            assert torch.equal(best[0], best[1])
            assert sdr(truth[n], best[0]) == pytest.approx(scores[n].max().item())
            assert scores[n].max() > scores[n].min()


def test_si_sdr_windows_by_hand():
    rate = 100
    rng = np.random.default_rng(0)
    stems = torch.from_numpy(rng.standard_normal((2, 1, 10 * rate)))
    stems[1, :, : 5 * rate] = 0  # only the windows from 2, 4 and 6 s on have both
    mixture = stems.sum(0)
    estimates = stems + 0.1 * torch.from_numpy(rng.standard_normal(stems.shape))
    found = si_sdr_scores(stems, estimates, mixture, rate)
    windows = [slice(start * rate, (start + 4) * rate) for start in (2, 4, 6)]
    for n in range(2):
        cut = [(stems[n, :, w], estimates[n, :, w], mixture[:, w]) for w in windows]
        values = [si_sdr(s, e) for s, e, _ in cut]
        assert found["si_sdr"][n] == Figure(pytest.approx(np.mean(values)), 4, 1)
        gained = [si_sdr(s, e) - si_sdr(s, m) for s, e, m in cut]
        assert found["si_sdri"][n] == Figure(pytest.approx(np.mean(gained)), 4, 1)
    silent = si_sdr_scores(stems * torch.tensor([1, 0])[:, None, None], estimates, mixture, rate)
    for figure in (*silent["si_sdr"], *silent["si_sdri"]):
        assert math.isnan(figure.value) and figure.n_windows == figure.n_undefined == 4


def track(seconds=12, rate=100):
    """Two sources, their mixture, and estimates with errors of a tenth."""
    generator = torch.Generator().manual_seed(0)
    stems = torch.randn(2, 1, seconds * rate, generator=generator)
    errors = torch.randn(2, 1, seconds * rate, generator=generator)
    return stems, stems.sum(0), stems + 0.1 * errors


def scores_under(protocol, stems, estimates, mixture, rate=100):
    if protocol == "museval-v4":
        return museval_scores(stems, estimates, rate)
    work = si_sdr_scores if protocol == "si-sdr" else track_scores
    return work(stems, estimates, mixture, rate)


TRACK_PROTOCOLS = ["museval-v4", "si-sdr", "track-sdr"]


@pytest.mark.parametrize("protocol", TRACK_PROTOCOLS)
def test_a_silent_estimate_is_no_better_than_noise(protocol):
    """Two thirds of it: where there was no value, the rest used to speak for the whole."""
    stems, mixture, estimates = track()
    noise = 0.01 * torch.randn(stems.shape, generator=torch.Generator().manual_seed(1))
    good = scores_under(protocol, stems, estimates, mixture)
    for part, name in ((0 * noise, "silence"), (noise, "noise")):
        worse = torch.cat([estimates[..., :400], part[..., 400:]], -1)
        found = scores_under(protocol, stems, worse, mixture)
        for metric in PROTOCOLS[protocol].metrics[:1]:
            for figure, other in zip(found[metric], good[metric], strict=True):
                assert figure.value < other.value - 15, name
                assert (figure.n_windows, figure.n_undefined) == (other.n_windows, 0)


@pytest.mark.parametrize("protocol", TRACK_PROTOCOLS)
def test_an_estimate_that_is_silent_throughout_has_a_figure(protocol):
    stems, mixture, estimates = track()
    found = scores_under(protocol, stems, 0 * estimates, mixture)
    wanted = {"sdr": 0, "isr": 0, "si_sdr": -LIMIT_DB}
    for metric in found.keys() & wanted.keys():
        values = [figure.value for figure in found[metric]]
        assert values == pytest.approx([wanted[metric]] * 2, abs=1e-9)
    assert found.keys() & wanted.keys()
    for metric in found.keys() & {"sir", "sar"}:
        assert all(figure.n_undefined == figure.n_windows == 12 for figure in found[metric])


@pytest.mark.parametrize("protocol", TRACK_PROTOCOLS)
def test_a_perfect_estimate_has_the_best_figures(protocol):
    stems, mixture, _ = track()
    found = scores_under(protocol, stems, stems, mixture)
    for metric in found.keys() - {"si_sdri"}:
        assert [figure.value for figure in found[metric]] == [LIMIT_DB] * 2
    for figures in found.values():
        assert all(figure.n_undefined == 0 for figure in figures)


def decoded(waves):
    """Candidates without codes worth speaking of; ``waves``: sources candidates 1 samples."""
    n_sources, n = waves.shape[:2]
    scores = torch.zeros(n)
    candidates = Candidates(
        torch.zeros(n_sources, n, 1, dtype=torch.int64), -torch.ones(n_sources, n), scores, scores
    )
    return DecodedCandidates(candidates, waves, waves[:, 0].sum(0), (0.3, 0.7))


def test_track_scores_by_hand():
    # Four seconds at 100 Hz: drums in the first and third, bass in the first and second.
    on, off = torch.ones(100), torch.zeros(100)
    drums = torch.cat([on, off, on, off])[None]
    bass = torch.cat([on, on, off, off])[None]
    # Errors of a tenth and a hundredth; a hundredth, and nothing, of what should not be heard.
    found_drums = torch.cat([1.1 * on, 0.01 * on, 1.01 * on, on])[None]
    found_bass = torch.cat([0.9 * on, 0.9 * on, off, on])[None]
    references, estimates = torch.stack([drums, bass]), torch.stack([found_drums, found_bass])
    found = track_scores(references, estimates, drums + bass, 100)
    # Windows of 20 and 40 dB; twice 20. float32 waves
    near = partial(pytest.approx, abs=1e-3)
    assert found["sdr"] == [Figure(near(30), 4, 2), Figure(near(20), 4, 2)]
    # Exact silence counts as 100 dB; in the last second nothing is heard.
    assert found["rejection"] == [Figure(near(40), 4, 3), Figure(near(100), 4, 3)]
    whole = [si_sdr(drums, found_drums), si_sdr(bass, found_bass)]  # one window
    assert [figure.value for figure in found["si_sdr"]] == pytest.approx(whole, abs=1e-9)


def test_a_missing_source_has_a_rejection_and_no_sdr():
    wave = torch.sin(torch.arange(500.0))[None]
    references = torch.stack([wave, torch.zeros(1, 500)])
    found = track_scores(references, torch.stack([wave, wave]) / 2, wave, 100)
    assert found["sdr"][0].value == pytest.approx(20 * math.log10(2), abs=1e-5)  # float32
    assert math.isnan(found["sdr"][1].value) and math.isnan(found["si_sdr"][1].value)
    assert math.isnan(found["rejection"][0].value)
    assert found["rejection"][1].value == pytest.approx(20 * math.log10(2), abs=1e-5)


@pytest.mark.parametrize("n_candidates", [1, 2, 130])
def test_oracle_survives_a_silent_candidate(n_candidates):
    generator = torch.Generator().manual_seed(0)
    truth = torch.randn(2, 1, 500, generator=generator)
    waves = truth[:, None] + torch.randn(2, n_candidates, 1, 500, generator=generator)
    if n_candidates > 1:
        waves[0, 1] = 0
    references = torch.stack([truth[:, 0], truth[:, 0] * 0.5]) * torch.tensor([0.3, 0.7])[:, None]
    scores = score_candidates(decoded(waves), references, 100, 100, 500)
    assert scores.shape == (2, 2, n_candidates)
    if n_candidates > 1:
        assert scores[:, 0, 1].tolist() == [0, 0]
    for s in range(2):
        wanted = [sdr(truth[s], wave) for wave in waves[s]]
        assert best_scores(scores)[0, s].item() == pytest.approx(max(wanted))
    one_unknown = scores.index_fill(-1, torch.tensor([0]), math.nan)
    assert best_scores(one_unknown).isnan().all() == (n_candidates == 1)
    assert best_scores(scores * math.nan).isnan().all()
    picks = pick(decoded(waves), waves[:, 0].sum(0), "pair")
    assert picks is not None and all(0 <= n < n_candidates for n in picks)


def test_picks_are_the_rejection_selectors(separator, dataset):
    item = plan_items(dataset, LQVAE2021, sources=separator.sources)[0]
    sound = load_item(dataset, item, LQVAE2021, sources=separator.sources, gains=(0.3, 0.7))
    found = separator.separate_segment(
        Mixture(sound.mixture, CHUNK_RATE), generator=segment_generator(0, 0)
    ).decoded
    joint = joint_scores(found)
    assert pick(found, found.mixture, "marginal") == tuple(
        int(joint.marginal(n).argmax()) for n in range(2)
    )
    flat = int(joint.log_posterior.argmax())
    assert pick(found, found.mixture, "pair") == (flat // 2, flat % 2)


def test_too_many_candidates_leave_the_picks_out(runs, separator, dataset, monkeypatch):
    monkeypatch.setattr("lqsep.core.inference.joint_scores._MOST_COMBINATIONS", 1)
    item = runs["lqvae2021"][0][0]
    result, _ = evaluate_item(separator, dataset, item, LQVAE2021)
    assert (
        values(result)["pair", "bass"] is None and values(result)["best-of-N", "bass"] is not None
    )
    assert any(note.startswith("pair: too many candidates") for note in result["notes"])


def test_codec_round_trips_by_hand(separator):
    """At the level that the codec brings what is heard of the mixture to, then back, then times
    the gain.
    """
    codec = LQVAECodec(separator.codec.model, sample_rate=8000, level=0.2)
    sources = 0.02 * torch.randn(2, 1, 3000, generator=torch.Generator().manual_seed(0))
    sound = ItemSound(sources, (0.3, 0.7), 8000)
    found = codec_round_trips(sound, codec, separator.device)
    mixture = 0.3 * sources[0] + 0.7 * sources[1]
    unheard = torch.from_numpy(low_pass(mixture.numpy(), 8000, codec.info.lowest_hz, 0, 3000))
    scale = 0.2 / float((mixture - unheard).square().mean().sqrt())
    for n, gain in enumerate(sound.gains):
        wanted = codec.decode(codec.encode(sources[n][None] * scale), 3000)[0] / scale * gain
        assert (found[n] - wanted).abs().max() < 1e-6 * wanted.abs().max()


def test_baselines_of_long_tracks_are_made_in_stretches(separator, monkeypatch):
    generator = torch.Generator().manual_seed(0)
    sound = ItemSound(0.1 * torch.randn(2, 2, 40_000, generator=generator), (0.3, 0.7), 8000)
    chosen = Baselines(hpss=None)
    arguments = (("drums", "bass"), separator.codec, separator.device, chosen)
    whole = baseline_stems(sound, *arguments)
    monkeypatch.setattr("lqsep.core.evaluation.baselines_of._STRETCH_S", 1.7)
    parts = baseline_stems(sound, *arguments)
    assert list(parts) == ["mixture/2", "codec", "oracle-mask"]
    for name, stems in parts.items():
        assert stems.shape == whole[name].shape
    # other frames of the transform: close, not equal
    assert sdr(whole["oracle-mask"].flatten(), parts["oracle-mask"].flatten()) > 10


def test_hpss_is_fitted_to_the_data_set(dataset):
    items = plan_items(dataset, SI_SDR, sources=("drums", "bass"))
    arguments = {"sources": ("drums", "bass"), "gains": (0.3, 0.7)}
    found = fit_baselines(dataset, SI_SDR, **arguments)
    sound = load_item(dataset, items[0], SI_SDR, **arguments)
    drums, bass = sound.stems
    assert found.hpss == best_hpss([(sound.mixture, bass, drums, sound.sample_rate)])
    assert found.hpss != best_hpss([(sound.mixture, drums, bass, sound.sample_rate)])
    assert found.notes[0].startswith("hpss: window")
    assert found.notes[0].endswith("the best of a grid on 1 of 1 tracks")


class Damaged(SyntheticDataset):
    """Some tracks cannot be read, as the header tells or later."""

    no_header: tuple[int, ...] = ()
    no_samples: tuple[int, ...] = ()

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.read = []

    def info(self, index):
        if index in self.no_header:
            raise AudioError("cannot read the header")
        return super().info(index)

    def stem(self, index, source, start=0, stop=None):
        if index in self.no_samples:
            raise AudioError("cannot read the samples")
        self.read.append(index)
        return super().stem(index, source, start, stop)


def test_hpss_is_fitted_to_tracks_of_all_the_data_set_that_can_be_read():
    damaged = Damaged(n_tracks=20, duration_s=0.3, sample_rate=8000)
    arguments = {"sources": ("drums", "bass"), "gains": (0.5, 0.5)}
    fit_baselines(damaged, SI_SDR, **arguments)
    assert list(dict.fromkeys(damaged.read)) == [0, 3, 6, 9, 12, 15, 18, 1]
    damaged.read, damaged.no_header, damaged.no_samples = [], (0, 3), (6,)
    found = fit_baselines(damaged, SI_SDR, **arguments)
    assert list(dict.fromkeys(damaged.read)) == [9, 12, 15, 18, 1, 4, 7, 10]
    assert found.notes[0].endswith("on 8 of 20 tracks")
    damaged.no_header = tuple(range(20))
    with pytest.raises(AudioError, match="none of 20 tracks can be read to fit"):
        fit_baselines(damaged, SI_SDR, **arguments)


def test_hpss_is_left_out_for_other_sources(dataset):
    other = SyntheticDataset(sources=("clicks", "tones"), n_tracks=1, sample_rate=8000)
    found = fit_baselines(other, SI_SDR, sources=other.sources, gains=(0.5, 0.5))
    assert found.hpss is None and found.notes[0].startswith("hpss left out")
