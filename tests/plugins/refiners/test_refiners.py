import dataclasses

import pytest
import torch

from lqsep.core.audio.resampling import resample
from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates, Selection
from lqsep.core.interfaces.data import EncodedMixture, Mixture
from lqsep.core.interfaces.refiner import RefineContext
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.refiners import plugin
from lqsep.plugins.refiners.consistency import ConsistencyRefiner
from lqsep.plugins.refiners.wiener import WienerRefiner
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import RefinerContract
from lqsep.testing.toys import AddingCodec, DenseBound

CODEC_RATE = 8000


class TestWiener(RefinerContract):
    def make(self):
        return WienerRefiner()


class TestWienerWithoutDirections(RefinerContract):
    def make(self):
        return WienerRefiner(spatial=False)


class TestConsistency(RefinerContract):
    def make(self):
        return ConsistencyRefiner()


class TestConsistencyByEnergy(RefinerContract):
    def make(self):
        return ConsistencyRefiner("energy")


class PowerBound(DenseBound):
    """Codes stand for spectra: code ``k`` is noise below (0) or above (1) half of Nyquist."""

    def __init__(self):
        super().__init__(torch.zeros(1, 2, 2))

    def source_power(self, source, codes):
        n_bins = 101
        low = torch.arange(n_bins)[None, :, None] < n_bins // 2
        return (low == (codes[:, None] == 0)).float()


def make_context(mixture, rate, waves, gains, *, weights=None, codec=None, bound=None, codes=None):
    """Candidates that decode to given waves."""
    n_sources, n_candidates, _, n_samples = waves.shape
    codec = codec or AddingCodec(sample_rate=CODEC_RATE)
    if codes is None:
        codes = torch.zeros(n_sources, n_candidates, 1, dtype=torch.int64)
    zeros = torch.zeros(n_candidates)
    candidates = Candidates(codes, torch.zeros(n_sources, n_candidates), zeros, zeros)
    decoded = DecodedCandidates(candidates, waves, waves[:, 0].sum(0), gains)
    if weights is None:
        weights = torch.full((n_sources, n_candidates), 1 / n_candidates)
    encoded = EncodedMixture(torch.zeros(1, n_samples), torch.zeros(1, 1), None, 1.0)
    return RefineContext(
        Mixture(mixture, rate),
        encoded,
        bound or DenseBound(torch.zeros(1, 2, 2)),
        candidates,
        decoded,
        Selection(weights),
        codec,
        gains,
    )


def make_sources(rate, channels=1, duration_s=2.0, seed=0):
    """Drums and bass at a rate, ``sources channels samples``, unweighted."""
    data = SyntheticDataset(
        n_tracks=1, duration_s=duration_s, sample_rate=rate, channels=channels, seed=seed
    )
    return torch.stack([torch.from_numpy(stem) for stem in data[0].stems.values()])


def perfect(rate, channels=1, gains=(0.8, 0.4), duration_s=2.0):
    """A mixture and a codec that knows its sources: true stems, context."""
    sources = make_sources(rate, channels, duration_s)
    stems = sources * torch.tensor(gains)[:, None, None]
    waves = resample(sources.mean(1, keepdim=True), rate, CODEC_RATE)[:, None]
    return stems, make_context(stems.sum(0), rate, waves, gains)


def sdr(reference, estimate):
    return 10 * torch.log10(reference.square().sum() / (reference - estimate).square().sum())


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 44_100, 48_000])
def test_perfect_sources_give_near_perfect_stems(rate, channels):
    stems, context = perfect(rate, channels)
    refined = WienerRefiner().refine(torch.zeros_like(stems), context)
    assert refined.shape == stems.shape
    # As good as a mask of powers can be: the thumps overlap with the tones. Measured 9.2 to 11.3 dB
    # for the drums and 15.4 to 17.3 for the bass, with improvements from 9.2 on.
    for truth, found in zip(stems, refined, strict=True):
        assert sdr(truth, found) > 9 + max(0, sdr(truth, context.mixture.wave))
    # The masks sum to one.
    assert (refined.sum(0) - context.mixture.wave).abs().max() < 2e-6


def test_sources_apart_in_frequency_come_out_clean():
    time = torch.arange(22_050) / 22_050
    sources = torch.stack([torch.sin(2 * torch.pi * hz * time) for hz in (300, 2500)])[:, None]
    waves = resample(sources, 22_050, CODEC_RATE)[:, None]
    context = make_context(0.5 * sources.sum(0), 22_050, waves, (0.5, 0.5))
    refined = WienerRefiner().refine(torch.zeros_like(sources), context)
    # Hann side lobes; the abrupt ends cost most
    for truth, found in zip(0.5 * sources, refined, strict=True):
        assert sdr(truth, found) > 40


@pytest.mark.parametrize("rate", [8000, 44_100])
@pytest.mark.parametrize("n_samples", [1, 2, 100, 1023, 4097])
def test_any_length(rate, n_samples):
    mixture = torch.randn(2, n_samples)
    waves = torch.randn(2, 1, 1, -(-n_samples * CODEC_RATE // rate))
    context = make_context(mixture, rate, waves, (0.5, 0.5))
    refined = WienerRefiner().refine(torch.zeros(2, 2, n_samples), context)
    assert refined.shape == (2, 2, n_samples)
    assert (refined.sum(0) - mixture).abs().max() < 1e-5
    consistent = ConsistencyRefiner().refine(refined, context)
    assert consistent.shape == (2, 2, n_samples)


def test_all_channels_have_the_same_masks():
    mixture = torch.randn(1, 9000)
    waves = torch.randn(2, 1, 1, 9000)
    mono = make_context(mixture, CODEC_RATE, waves, (0.5, 0.5))
    sides = torch.cat([mixture, -0.25 * mixture])
    stereo = make_context(sides, CODEC_RATE, waves, (0.5, 0.5))
    one = WienerRefiner().refine(torch.zeros(2, 1, 9000), mono)
    two = WienerRefiner().refine(torch.zeros(2, 2, 9000), stereo)
    assert torch.allclose(two, torch.cat([one, -0.25 * one], 1), atol=1e-6)


@pytest.mark.parametrize("rate", [CODEC_RATE, 44_100])
def test_two_sources_with_one_spectrum_are_told_apart_by_their_place(rate):
    # Alone for a second each, then together for a second, all the time in the same band.
    torch.manual_seed(0)
    tones = torch.randn(2, 1, 3 * CODEC_RATE)
    tones[0, :, CODEC_RATE : 2 * CODEC_RATE] = 0
    tones[1, :, :CODEC_RATE] = 0
    places = torch.tensor([[1.0, 0.6], [0.6, 1.0]])[:, :, None]
    truth = places * resample(tones, CODEC_RATE, rate)
    mixture = truth.sum(0)
    context = make_context(mixture, rate, tones[:, None], (0.8, 0.8))
    silence = torch.zeros_like(truth)
    shared = WienerRefiner(spatial=False).refine(silence, context)
    found = WienerRefiner().refine(silence, context)
    together = slice(int(2.2 * rate), int(2.8 * rate))
    for true, by_masks, by_place in zip(truth, shared, found, strict=True):
        # Measured 4.9 and 24.5 dB.
        assert sdr(true[:, together], by_masks[:, together]) < 7
        assert sdr(true[:, together], by_place[:, together]) > 20
    # The stems still sum to the mixture: rounding of the transforms.
    assert (found.sum(0) - mixture).abs().max() < 1e-5


def test_place_is_for_two_sources():
    torch.manual_seed(0)
    mixture, waves = torch.randn(2, 5000), torch.randn(3, 1, 1, 5000)
    context = make_context(mixture, CODEC_RATE, waves, (0.5, 0.5, 0.5))
    silence = torch.zeros(3, 2, 5000)
    found = WienerRefiner().refine(silence, context)
    assert torch.equal(found, WienerRefiner(spatial=False).refine(silence, context))


def test_silence_is_shared_equally():
    # Nothing is known of the sources: whatever is there is split.
    mixture = torch.randn(1, 5000)
    context = make_context(mixture, CODEC_RATE, torch.zeros(3, 1, 1, 5000), (1.0, 1.0, 1.0))
    refined = WienerRefiner().refine(torch.zeros(3, 1, 5000), context)
    assert torch.allclose(refined, mixture.expand(3, 1, -1) / 3, atol=1e-6)


def test_near_silence_is_separated_like_the_same_thing_louder():
    stems, context = perfect(16_000)
    quiet = dataclasses.replace(
        context,
        mixture=Mixture(1e-6 * context.mixture.wave, 16_000),
        decoded=DecodedCandidates(
            context.candidates, 1e-12 * context.decoded.waves, context.decoded.mixture, (0.8, 0.4)
        ),
    )
    loud = WienerRefiner().refine(stems, context)
    assert torch.allclose(1e6 * WienerRefiner().refine(stems, quiet), loud, atol=1e-5)


def test_above_the_codec_the_mask_repeats_its_top_octave():
    # The first source has the codec's top octave (2 to 4 kHz) to nine tenths of the power.
    torch.manual_seed(0)
    n_samples = 40_000
    noise = torch.randn(n_samples)
    spectrum = torch.fft.rfft(noise)
    spectrum[: n_samples // 4] = 0
    high = torch.fft.irfft(spectrum, n_samples)
    waves = torch.stack([0.9**0.5 * high, 0.1**0.5 * high])[:, None, None]
    mixture = torch.sin(2 * torch.pi * 9000 * torch.arange(5 * 44_100) / 44_100)[None]
    context = make_context(mixture, 44_100, waves, (1.0, 1.0))
    refined = WienerRefiner().refine(torch.zeros(2, 1, mixture.shape[1]), context)
    middle = slice(10_000, -10_000)
    ratio = refined[0, 0, middle].norm() / mixture[0, middle].norm()
    assert ratio == pytest.approx(0.9, abs=0.002)


def test_what_the_codec_has_at_its_very_top_counts_for_nothing():
    """Where a resampling filter left nothing the powers are equal, whatever the sources are."""

    class RolledOff(PowerBound):
        def source_power(self, source, codes):
            power = torch.full((1, 101, codes.shape[1]), 0.9 if source == 0 else 0.1)
            power[:, 97:] = 1e-9
            return power

    rate = 2 * CODEC_RATE
    waves = torch.zeros(2, 1, 1, CODEC_RATE)
    for share_of_nyquist in (0.98, 1.5):
        hz = share_of_nyquist * CODEC_RATE / 2
        mixture = torch.sin(2 * torch.pi * hz * torch.arange(rate) / rate)[None]
        context = make_context(mixture, rate, waves, (1.0, 1.0), bound=RolledOff())
        refined = WienerRefiner().refine(torch.zeros(2, 1, rate), context)
        middle = slice(4000, -4000)
        ratio = refined[0, 0, middle].norm() / mixture[0, middle].norm()
        assert ratio == pytest.approx(0.9, abs=0.002)


def test_exponent():
    torch.manual_seed(0)
    wave = torch.randn(1, 1, 8000)
    waves = torch.stack([2 * wave, wave])
    mixture = 3 * wave[0]
    for exponent, share in {1.0: 2 / 3, 2.0: 4 / 5, 4.0: 16 / 17}.items():
        context = make_context(mixture, CODEC_RATE, waves, (1.0, 1.0))
        refined = WienerRefiner(exponent=exponent).refine(torch.zeros(2, 1, 8000), context)
        assert torch.allclose(refined[0], share * mixture, atol=1e-4)


def test_gains_count():
    torch.manual_seed(0)
    waves = torch.randn(1, 1, 1, 8000).expand(2, -1, -1, -1)
    context = make_context(waves[0, 0], CODEC_RATE, waves, (2.0, 1.0))
    refined = WienerRefiner().refine(torch.zeros(2, 1, 8000), context)
    assert torch.allclose(refined[0], 0.8 * waves[0, 0], atol=1e-4)


def test_powers_are_averaged_by_weight():
    torch.manual_seed(0)
    wave = torch.randn(8000)
    waves = torch.stack([torch.stack([a * wave for a in row]) for row in ([1, 3], [1, 0])])
    weights = torch.tensor([[0.75, 0.25], [1.0, 0.0]])
    context = make_context(wave[None], CODEC_RATE, waves[:, :, None], (1.0, 1.0), weights=weights)
    refined = WienerRefiner().refine(torch.zeros(2, 1, 8000), context)
    # powers 0.75 + 0.25 * 9 = 3 and 1
    assert torch.allclose(refined[0, 0], 0.75 * wave, atol=1e-4)


@pytest.mark.parametrize("rate", [CODEC_RATE, 44_100])
def test_powers_of_the_codec_are_used_where_it_has_them(rate):
    # The first source is the low half, then the high half; the second the other way round.
    codec = AddingCodec((0.0, 0.0), hop_length=800, sample_rate=CODEC_RATE)
    half = torch.zeros(1, 10, dtype=torch.int64), torch.ones(1, 10, dtype=torch.int64)
    codes = torch.stack([torch.cat(half, 1), torch.cat(half[::-1], 1)])
    time = torch.arange(2 * rate) / rate
    low, high = (a * torch.sin(2 * torch.pi * hz * time) for a, hz in ((0.3, 500), (0.1, 3000)))
    waves = torch.zeros(2, 1, 1, 16_000)
    context = make_context(
        (low + high)[None], rate, waves, (0.5, 0.5), codec=codec, bound=PowerBound(), codes=codes
    )
    refined = WienerRefiner().refine(torch.zeros(2, 1, 2 * rate), context)[:, 0]
    truth = torch.stack([torch.where(time < 1, a, b) for a, b in ((low, high), (high, low))])
    away = (time - 1).abs() > 0.15  # from the change
    assert sdr(truth[:, away], refined[:, away]) > 40
    # The change lies where the codes have it, between the middles of frames of 100 ms: there, half
    # of each tone.
    at = (time - 1).abs() < 0.002
    assert refined[0, at].square().sum() == pytest.approx(
        float(refined[1, at].square().sum()), rel=0.2
    )


def test_consistency():
    mixture, stems = torch.randn(2, 100), torch.randn(3, 2, 100)
    context = make_context(mixture, CODEC_RATE, torch.zeros(3, 1, 1, 100), (1.0,) * 3)
    equal = ConsistencyRefiner().refine(stems, context)
    # float precision: half a unit in the last place of each stem (values up to 4)
    assert (equal.double().sum(0) - mixture).abs().max() < 1e-6
    added = equal - stems
    assert torch.allclose(added[0], added[1], atol=1e-6)
    stems[2] = 0
    by_energy = ConsistencyRefiner("energy").refine(stems, context)
    assert (by_energy.double().sum(0) - mixture).abs().max() < 1e-6
    assert by_energy[2].abs().max() == 0
    added = by_energy - stems
    energy = stems.square().sum((1, 2))
    assert torch.allclose(added[0] * energy[1], added[1] * energy[0], atol=1e-3)
    silent = ConsistencyRefiner("energy").refine(torch.zeros_like(stems), context)
    assert torch.allclose(silent, mixture.expand(3, -1, -1) / 3)


@pytest.mark.parametrize(
    ("name", "settings", "component"),
    [
        (
            "wiener",
            {"exponent": 1.0, "window_s": 0.05, "rounds": 3, "spatial": False},
            WienerRefiner,
        ),
        ("consistency", {"share": "energy"}, ConsistencyRefiner),
    ],
)
def test_built_from_settings(tmp_path, name, settings, component):
    registered = Registry.from_plugins(lqsep=plugin).find(Kind.REFINER, name)
    config = registered.spec.config(**settings)
    built = build(registered, config, build_context(tmp_path))
    assert isinstance(built, component)
    for field, value in settings.items():
        assert getattr(built, f"_{field}") == value
