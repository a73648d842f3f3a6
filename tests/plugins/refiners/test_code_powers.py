"""Powers of sources from their codes, and spectra fitted to the mixture."""

import torch

from lqsep.core.interfaces.candidates import Candidates, DecodedCandidates, Selection
from lqsep.core.interfaces.data import EncodedMixture, Mixture
from lqsep.core.interfaces.refiner import RefineContext
from lqsep.plugins.refiners.code_powers import CodeSpectra, code_spectra, fitted
from lqsep.plugins.refiners.wiener import WienerRefiner
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.codec import SpectralCodec
from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.log_sum import LogSumLikelihood

FEATURES = SpectralFeatures(8000, n_fft=256, hop_length=64, n_bands=40)


def make_book(*log_powers):
    """Silence and codes of these spectra."""
    log_power = torch.stack([torch.full((129,), FEATURES.bin_floor).log(), *log_powers])
    mean = FEATURES.bands(log_power.exp()).log()
    return SpectralBook(mean, torch.ones_like(mean), log_power, torch.ones(len(mean)).long())


def make_context(codec, codes, weights, wave, *, scale=1.0, gains=(0.5, 0.5), equaliser=None):
    zeros = torch.zeros(codes.shape[1])
    candidates = Candidates(codes, torch.zeros(2, len(zeros)), zeros, zeros)
    waves = torch.zeros(2, len(zeros), *wave.shape)
    decoded = DecodedCandidates(candidates, waves, wave, gains)
    encoded = EncodedMixture(wave, torch.zeros(codes.shape[2], 40), None, scale)
    mixture = Mixture(wave, 8000)
    bound = LogSumLikelihood(codec.books, FEATURES).bind(encoded, gains)
    if equaliser is not None:
        bound.equaliser = equaliser
    selection = Selection(weights)
    return RefineContext(mixture, encoded, bound, candidates, decoded, selection, codec, gains)


def test_presence_is_the_weight_of_the_candidates():
    codec = SpectralCodec(FEATURES, [make_book(torch.zeros(129), torch.ones(129))] * 2)
    codes = torch.tensor([[[0, 2, 2, 1], [0, 2, 1, 1], [0, 0, 0, 0]]] * 2)
    weights = torch.tensor([[0.75, 0.25, 0.0], [0.0, 0.0, 1.0]])
    first, second = code_spectra(make_context(codec, codes, weights, torch.zeros(1, 256)))
    # The third candidate has no weight for source 0, source 1 has nothing but silence.
    expected = torch.tensor([[1, 0, 0], [0, 0, 1], [0, 0.25, 0.75], [0, 1, 0]])
    assert torch.equal(first.presence, expected)
    assert torch.equal(second.presence, torch.ones(4, 1))
    assert torch.allclose(first.power[1:], torch.tensor([[1.0], [torch.e]]).expand(2, 129) / 4)
    assert torch.allclose(first.expected()[2], torch.tensor((0.25 + 0.75 * torch.e) / 4))


def test_equalisers_are_in_the_spectra():
    codec = SpectralCodec(FEATURES, [make_book(torch.zeros(129))] * 2)
    codes, weights = torch.ones(2, 1, 4, dtype=torch.int64), torch.ones(2, 1)
    equaliser = torch.tensor([[1.0], [-1.0]]).expand(2, 40)
    first, second = code_spectra(
        make_context(codec, codes, weights, torch.zeros(1, 256), equaliser=equaliser)
    )
    assert torch.allclose(first.power, torch.tensor(torch.e / 4))
    assert torch.allclose(second.power, torch.tensor(1 / torch.e / 4))


def test_without_rounds_nothing_is_fitted():
    part = CodeSpectra(torch.rand(3, 5), torch.rand(4, 3))
    (same,) = fitted([part], torch.rand(4, 5), 0)
    assert torch.equal(same.power, part.power)


def test_a_lone_source_becomes_what_is_observed():
    # One code in all of 98 frames: each round goes 98 / 100 of the way, in logs.
    power, observed = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 0.5]]).expand(98, -1)
    (found,) = fitted([CodeSpectra(power, torch.ones(98, 1))], observed, 1)
    expected = power * (observed[:1] / power) ** 0.98
    assert torch.allclose(found.power, expected)


def test_where_the_codes_are_right_they_stay():
    generator = torch.Generator().manual_seed(0)
    parts = [
        CodeSpectra(torch.rand(4, 9, generator=generator) + 0.1, torch.eye(4)[order])
        for order in ([0, 1, 2, 3, 0, 1], [3, 3, 1, 2, 0, 1])
    ]
    observed = sum(part.expected() for part in parts)
    for part, found in zip(parts, fitted(parts, observed, 8), strict=True):
        assert torch.allclose(found.power, part.power, rtol=1e-5)


def test_spectra_come_nearer_to_those_of_the_mixture():
    """Codes of wrong colours in changing company: the mixture tells whose the differences are."""
    generator = torch.Generator().manual_seed(0)
    truth = [torch.randn(3, 20, generator=generator).exp() for _ in range(2)]
    presence = [torch.eye(3)[torch.randint(3, (200,), generator=generator)] for _ in range(2)]
    observed = sum(p @ power for p, power in zip(presence, truth, strict=True))
    colours = [0.7 * torch.randn(3, 20, generator=generator) for _ in range(2)]
    start = [
        CodeSpectra(power * colour.exp(), p)
        for power, colour, p in zip(truth, colours, presence, strict=True)
    ]
    errors = [
        sum(
            float((part.power / power).log().square().mean())
            for part, power in zip(fitted(start, observed, rounds), truth, strict=True)
        )
        for rounds in (0, 2, 8)
    ]
    assert errors[1] < 0.6 * errors[0]
    assert errors[2] < 0.6 * errors[1]


def test_silence_and_nothing_are_no_numbers_gone_wrong():
    part = CodeSpectra(torch.full((1, 3), 1e-30), torch.ones(2, 1))
    for observed in (torch.zeros(2, 3), torch.full((2, 3), 1e30)):
        for found in fitted([part, part], observed, 20):
            assert found.power.isfinite().all()


def test_masks_are_better_where_the_codes_are_wrong():
    """Low and high noise that take turns; both codes say the same of all frequencies."""
    torch.manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(2, 16_000))
    spectrum[0, 4000:] = 0
    spectrum[1, :4000] = 0
    waves = torch.fft.irfft(spectrum, 16_000)
    on = torch.ones(2, 16_000)
    on[0, 5000:10_000] = 0
    on[1, 10_000:] = 0
    waves = waves * on
    codec = SpectralCodec(FEATURES, [make_book(torch.full((129,), 3.0))] * 2)
    codes = on[:, None, ::64].long()
    scale = 2.0
    stems = waves[:, None] / scale
    context = make_context(codec, codes, torch.ones(2, 1), stems.sum(0), scale=scale)

    def error(rounds):
        found = WienerRefiner(rounds=rounds).refine(stems, context)
        assert (found.sum(0) - stems.sum(0)).abs().max() < 1e-5  # float32
        return float((found - stems).square().sum() / stems.square().sum())

    assert error(0) > 0.1
    assert error(8) < 0.3 * error(0)


def test_the_mixture_is_seen_at_the_level_of_the_codes():
    torch.manual_seed(0)
    wave = torch.randn(1, 640)
    books = [make_book(slope * torch.linspace(-2, 2, 129) + 3) for slope in (1, -1)]
    codec = SpectralCodec(FEATURES, books)
    codes = torch.ones(2, 1, 10, dtype=torch.int64)
    refined = [
        scale
        * WienerRefiner(rounds=2).refine(
            torch.zeros(2, 1, 640),
            make_context(codec, codes, torch.ones(2, 1), wave / scale, scale=scale),
        )
        for scale in (1.0, 8.0)
    ]
    assert torch.allclose(*refined, atol=1e-5)
    with_less = make_context(codec, codes, torch.ones(2, 1), wave / 8)
    other = 8 * WienerRefiner(rounds=2).refine(torch.zeros(2, 1, 640), with_less)
    assert (other - refined[0]).abs().max() > 0.01
