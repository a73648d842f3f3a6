"""The textbook smoother against a list of all sequences."""

import pytest
import torch

from lqsep.testing.enumeration import enumerate_posterior
from lqsep.testing.smoothing import textbook_smoother
from lqsep.testing.toys import random_posterior


@pytest.mark.parametrize("n_frames", [1, 4])
def test_it_sums_over_all_sequences(n_frames):
    posterior = random_posterior(1, n_codes=(2, 3), n_frames=n_frames)
    exact = enumerate_posterior(posterior)
    log_evidence, joint = textbook_smoother(posterior.markov())
    assert log_evidence == pytest.approx(exact.log_evidence, abs=1e-9)
    pairs = 3 * exact.codes[:, 0] + exact.codes[:, 1]
    hot = torch.nn.functional.one_hot(pairs, 6).double()
    expected = torch.einsum("s,sfp->fp", exact.probability, hot)
    torch.testing.assert_close(joint.flatten(1), expected)
