"""Losses against numbers recorded from the reference, and on cases known by hand.

Tolerances: a loss is a float32 sum over up to 10^5 terms, and the reference sums some of them in
another order (squared norms, code counts by matrix product): relative 2e-5. Running sums are of
size 100 and gather hundreds of vectors: absolute 5e-5.
"""

import jaxtyping
import pytest
import torch

from lqsep.core.errors import AudioError, ShapeError
from lqsep.plugins.jukebox.codec_names import own_name
from lqsep.plugins.lqvae.losses import (
    Bandwidth,
    LossWeights,
    linearisation_terms,
    lqvae_loss,
    measure_bandwidth,
    reconstruction_terms,
)
from lqsep.plugins.lqvae.model import LQVAE
from lqsep.plugins.lqvae.quantizer import Quantizer
from lqsep.plugins.lqvae.spectra import multi_magnitude_distance, multi_magnitudes

LEVELS = (0, 1, 2)
LOSS_RTOL = 2e-5

# With run-time checks of annotations on, a tensor of the wrong rank fails there already.
WRONG_SHAPE = (ShapeError, jaxtyping.TypeCheckError)
METRIC_NAMES = {"latent_norm": "pn", "entropy": "entropy", "kept": "usage"}


@pytest.fixture
def recorded(golden):
    return golden.npz("loss")


def bandwidth_of(recorded) -> Bandwidth:
    return Bandwidth(*(float(recorded[f"bandwidth_{name}"]) for name in ("l1", "l2", "spec")))


def batch_of(recorded) -> torch.Tensor:
    return torch.from_numpy(recorded["batch"]).unsqueeze(1)


def in_training(model: LQVAE, recorded) -> LQVAE:
    """The recorded model with the running sums and counts it had."""
    for level in LEVELS:
        quantizer = model.quantizer(level)
        quantizer.codebook.copy_(torch.from_numpy(recorded[f"k_before_l{level}"]))
        quantizer.code_sum.copy_(torch.from_numpy(recorded[f"k_sum_before_l{level}"]))
        quantizer.code_count.copy_(torch.from_numpy(recorded[f"k_elem_before_l{level}"]))
        quantizer.revival_threshold = float(recorded[f"threshold_l{level}"])
        quantizer.decay = float(recorded["mu"])
    return model.train()


def assert_terms_match(terms, recorded, prefix):
    """Every recorded loss term that has a weight, under the reference's names.

    They count levels from 1, and some are of the last level only, which is level 0.
    """
    ours = {
        "total_loss": terms.total,
        "commit_loss": terms.commitment + terms.commitment_pairs,
        "commit_loss_sum": terms.commitment_pairs,
        "commit_loss_standard": terms.commitment,
        "recons_loss": sum(term.total for term in terms.reconstruction),
        "multispectral_loss": sum(terms.multispectral),
        "l1_loss": terms.reconstruction[0].l1,
        "l2_loss": terms.reconstruction[0].l2,
        "linf_loss": terms.reconstruction[0].linf,
        "latent_loss": terms.latent[0],
    }
    for level in LEVELS:
        ours[f"recons_loss_l{level + 1}"] = terms.reconstruction[level].total
        ours[f"multispectral_loss_l{level + 1}"] = terms.multispectral[level]
        ours[f"latent_loss_l{level + 1}"] = terms.latent[level]
    losses = {name for name in recorded if name.startswith(prefix) and "loss" in name}
    unweighted = {name for name in losses if name.startswith(f"{prefix}spectral_loss")}
    assert losses - unweighted == {prefix + name for name in ours}
    for name, value in ours.items():
        expected = pytest.approx(float(recorded[prefix + name]), rel=LOSS_RTOL)
        assert value.item() == expected, name


def test_evaluation_terms_match_the_reference(golden_model, recorded):
    with torch.no_grad():
        terms = lqvae_loss(golden_model(), batch_of(recorded), bandwidth_of(recorded))
    assert_terms_match(terms, recorded, "eval_")


def test_spectral_terms_match_the_reference(golden_model, recorded):
    weights = LossWeights(spectral=0.5)
    with torch.no_grad():
        terms = lqvae_loss(golden_model(), batch_of(recorded), bandwidth_of(recorded), weights)
    for level in LEVELS:
        expected = float(recorded[f"eval_spectral_loss_l{level + 1}"])
        assert terms.spectral[level].item() == pytest.approx(expected, rel=LOSS_RTOL)
    total = float(recorded["eval_total_loss"] + 0.5 * recorded["eval_spectral_loss"])
    assert terms.total.item() == pytest.approx(total, rel=LOSS_RTOL)


def test_decoded_waves_match_the_reference(golden_model, recorded):
    model = golden_model()
    with torch.no_grad():
        decoded = model.decode(model.encode(batch_of(recorded), 0), 0)
    expected = torch.from_numpy(recorded["eval_x_out_l0"])
    torch.testing.assert_close(decoded[:, 0], expected, rtol=1e-5, atol=2e-5)


@pytest.fixture
def training_call(golden_model, recorded):
    """One recorded training call with its revival draws: (model, terms, watched calls)."""
    model = in_training(golden_model(), recorded)
    calls = {level: [] for level in LEVELS}
    for level in LEVELS:
        model.quantizer(level).register_forward_hook(
            lambda module, _, result, level=level: calls[level].append(
                (result.codes, module.code_count.clone())
            )
        )

    def replay(call, level, vectors):
        assert vectors.shape[1] == model.embedding_dim
        return torch.from_numpy(recorded[f"k_rand_call{call}_l{level}"])

    terms = lqvae_loss(model, batch_of(recorded), bandwidth_of(recorded), replacement=replay)
    return model, terms, calls


def test_training_terms_match_the_reference(training_call, recorded):
    _, terms, _ = training_call
    assert_terms_match(terms, recorded, "train_")


def test_quantiser_metrics_match_the_reference(training_call, recorded):
    _, terms, _ = training_call
    for name, theirs in METRIC_NAMES.items():
        levels = [float(getattr(metrics, name)) for metrics in terms.metrics]
        expected = pytest.approx(float(recorded[f"train_{theirs}"]), rel=LOSS_RTOL)
        assert sum(levels) / len(LEVELS) == expected, name


@pytest.mark.parametrize("level", LEVELS)
def test_codes_and_counts_of_each_call_match_the_reference(training_call, recorded, level):
    _, _, calls = training_call
    assert len(calls[level]) == 3
    for call, (codes, counts) in enumerate(calls[level]):
        assert codes.tolist() == recorded[f"codes_call{call}_l{level}"].tolist()
        if call < 2:
            expected = torch.from_numpy(recorded[f"k_elem_call{call}_l{level}"])
            torch.testing.assert_close(counts, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_codebooks_move_like_the_reference(training_call, recorded, level):
    quantizer = training_call[0].quantizer(level)
    for name, theirs in {"codebook": "k", "code_sum": "k_sum", "code_count": "k_elem"}.items():
        expected = torch.from_numpy(recorded[f"{theirs}_after_l{level}"])
        torch.testing.assert_close(getattr(quantizer, name), expected, rtol=2e-6, atol=5e-5)


def test_gradients_match_the_reference(training_call, recorded):
    model, terms, _ = training_call
    terms.total.backward()
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    names = [own_name(str(name)) for name in recorded["grad_names"]]
    assert set(names) == set(gradients)
    for name, expected in zip(names, recorded["grad_norms"], strict=True):
        assert gradients[name].norm().item() == pytest.approx(expected, rel=1e-4), name
    total = torch.stack([gradient.norm() for gradient in gradients.values()]).norm()
    assert total.item() == pytest.approx(float(recorded["grad_total_norm"]), rel=1e-5)
    first = torch.from_numpy(recorded["grad_first_conv"])
    ours = gradients["encoders.2.blocks.0.stages.0.down.weight"]
    torch.testing.assert_close(ours, first, rtol=1e-4, atol=1e-4 * first.abs().max().item())


def tiny_model() -> LQVAE:
    torch.manual_seed(0)
    return LQVAE(embedding_dim=4, codebook_size=8, width=4, depth=1)


def tiny_batch(items=4) -> torch.Tensor:
    return torch.randn(items, 1, 2112, generator=torch.Generator().manual_seed(0))


def test_unweighted_terms_are_not_computed():
    terms = lqvae_loss(tiny_model(), tiny_batch(), Bandwidth(), LossWeights(multispectral=0.0))
    assert terms.spectral is None
    assert terms.multispectral is None


def test_the_total_is_the_weighted_sum():
    weights = LossWeights(
        l1=0.3, l2=0.5, linf=0.1, spectral=0.2, multispectral=0.7, commitment=0.4, latent=1.5
    )
    terms = lqvae_loss(tiny_model().eval(), tiny_batch(), Bandwidth(), weights)
    expected = (
        0.3 * sum(part.l1 for part in terms.reconstruction)
        + 0.5 * sum(part.l2 for part in terms.reconstruction)
        + 0.1 * sum(part.linf for part in terms.reconstruction)
        + 0.2 * sum(terms.spectral)
        + 0.7 * sum(terms.multispectral)
        + 0.4 * (terms.commitment + terms.commitment_pairs)
        + 1.5 * sum(terms.latent)
    )
    assert terms.total.item() == pytest.approx(expected.item(), rel=1e-5)


def test_a_linear_codec_has_no_linearisation_loss():
    """With every sum of entries in the codebook, quantised sums equal sums of the quantised."""
    quantizer = Quantizer(7, 1)
    quantizer.start(torch.arange(7.0).unsqueeze(1))
    quantizer.eval()
    batch = torch.tensor([[[0.0, 1.0]], [[2.0, 2.0]]])
    gains = (1.0, 2.0)
    sums = gains[0] * batch[:1] + gains[1] * batch[1:]
    assert linearisation_terms(quantizer, batch, sums, gains).latent.item() == 0.0
    swapped = linearisation_terms(quantizer, batch, sums, gains[::-1])
    # (1*x + 2*y) - (2*x + 1*y) = y - x: 2 and 1
    assert swapped.latent.item() == pytest.approx((2.0**2 + 1.0**2) / 2)


def test_gains_weigh_waves_and_latents_alike():
    """With all the weight on one source, both sides of the linearisation loss are that source."""
    model = tiny_model()
    model.train()
    lqvae_loss(model, tiny_batch(), Bandwidth())
    model.eval()
    batch = tiny_batch()
    terms = lqvae_loss(model, batch, Bandwidth(), gains=(0.0, 1.0))
    # only float32 rounding is left of latents of size about 1
    assert max(term.item() for term in terms.latent) < 1e-10
    assert max(term.item() for term in lqvae_loss(model, batch, Bandwidth()).latent) > 1e-6


@pytest.mark.parametrize("items", [0, 1, 3, 5])
def test_an_odd_batch_is_refused(items):
    with pytest.raises(ShapeError, match="even"):
        lqvae_loss(tiny_model(), torch.zeros(items, 1, 2112), Bandwidth())


@pytest.mark.parametrize("shape", [(2, 2, 2112), (2, 2112), (2, 1, 2100)])
def test_batches_of_a_wrong_shape_are_refused(shape):
    with pytest.raises(WRONG_SHAPE):
        lqvae_loss(tiny_model(), torch.zeros(shape), Bandwidth())


def test_sample_errors_by_hand():
    target = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])
    estimate = torch.tensor([[1.0, 0.0, 0.0, -3.0], [1.0, 1.0, 3.0, 1.0]])
    weights = LossWeights(l1=1.0, l2=10.0, linf=100.0, linf_k=2)
    terms = reconstruction_terms(target, estimate, Bandwidth(l1=2.0, l2=4.0), weights)
    assert terms.l1.item() == pytest.approx(6 / 8 / 2)
    assert terms.l2.item() == pytest.approx(14 / 8 / 4)
    assert terms.linf.item() == pytest.approx(((9 + 1) / 2 + (4 + 0) / 2) / 2 / 4)
    assert terms.total.item() == pytest.approx(0.375 + 10 * 0.4375 + 100 * 0.875)


def test_bandwidth_matches_the_reference(golden):
    recorded = golden.npz("audio_utils")
    items = [torch.from_numpy(item).unsqueeze(0) for item in recorded["bandwidth_items"]]
    bandwidth = measure_bandwidth(items)
    # the reference's spectrum is in float32
    assert bandwidth.l1 == pytest.approx(float(recorded["bandwidth_l1"]), rel=1e-9)
    assert bandwidth.l2 == pytest.approx(float(recorded["bandwidth_l2"]), rel=1e-9)
    assert bandwidth.spectral == pytest.approx(float(recorded["bandwidth_spec"]), rel=2e-6)


def test_bandwidth_of_nothing_is_refused():
    with pytest.raises(AudioError):
        measure_bandwidth([])
    with pytest.raises(AudioError, match="silent"):
        measure_bandwidth([torch.zeros(1, 1100)])


def test_spectral_gradient_at_a_perfect_estimate_is_zero():
    wave = tiny_batch()[:, 0]
    estimate = wave.clone().requires_grad_()
    distance = multi_magnitude_distance(multi_magnitudes(wave), multi_magnitudes(estimate))
    distance.sum().backward()
    assert torch.equal(estimate.grad, torch.zeros_like(estimate))
