"""One step's tables, against the tables made by hand."""

import pytest
import torch

from lqsep.core.inference.step_scores import step_scores
from lqsep.testing.toys import random_posterior


def by_hand(posterior, codes, frame):
    """Log priors and log likelihood of all pairs, from the chains and the likelihood's table."""
    tables = []
    for source, prior in enumerate(posterior.priors):
        initial, transition = prior.transition_matrix()
        tables.append((transition[codes[source, frame - 1]] if frame else initial).double())
    return tables, posterior.bound.frames(frame, frame + 1)[0]


@pytest.mark.parametrize("frame", [0, 3])
def test_small_codebooks_are_shown_whole(frame):
    posterior = random_posterior(n_codes=(3, 5))
    codes = torch.tensor([[0, 2, 1, 0], [4, 0, 3, 1]])
    scores = step_scores(posterior, codes, frame)
    (first, second), likelihood = by_hand(posterior, codes, frame)
    assert [shown.tolist() for shown in scores.codes] == [list(range(3)), list(range(5))]
    # float32 priors
    assert torch.allclose(scores.log_prior[0], first, atol=1e-6)
    assert torch.allclose(scores.log_prior[1], second, atol=1e-6)
    assert torch.allclose(scores.log_likelihood, likelihood, atol=1e-9)
    joint = first[:, None] + second + likelihood
    assert torch.allclose(scores.log_posterior, joint - joint.logsumexp((0, 1)), atol=1e-6)
    assert scores.chosen == tuple(codes[:, frame].tolist())


def test_of_large_codebooks_the_most_probable_codes_are_shown():
    posterior = random_posterior(n_codes=(90, 70), n_frames=2)
    unlikely = torch.tensor([[0, 0], [0, 0]])
    first, second = by_hand(posterior, unlikely, 1)[0]
    joint = first[:, None] + second + by_hand(posterior, unlikely, 1)[1]
    joint = joint - joint.logsumexp((0, 1))
    marginal = joint.logsumexp(1)
    unlikely[0, 1] = marginal.argmin()
    scores = step_scores(posterior, unlikely, 1, most_codes=10)
    expected = marginal.sort(descending=True).indices[:10]
    assert scores.codes[0].tolist() == [*expected[:9].tolist(), int(marginal.argmin())]
    assert len(scores.codes[1]) == 10
    # Still normalised over all pairs.
    part = joint[scores.codes[0]][:, scores.codes[1]]
    assert torch.allclose(scores.log_posterior, part, atol=1e-6)
    assert 0.01 < float(scores.log_posterior.exp().sum()) < 0.9


def test_a_frame_that_is_not_there():
    with pytest.raises(ValueError, match="frame 4 is not among the hypothesis's 4 frames"):
        step_scores(random_posterior(), torch.zeros(2, 4, dtype=torch.int64), 4)
