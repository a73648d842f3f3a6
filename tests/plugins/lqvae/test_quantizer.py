import math

import pytest
import torch

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.plugins.lqvae.quantizer import Quantizer, random_rows


def started(codebook, **settings) -> Quantizer:
    codebook = torch.tensor(codebook)
    quantizer = Quantizer(*codebook.shape, **settings)
    quantizer.start(codebook)
    return quantizer


def latents_of(rows) -> torch.Tensor:
    """``rows embedding_dim`` as one batch item."""
    return torch.tensor(rows).T.unsqueeze(0)


def test_nearest_takes_the_first_of_equal_entries():
    quantizer = started([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0]])
    codes, distances = quantizer.nearest(torch.tensor([[0.0, 0.0], [1.0, 0.0], [-3.0, 0.0]]))
    assert codes.tolist() == [0, 0, 1]
    assert distances.tolist() == [1.0, 0.0, 4.0]


def test_encode_and_lookup_keep_the_axes():
    quantizer = started([[0.0, 0.0], [5.0, 5.0]])
    latents = torch.zeros(2, 2, 3)
    latents[1, :, 2] = 4.0
    codes = quantizer.encode(latents)
    assert codes.tolist() == [[0, 0, 0], [0, 0, 1]]
    assert quantizer.lookup(codes)[1, :, 2].tolist() == [5.0, 5.0]


def test_gradient_passes_straight_through():
    quantizer = started([[0.0], [1.0]]).eval()
    latents = latents_of([[0.2], [0.9]]).requires_grad_()
    result = quantizer(latents)
    (result.quantized * torch.tensor([2.0, 3.0])).sum().backward()
    assert result.quantized.tolist() == [[[0.0, 1.0]]]
    assert latents.grad.tolist() == [[[2.0, 3.0]]]


def test_commitment_pulls_latents_to_their_entries():
    quantizer = started([[0.0], [1.0]]).eval()
    latents = latents_of([[0.25], [0.5]]).requires_grad_()
    result = quantizer(latents)
    result.commitment.backward()
    assert result.commitment.item() == pytest.approx((0.25**2 + 0.5**2) / 2)
    assert latents.grad.tolist() == [[[0.25, 0.5]]]


def test_moving_averages_follow_the_vectors():
    quantizer = started([[0.0], [10.0]], decay=0.5, revival_threshold=0.5)
    result = quantizer(
        latents_of([[1.0], [2.0], [3.0]]), replacement=lambda _: torch.full((2, 1), 7.0)
    )
    # counts .5*1 + .5*[3, 0]; sums .5*[0, 10] + .5*[6, 0]; both stay alive
    assert quantizer.code_count.tolist() == [2.0, 0.5]
    assert quantizer.code_sum.tolist() == [[3.0], [5.0]]
    assert quantizer.codebook.tolist() == [[1.5], [10.0]]
    # quantised and committed with the entries before the move
    assert result.quantized.tolist() == [[[0.0, 0.0, 0.0]]]
    assert result.commitment.item() == pytest.approx(14 / 3)


def test_a_dead_code_is_replaced_until_it_is_used():
    quantizer = started([[0.0], [10.0]], decay=0.5, revival_threshold=0.6)
    quantizer(latents_of([[0.0], [0.0]]), replacement=lambda _: torch.tensor([[7.0], [8.0]]))
    assert quantizer.codebook.tolist() == [[0.0], [8.0]]
    assert quantizer.code_count.tolist() == [1.5, 0.5]
    assert quantizer.code_sum.tolist() == [[0.0], [5.0]]
    quantizer(latents_of([[0.0], [0.0]]), replacement=lambda _: torch.tensor([[7.0], [9.0]]))
    assert quantizer.codebook.tolist() == [[0.0], [9.0]]


def test_a_zero_threshold_never_divides_by_zero():
    quantizer = started([[0.0], [10.0]], decay=0.0, revival_threshold=0.0)
    quantizer(latents_of([[1.0], [2.0]]))
    assert quantizer.codebook.isfinite().all()


def test_the_first_training_call_takes_entries_from_the_data():
    quantizer = Quantizer(4, 2)
    latents = torch.randn(2, 2, 8, generator=torch.Generator().manual_seed(0))
    draws = []

    def first_rows(vectors):
        draws.append(vectors)
        return vectors[:4]

    result = quantizer(latents, replacement=first_rows)
    assert quantizer.initialised
    assert result.codes[0, :4].tolist() == [0, 1, 2, 3]
    assert len(draws) == 2  # the start and the update after it
    quantizer(latents, replacement=first_rows)
    assert len(draws) == 3


def test_evaluation_does_not_start_the_codebook():
    quantizer = Quantizer(4, 2).eval()
    quantizer(torch.ones(1, 2, 8))
    assert not quantizer.initialised
    assert not quantizer.codebook.any()


def test_starting_counts():
    quantizer = started([[2.0], [4.0]], initial_count=3.0)
    assert quantizer.code_count.tolist() == [3.0, 3.0]
    assert quantizer.code_sum.tolist() == [[6.0], [12.0]]


def test_evaluation_leaves_the_codebook_alone():
    quantizer = started([[0.0], [1.0]]).eval()
    before = {name: tensor.clone() for name, tensor in quantizer.state_dict().items()}
    result = quantizer(latents_of([[0.4], [0.6]]))
    assert all(torch.equal(before[name], t) for name, t in quantizer.state_dict().items())
    assert result.metrics.entropy is None


def test_running_counts_survive_saving():
    quantizer = started([[0.0], [1.0]])
    quantizer(latents_of([[0.4], [0.6]]))
    other = Quantizer(2, 1)
    other.load_state_dict(quantizer.state_dict())
    assert other.initialised
    assert torch.equal(other.code_count, quantizer.code_count)
    assert torch.equal(other.code_sum, quantizer.code_sum)


def test_metrics_of_a_known_call():
    quantizer = started([[0.0], [1.0], [50.0]], decay=0.5, revival_threshold=1.0)
    metrics = quantizer(
        latents_of([[0.0], [0.0], [1.0], [1.5]]), replacement=lambda _: torch.full((3, 1), 2.0)
    ).metrics
    assert metrics.latent_norm.item() == pytest.approx(math.sqrt(1.6875 / 4))
    assert metrics.entropy.item() == pytest.approx(math.log(2), abs=1e-6)
    assert metrics.kept.item() == 2


def test_unasked_quantities_are_not_computed():
    result = started([[0.0]])(latents_of([[1.0]]), with_commitment=False, with_metrics=False)
    assert result.commitment is None
    assert result.metrics is None


def test_random_rows_are_different_rows():
    vectors = torch.arange(20.0).unsqueeze(1)
    drawn = random_rows(vectors, 8, generator=torch.Generator().manual_seed(0))
    assert len(set(drawn.flatten().tolist())) == 8
    assert set(drawn.flatten().tolist()) <= set(vectors.flatten().tolist())
    again = random_rows(vectors, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(drawn, again)


def test_random_rows_repeats_few_rows_with_noise():
    vectors = torch.tensor([[0.0] * 4, [10.0] * 4])
    drawn = random_rows(vectors, 5, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (5, 4)
    assert len(drawn.unique(dim=0)) == 5
    # noise of 0.01 / sqrt(4): ten deviations are 0.05
    offsets = torch.minimum(drawn.abs(), (drawn - 10).abs())
    assert 0 < offsets.max() < 0.05


@pytest.mark.parametrize(
    "settings",
    [{"decay": 1.0}, {"decay": -0.1}, {"initial_count": 0.0}, {"revival_threshold": -1.0}],
    ids=str,
)
def test_wrong_settings_are_refused(settings):
    with pytest.raises(ConfigError):
        Quantizer(4, 2, **settings)


def test_empty_sizes_are_refused():
    with pytest.raises(ConfigError):
        Quantizer(0, 2)


def test_latents_of_another_size_are_refused():
    with pytest.raises(ShapeError, match=r"\(batch, 2, frames\)"):
        started([[0.0, 0.0]]).encode(torch.zeros(1, 3, 4))
