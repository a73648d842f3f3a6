"""The exact posterior by enumeration, against sums done another way."""

import math

import pytest
import torch

from lqsep.testing.dense import dense_greedy, dense_step, dense_values
from lqsep.testing.toys import (
    AddingCodec,
    AddingLikelihood,
    enumerate_posterior,
    random_posterior,
)


def forward_log_evidence(posterior):
    """``log p(mixture)`` by the forward algorithm on pairs of codes."""
    (init0, move0), (init1, move1) = (prior.transition_matrix() for prior in posterior.priors)
    values = posterior.bound.frames(0, posterior.n_frames)
    alpha = init0.double()[:, None] + init1.double() + values[0]
    for frame in range(1, posterior.n_frames):
        alpha = (alpha[:, :, None] + move1.double()).logsumexp(1)
        alpha = (alpha[:, None, :] + move0.double()[:, :, None]).logsumexp(0)
        alpha = alpha + values[frame]
    return float(alpha.flatten().logsumexp(0))


@pytest.mark.parametrize("seed", range(3))
def test_enumeration_equals_forward_sums(seed):
    posterior = random_posterior(seed, n_codes=(3, 2), n_frames=4)
    exact = enumerate_posterior(posterior)
    assert exact.codes.shape == (6**4, 2, 4)
    # float64 sums over the same numbers
    assert math.isclose(exact.log_evidence, forward_log_evidence(posterior), abs_tol=1e-10)
    for source, size in enumerate((3, 2)):
        sums = exact.marginals(source, size).sum(1)
        torch.testing.assert_close(sums, torch.ones(4, dtype=torch.float64))


def test_best_sequences_are_sorted():
    exact = enumerate_posterior(random_posterior(0, n_frames=3))
    best = exact.best(5)
    scores = [
        float(exact.log_joint[(exact.codes == codes).all(2).all(1)].squeeze()) for codes in best
    ]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == float(exact.log_joint.max())


def test_enumeration_refuses_large_posteriors():
    with pytest.raises(ValueError, match="at most"):
        enumerate_posterior(random_posterior(0, n_frames=9))


def test_codes_of_the_codec_add_up():
    codec = AddingCodec((0.0, 0.1, 0.2, 0.3))
    codes = torch.tensor([[0, 1, 1], [1, 2, 0]])
    waves = codec.decode(codes, 12)
    assert codec.encode(waves.sum(0, keepdim=True)).tolist() == [[1, 3, 1]]


def test_likelihood_peaks_at_the_true_pair():
    codec = AddingCodec((0.0, 0.1, 0.35))
    true = torch.tensor([[0, 1, 2], [2, 1, 1]])
    gains = (0.75, 0.25)
    wave = sum(gain * wave for gain, wave in zip(gains, codec.decode(true, 12), strict=True))
    bound = AddingLikelihood(codec, sigma=0.01).bind(codec.analyse(wave[None]), gains)
    best = bound.frames(0, 3).flatten(1).argmax(1)
    assert torch.stack([best // 3, best % 3]).tolist() == true.tolist()


def test_dense_greedy_is_the_best_pair_of_every_step():
    posterior = random_posterior(1, n_codes=(3, 4), n_frames=1)
    run = dense_greedy(posterior.priors, posterior.bound)
    exact = enumerate_posterior(posterior)
    assert torch.equal(run.codes, exact.best()[0])
    assert math.isclose(float(run.log_evidence[0]), exact.log_evidence, abs_tol=1e-10)
    two = exact.log_joint.sort(descending=True).values
    assert math.isclose(float(run.margin[0]), float(two[0] - two[1]), abs_tol=1e-10)


def test_dense_step_is_normalised():
    posterior = random_posterior(1, n_codes=(3, 4))
    tables = [prior.log_initial.expand(2, -1) for prior in posterior.priors]
    history = torch.zeros(2, 2, 0, dtype=torch.int64)
    step = dense_step(*tables, dense_values(posterior.bound.at(0, history), 2))
    total = step.log_posterior.flatten(1).logsumexp(1)
    torch.testing.assert_close(total, torch.zeros(2, dtype=torch.float64))
