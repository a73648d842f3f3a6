"""Forward-backward against sums over pairs of pairs in float64, in the log domain."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.smoothing import forward_backward
from lqsep.core.inference.smoothing import markov_steps as markov_steps_module
from lqsep.core.inference.smoothing.forward_backward import smooth
from lqsep.core.inference.smoothing.markov_steps import Logs, MarkovSteps, Scaled, markov_steps
from lqsep.core.inference.state import MarkovPosterior
from lqsep.testing.smoothing import harsh_markov, markov_of, random_markov, textbook_smoother
from lqsep.testing.smoothing import uniform_numbers as numbers


def assert_exact(found, markov, tolerance):
    log_evidence, marginals = textbook_smoother(markov)
    assert found.log_evidence == pytest.approx(log_evidence, abs=tolerance, rel=1e-7)
    for source, expected in enumerate((marginals.sum(2), marginals.sum(1))):
        torch.testing.assert_close(
            found.marginals[source].double(), expected, atol=tolerance, rtol=0
        )


@pytest.mark.parametrize("n_codes", [(5, 7), (12, 3), (1, 6), (4, 1), (1, 1)])
@pytest.mark.parametrize("n_frames", [1, 2, 25])
def test_against_the_textbook(n_codes, n_frames):
    markov = random_markov(n_codes=n_codes, n_frames=n_frames)
    # Float32 products, errors of 25 frames.
    assert_exact(smooth(markov, numbers(3, n_frames)), markov, 2e-6)


def test_moderate_codebooks():
    markov = random_markov(n_codes=(24, 20), n_frames=40, scale=2.5)
    assert_exact(smooth(markov, numbers(3, 40)), markov, 3e-6)


@pytest.mark.parametrize("size", [1, 4, 7, 29, 30, 100])
def test_blocks_change_nothing(size):
    markov, uniform = random_markov(), numbers(6, 30)
    whole, found = (smooth(markov, uniform, block_frames=n) for n in (None, size))
    assert found.log_evidence == whole.log_evidence
    assert torch.equal(found.codes, whole.codes)
    assert torch.equal(found.log_likelihood, whole.log_likelihood)
    for source in (0, 1):
        assert torch.equal(found.marginals[source], whole.marginals[source])


def test_long_sequences_are_checkpointed(monkeypatch):
    """Beyond the limit of memory the frames come in blocks: root of half of them, rounded up."""
    markov, uniform = random_markov(n_frames=200), numbers(2, 200)
    whole = smooth(markov, uniform)
    asked = []

    def recording(start, stop):
        asked.append((start, stop))
        return markov.log_likelihood(start, stop)

    monkeypatch.setattr(forward_backward, "_ALL_AT_ONCE", 200 * 35 * 4)
    found = smooth(
        MarkovPosterior(200, markov.log_initial, markov.log_transition, recording), uniform
    )
    # Once forward, and again backward but for the last block.
    forward = [(0, 64), (64, 128), (128, 192), (192, 200)]
    # The first frame is also asked for by itself, in double precision.
    assert [span for span in asked if span != (0, 1)] == forward + forward[-2::-1]
    assert torch.equal(found.codes, whole.codes) and found.log_evidence == whole.log_evidence


def test_shares_rise_to_one():
    shares = []
    smooth(random_markov(), numbers(2, 30), block_frames=7, on_share=shares.append)
    assert shares == sorted(shares) and len(shares) == 60 and shares[-1] == 1.0


def three_rivals(log_rare):
    """Three codes that go on for ever but for switches of log-probability ``log_rare``.

    Code 0 is by far the best early, code 2 late, code 1 in between, and over all. Neither
    direction alone can know, and where they meet nothing looks wrong.
    """
    table = torch.full((3, 3), log_rare, dtype=torch.float64)
    table.diagonal().fill_(0.0)
    table = table.log_softmax(1)
    values = torch.zeros(30, 3, 2, dtype=torch.float64)
    values[:10] = torch.tensor([0.0, -15, -60])[None, :, None]
    values[10:20] = torch.tensor([-30.0, 0, -60])[None, :, None]
    values[20:] = torch.tensor([-5.0, -15, 0])[None, :, None]
    other = torch.full((2, 2), 0.5).double().log()
    return markov_of((torch.full((3,), 1 / 3).log(), other[0]), (table, other), values)


@pytest.mark.parametrize("log_rare", [-50.0, -200.0, -400.0, -5000.0, -math.inf])
def test_what_underflows_is_not_lost(log_rare):
    markov = three_rivals(log_rare)
    found = smooth(markov, numbers(20, 30))
    assert_exact(found, markov, 1e-6)
    if log_rare < -150:
        assert (found.codes[0] == 1).all()


def test_the_rivals_deceive_plain_products(monkeypatch):
    """The test above can fail: without the choice of the way the wrong code wins."""

    def plain(tables, n_frames):
        return MarkovSteps(tables, Scaled(torch.finfo(torch.float32).tiny))

    monkeypatch.setattr(forward_backward, "markov_steps", plain)
    found = smooth(three_rivals(-math.inf), numbers(20, 30))
    assert not (found.codes[0] == 1).any()


@pytest.mark.parametrize("scale", [30.0, 1000.0, 1e5])
def test_prior_and_likelihood_that_disagree(scale):
    """Likelihoods of any range with chains that allow everything, in float32 products."""
    markov = random_markov(n_frames=40)
    assert isinstance(markov_steps(markov.log_transition, 40).arithmetic, Scaled)
    values = markov.log_likelihood(0, 40) * scale
    changed = markov_of(markov.log_initial, markov.log_transition, values)
    found = smooth(changed, numbers(3, 40))
    assert_exact(found, changed, 3e-6)
    for draw in range(3):
        i, j = found.codes[:, draw]
        expected = values[torch.arange(40), i, j].double().sum()
        assert float(found.log_likelihood[draw]) == pytest.approx(float(expected), rel=1e-6)


def test_frames_that_contradict_the_chains_stay_in_float32(monkeypatch):
    """A jump that the chains hardly allow, as into digital silence, seen with certainty."""
    sizes = (12, 9)
    tables = []
    for size in sizes:
        table = torch.full((size, size), 1e-9, dtype=torch.float64)
        table[:-1, :-1] += torch.eye(size - 1, dtype=torch.float64) + 0.1
        table[-1, -1] += 1.0
        tables.append((table / table.sum(1, keepdim=True)).log())
    values = torch.randn(30, *sizes, generator=torch.Generator().manual_seed(0)).double()
    values[15:] -= 400.0
    values[15:, -1, -1] = 0.0
    markov = markov_of(tuple(t[0] for t in tables), tuple(tables), values)

    def refused():
        raise AssertionError("float64 is not needed here")

    monkeypatch.setattr(markov_steps_module, "Logs", refused)
    found = smooth(markov, numbers(5, 30))
    assert_exact(found, markov, 2e-6)
    assert (found.codes[0, :, 15:] == 11).all() and (found.codes[1, :, 15:] == 8).all()


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 2**16),
    st.sampled_from([1.0, 8.0, 40.0, 300.0, 2000.0]),
    st.sampled_from([1.0, 40.0, 2000.0]),
    st.sampled_from([0.0, 0.3, 0.6]),
)
def test_any_chains_and_likelihoods(seed, sharpness, spread, holes):
    markov = harsh_markov(seed, sharpness, spread, holes)
    log_evidence, marginals = textbook_smoother(markov)
    if log_evidence == -math.inf:
        with pytest.raises(EmptySupportError):
            smooth(markov, numbers(5, 15))
        return
    found = smooth(markov, numbers(5, 15))
    assert_exact(found, markov, 5e-6)
    # Nothing impossible is drawn, and draws have positive marginals.
    log_joint = found.log_prior.sum(0) + found.log_likelihood
    assert log_joint.isfinite().all() and (log_joint < found.log_evidence + 1e-4).all()


def test_scores_are_those_of_the_draws():
    markov = random_markov()
    found = smooth(markov, numbers(4, 30))
    values = markov.log_likelihood(0, 30).double()
    for draw in range(4):
        i, j = found.codes[:, draw]
        assert float(found.log_likelihood[draw]) == pytest.approx(
            # Relative to float32 sums of 30 frames.
            float(values[torch.arange(30), i, j].sum()),
            abs=1e-5,
        )
        for source, codes in enumerate((i, j)):
            table = markov.log_transition[source].double()
            expected = markov.log_initial[source][codes[0]] + table[codes[:-1], codes[1:]].sum()
            assert float(found.log_prior[source, draw]) == pytest.approx(float(expected), abs=1e-9)


def test_draws_follow_the_marginals():
    """2000 draws of 30 frames: no frequency is five standard errors off (420 in all: 2e-4)."""
    markov = random_markov()
    found = smooth(markov, numbers(2000, 30))
    for source, marginals in enumerate(found.marginals):
        p = marginals.double()
        counts = torch.nn.functional.one_hot(found.codes[source], p.shape[1]).sum(0)
        error = (counts / 2000 - p).abs()
        assert (error <= 5 * (p * (1 - p) / 2000).sqrt() + 1 / 2000).all()


def test_the_impossible_names_its_frame():
    markov = random_markov(n_frames=9)
    values = markov.log_likelihood(0, 9).clone()
    values[4] = -math.inf
    for size in (None, 2):
        changed = markov_of(markov.log_initial, markov.log_transition, values)
        with pytest.raises(EmptySupportError, match="at frame 4:"):
            smooth(changed, numbers(2, 9), block_frames=size)


def test_impossible_frames_of_chains():
    """Every frame is possible, the way between two of them is not."""
    stay = torch.eye(2).log()
    values = torch.zeros(4, 2, 2)
    values[:2, 0], values[2:, 1] = -math.inf, -math.inf
    markov = markov_of((torch.full((2,), 0.5).log(),) * 2, (stay, stay), values)
    with pytest.raises(EmptySupportError, match="at frame 2:"):
        smooth(markov, numbers(2, 4))


@pytest.mark.slow
@pytest.mark.parametrize("careful", [False, True])
def test_twenty_thousand_frames(careful, monkeypatch):
    if careful:
        monkeypatch.setattr(forward_backward, "markov_steps", lambda t, n: MarkovSteps(t, Logs()))
    markov = random_markov(n_codes=(4, 5), n_frames=20000, scale=4.0)
    found = smooth(markov, numbers(4, 20000), block_frames=300)
    # Rounding of 20,000 float32 steps is in the evidence, relative to its size 1e-7; marginals
    # forget.
    assert_exact(found, markov, 3e-6)
