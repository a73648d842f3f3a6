"""Pruned smoothing against the textbook, on all sequences and on those whose codes are kept."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lqsep.core.errors import EmptySupportError
from lqsep.core.inference.smoothing import keeping, pruned
from lqsep.core.inference.smoothing.forward_backward import smooth
from lqsep.core.inference.state import MarkovPosterior
from lqsep.testing import smoothing
from lqsep.testing.smoothing import harsh_markov, markov_of, textbook_smoother
from lqsep.testing.smoothing import uniform_numbers as numbers


def random_markov(seed=0, scale=2.5, **settings):
    """Pronounced enough that there is something to leave out."""
    return smoothing.random_markov(seed, scale=scale, **settings)


def kept_pairs(found):
    first, second = found.pruning.kept
    return first[:, :, None] & second[:, None]


def only(markov, allowed):
    """The posterior of the sequences whose pairs are allowed at every frame."""
    values = markov.log_likelihood(0, markov.n_frames).masked_fill(~allowed, -math.inf)
    return markov_of(markov.log_initial, markov.log_transition, values)


def distance(found, joint):
    """Largest total variation of any frame's marginals."""
    tables = zip(found.marginals, (joint.sum(2), joint.sum(1)), strict=True)
    return max(float((one.double() - other).abs().sum(1).max()) / 2 for one, other in tables)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("prune", [1e-2, 1e-3, 1e-4, 1e-6, 1e-9])
def test_exact_for_the_sequences_that_are_kept(seed, prune):
    markov = random_markov(seed)
    found = smooth(markov, numbers(3, 30), prune=prune)
    log_evidence, joint = textbook_smoother(only(markov, kept_pairs(found)))
    assert found.log_evidence == pytest.approx(log_evidence, abs=3e-6)
    assert distance(found, joint) < 2e-6
    whole, joint = textbook_smoother(markov)
    assert found.log_evidence < whole + 3e-6
    # What is lost is of the order of the share, times codes and frames.
    assert whole - found.log_evidence < 500 * prune + 3e-6
    assert distance(found, joint) < 500 * prune + 2e-6
    if prune == 1e-3:
        assert found.pruning.n_pairs.double().mean() < 33
    draws = kept_pairs(found)[torch.arange(30), found.codes[0], found.codes[1]]
    assert draws.all()


@pytest.mark.parametrize("prune", [1e-2, 1e-3, 1e-4])
def test_the_loss_of_every_frame_is_bounded(prune):
    """Sequences that leave the kept pairs in one frame alone: that frame may take any pair."""
    n_bounded = 0
    for seed in range(3):
        markov = random_markov(seed, n_frames=12)
        found = smooth(markov, numbers(0, 12), prune=prune)
        allowed = kept_pairs(found)
        log_evidence, _ = textbook_smoother(only(markov, allowed))
        for frame in range(12):
            more = allowed.clone()
            more[frame] = True
            with_others, _ = textbook_smoother(only(markov, more))
            lost = math.expm1(with_others - log_evidence)
            # Float32 products.
            assert lost < float(found.pruning.lost[frame]) * (1 + 1e-5) + 1e-6
            n_bounded += lost > 1e-6
    assert n_bounded > 5


def test_doubtful_frames_are_looked_at(monkeypatch):
    """Their loss is then known, not only bounded."""
    markov = random_markov(0, n_frames=12)
    monkeypatch.setattr(pruned, "_MOST_LOST", 100.0)
    bounded = smooth(markov, numbers(0, 12), prune=1e-2)
    log_evidence, _ = textbook_smoother(only(markov, kept_pairs(bounded)))
    exact = []
    for frame in range(12):
        more = kept_pairs(bounded)
        more[frame] = True
        exact.append(math.expm1(textbook_smoother(only(markov, more))[0] - log_evidence))
    limit = 1.1 * max(exact)
    doubtful = bounded.pruning.lost > limit
    assert 0 < doubtful.sum() < 12
    monkeypatch.setattr(pruned, "_MOST_LOST", limit)
    found = smooth(markov, numbers(0, 12), prune=1e-2)
    assert found.pruning.whole == bounded.pruning.whole
    expected = torch.where(doubtful, torch.tensor(exact).double(), bounded.pruning.lost)
    torch.testing.assert_close(found.pruning.lost, expected, atol=2e-6, rtol=2e-5)


def test_frames_that_lose_too_much_keep_everything(monkeypatch):
    markov = random_markov(1)
    loose = smooth(markov, numbers(0, 30), prune=1e-2)
    monkeypatch.setattr(pruned, "_MOST_LOST", 1e-3)
    found = smooth(markov, numbers(0, 30), prune=1e-2)
    assert found.pruning.lost.max() <= 1e-3 < loose.pruning.lost.max()
    assert len(found.pruning.whole) > len(loose.pruning.whole)
    assert (found.pruning.n_pairs[sorted(found.pruning.whole)] == 35).all()
    log_evidence, joint = textbook_smoother(markov)
    assert distance(found, joint) < 5e-3 < distance(loose, joint)


def test_a_small_share_changes_nothing_but_rounding():
    markov, uniform = random_markov(scale=1.0), numbers(20, 30)
    exact, found = (smooth(markov, uniform, prune=share) for share in (0.0, 1e-9))
    assert exact.pruning is None and (found.pruning.n_pairs == 35).all()
    assert found.log_evidence == pytest.approx(exact.log_evidence, abs=1e-5)
    assert torch.equal(found.codes, exact.codes)
    torch.testing.assert_close(found.scores.log_prior, exact.scores.log_prior)
    torch.testing.assert_close(found.log_likelihood, exact.log_likelihood, atol=1e-5, rtol=0)
    for one, other in zip(found.marginals, exact.marginals, strict=True):
        assert one.dtype == other.dtype
        torch.testing.assert_close(one, other, atol=2e-6, rtol=0)


def test_draws_follow_what_is_kept():
    """4000 draws of 8 frames: no pair's frequency is five standard errors off."""
    markov = random_markov(3, n_codes=(4, 4), n_frames=8)
    found = smooth(markov, numbers(4000, 8), prune=1e-2)
    assert found.pruning.n_pairs.min() < 12
    _, joint = textbook_smoother(only(markov, kept_pairs(found)))
    pairs = torch.nn.functional.one_hot(4 * found.codes[0] + found.codes[1], 16).sum(0)
    error = (pairs / 4000 - joint.flatten(1)).abs()
    p = joint.flatten(1)
    assert (error <= 5 * (p * (1 - p) / 4000).sqrt() + 1 / 4000).all()
    # Neighbours go together as the chains have it.
    values = markov.log_likelihood(0, 8)
    for draw in range(0, 4000, 500):
        i, j = found.codes[:, draw]
        expected = values[torch.arange(8), i, j].double().sum()
        assert float(found.log_likelihood[draw]) == pytest.approx(float(expected), abs=1e-5)
        for source, codes in enumerate((i, j)):
            table = markov.log_transition[source].double()
            expected = markov.log_initial[source][codes[0]] + table[codes[:-1], codes[1:]].sum()
            assert float(found.log_prior[source, draw]) == pytest.approx(float(expected))


def sees(monkeypatch, n_frames):
    """Chunks of so many frames, which see as many of the next one."""
    for module in (pruned, keeping):
        monkeypatch.setattr(module, "HORIZON", n_frames)
    monkeypatch.setattr(pruned, "_WIDTH", 4 * n_frames)
    monkeypatch.setattr(pruned, "_LIKELIHOOD_ENTRIES", 1)


def recorded(markov, asked):
    def recording(start, stop):
        asked.append((start, stop))
        return markov.log_likelihood(start, stop)

    return MarkovPosterior(markov.n_frames, markov.log_initial, markov.log_transition, recording)


@pytest.mark.parametrize("size", [1, 4, 7, 30])
@pytest.mark.parametrize("block_frames", [1, 9, 29])
def test_blocks_change_nothing(monkeypatch, size, block_frames):
    """What is dropped is made again; the newest chunk stays in any case."""
    markov, uniform = random_markov(), numbers(6, 30)
    sees(monkeypatch, size)
    monkeypatch.setattr(pruned, "_MOST_LOST", math.inf)
    whole = smooth(markov, uniform, prune=1e-3)
    asked = []
    found = smooth(recorded(markov, asked), uniform, prune=1e-3, block_frames=block_frames)
    assert found.log_evidence == whole.log_evidence
    assert torch.equal(found.codes, whole.codes)
    assert torch.equal(found.log_likelihood, whole.log_likelihood)
    for source in (0, 1):
        assert torch.equal(found.marginals[source], whole.marginals[source])
        assert torch.equal(found.pruning.kept[source], whole.pruning.kept[source])
    _, joint = textbook_smoother(only(markov, kept_pairs(found)))
    assert distance(found, joint) < 2e-6
    forward = [(start, min(start + size, 30)) for start in range(0, 30, size)]
    stay = max(1, (block_frames - (30 - forward[-1][0])) // size + 1)
    # The likelihoods of the last three are still at hand.
    assert asked == forward + forward[: len(forward) - max(3, stay)][::-1]


def test_memory_bounds_what_stays(monkeypatch):
    markov, asked = random_markov(), []
    sees(monkeypatch, 5)
    # Of four chunks.
    monkeypatch.setattr(pruned, "_STAY_BYTES", 2 * 20 * 35 * 4)
    smooth(recorded(markov, asked), numbers(2, 30), prune=1e-9)
    forward = [(start, start + 5) for start in range(0, 30, 5)]
    assert asked == [*forward, (5, 10), (0, 5)]  # of six


def rivals(n_before, worse, log_switch, after=60.0, n_after=10):
    """Row 0 is worse by some nats in each of some frames, and ``after`` better from then on.

    Any switch of rows takes ``log_switch``.
    """
    table = torch.full((3, 3), float(log_switch), dtype=torch.float64)
    table.diagonal().fill_(0.0)
    values = torch.zeros(n_before + n_after, 3, 4, dtype=torch.float64)
    values[:n_before, 0] = -worse
    values[n_before:, 1:] = -after
    other = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).double().log_softmax(1)
    initial = torch.full((3,), 1 / 3).double().log()
    return markov_of((initial, other[0]), (table.log_softmax(1), other[1:]), values)


@pytest.mark.parametrize(
    ("n_before", "worse", "log_switch"),
    [
        # More than may be left out in one frame, or in those that are looked at together.
        (10, 20.0, -150.0),
        (10, 5.0, -40.0),
        (10, 3.0, -25.0),
        (40, 5.0, -80.0),
        # It may have been there all along, or have come.
        (10, 4.0, -40.0),
        (3, 20.0, -62.0),
        # It has come, for sure.
        (10, 20.0, -10.0),
        (10, 6.0, -5.0),
        # It cannot have come.
        (10, 5.0, -math.inf),
        (200, 2.0, -math.inf),
    ],
)
@pytest.mark.parametrize("after", [60.0, 3.0])
@pytest.mark.parametrize("prune", [1e-3, 1e-5, 1e-8])
def test_a_path_that_is_improbable_before_it_is_certain(n_before, worse, log_switch, after, prune):
    markov = rivals(n_before, worse, log_switch, after)
    found = smooth(markov, numbers(20, markov.n_frames), prune=prune)
    log_evidence, joint = textbook_smoother(markov)
    # Half a per cent is what 3 nats per frame leave to those that come later than the last moment.
    assert found.log_evidence == pytest.approx(log_evidence, abs=5e-3)
    assert distance(found, joint) < 5e-3


def deceived(prune, *rival):
    """How wrong the result is, and how many frames were whole."""
    markov = rivals(*rival)
    found = smooth(markov, numbers(0, markov.n_frames), prune=prune)
    return distance(found, textbook_smoother(markov)[1]), len(found.pruning.whole)


def test_a_frame_that_contradicts_what_was_expected(monkeypatch):
    """Row 0 was there all along, which shows when it takes over: too late to see it coming."""
    sees(monkeypatch, 2)
    case = (1e-3, 6, 2.0, -14.0, 30.0)
    error, n_whole = deceived(*case)
    assert error < 1e-5 and n_whole == 7
    monkeypatch.setattr(pruned.PrunedSmoother, "_check", lambda self, frame, scale: None)
    error, n_whole = deceived(*case)
    assert error > 0.7 and n_whole == 0


def test_frames_that_lose_more_than_they_may(monkeypatch):
    """Row 0 was there all along, which shows little by little."""
    sees(monkeypatch, 2)
    case = (1e-3, 5, 2.0, -16.0, 3.0)
    error, n_whole = deceived(*case)
    assert error < 1e-5 and n_whole == 5
    monkeypatch.setattr(pruned, "_MOST_LOST", math.inf)
    error, n_whole = deceived(*case)
    assert error > 0.9 and n_whole == 0


def test_contradictions_that_are_real_stay_pruned():
    """Frames that nothing expected, however much is kept before them."""
    sizes = (12, 9)
    tables = []
    for size in sizes:
        table = torch.full((size, size), 1e-5, dtype=torch.float64)
        table[:-1, :-1] += torch.eye(size - 1, dtype=torch.float64) + 0.1
        table[-1, -1] += 1.0
        tables.append((table / table.sum(1, keepdim=True)).log())
    values = torch.randn(120, *sizes, generator=torch.Generator().manual_seed(0)).double()
    values[100:] -= 400.0
    values[100:, -1, -1] = 0.0
    markov = markov_of(tuple(t[0] for t in tables), tuple(tables), values)
    found = smooth(markov, numbers(5, 120), prune=1e-7)
    assert (found.codes[0, :, 100:] == 11).all() and (found.codes[1, :, 100:] == 8).all()
    _, joint = textbook_smoother(markov)
    # They may have been waiting for any time: a little is left out of many frames.
    assert distance(found, joint) < 4e-3
    # It was tried, and left at that when it did not help.
    assert found.pruning.whole == frozenset(range(37, 101))


@settings(deadline=None, max_examples=80)
# Likelihoods too small for float32 are not taken for much larger ones.
@example(65536, 8.0, 40.0, 0.0, 1e-3)
@example(32768, 8.0, 40.0, 0.0, 1e-3)
@given(
    st.integers(0, 2**16),
    st.sampled_from([1.0, 8.0, 40.0, 300.0]),
    st.sampled_from([1.0, 40.0, 2000.0]),
    st.sampled_from([0.0, 0.3, 0.6]),
    st.sampled_from([1e-3, 1e-6, 1e-9]),
)
def test_any_chains_and_likelihoods(seed, sharpness, spread, holes, prune):
    """Chains with impossible transitions too. The evidence never exceeds the whole."""
    markov = harsh_markov(seed, sharpness, spread, holes)
    log_evidence, joint = textbook_smoother(markov)
    if log_evidence == -math.inf:
        with pytest.raises(EmptySupportError):
            smooth(markov, numbers(5, 15), prune=prune)
        return
    found = smooth(markov, numbers(5, 15), prune=prune)
    assert found.log_evidence <= log_evidence + 5e-6 + 1e-7 * abs(log_evidence)
    log_joint = found.log_prior.sum(0) + found.log_likelihood
    assert log_joint.isfinite().all()
    if found.pruning is not None:
        allowed = kept_pairs(found)
        log_evidence, joint = textbook_smoother(only(markov, allowed))
        assert found.pruning.lost.max() <= 0.3
    assert found.log_evidence == pytest.approx(log_evidence, abs=5e-6, rel=1e-7)
    assert distance(found, joint) < 1e-5


def test_impossible_transitions_are_pruned_too():
    """In float32, as long as nothing is contradicted."""
    markov = random_markov(0)
    for table in markov.log_transition:
        table[1, 2] = -math.inf
        table.copy_(table.log_softmax(1))
    found = smooth(markov, numbers(4, 30), prune=1e-5)
    assert found.pruning is not None and found.pruning.n_pairs.double().mean() < 35
    _, joint = textbook_smoother(only(markov, kept_pairs(found)))
    assert distance(found, joint) < 2e-6


def test_the_impossible_names_its_frame():
    markov = random_markov(n_frames=9)
    values = markov.log_likelihood(0, 9)
    values[4] = -math.inf
    changed = markov_of(markov.log_initial, markov.log_transition, values)
    with pytest.raises(EmptySupportError, match="at frame 4:"):
        smooth(changed, numbers(2, 9), prune=1e-6)


@pytest.mark.parametrize("n_codes", [(5, 7), (12, 3), (1, 6), (1, 1)])
@pytest.mark.parametrize("n_frames", [1, 2, 5])
def test_small_problems(n_codes, n_frames):
    markov = random_markov(n_codes=n_codes, n_frames=n_frames)
    found = smooth(markov, numbers(3, n_frames), prune=1e-9)
    log_evidence, joint = textbook_smoother(markov)
    assert found.log_evidence == pytest.approx(log_evidence, abs=3e-6)
    assert distance(found, joint) < 2e-6


def test_shares_rise_to_one():
    shares = []
    smooth(random_markov(), numbers(2, 30), prune=1e-3, on_share=shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0


def test_weights_look_ahead(monkeypatch):
    """The last frames speak for a row that can hardly be reached any more."""
    sees(monkeypatch, 2)
    values = torch.zeros(8, 3, 2)
    values[6:, 1] = 7.0
    stay = torch.full((3, 3), 1e-9)
    stay.fill_diagonal_(1 - 2e-9)
    probability = [stay, torch.full((2, 2), 0.5)]
    first, second = keeping.Chunk.of(0, values).reach(None, probability)
    preference = first[:, 1] / first[:, 0]
    # Of both frames, of one, of none.
    assert preference == pytest.approx([math.exp(14)] * 6 + [math.exp(7), 1.0], rel=0.01)
    assert (second == 1.0).all()
    # Two frames of the next chunk are in view.
    start, rest = (keeping.Chunk.of(0, part) for part in torch.split(values, 5))
    split, _ = start.reach(rest.head, probability)
    preference = split[:, 1] / split[:, 0]
    assert preference == pytest.approx([math.exp(7)] * 5, rel=0.01)
    had = np.array([0.5, 0.2, 0.3], np.float32), np.ones(2, np.float32)
    kept = keeping.heaviest(had, (first[3], second[3]), 1e-3)
    assert kept.rows.tolist() == [1] and kept.columns.tolist() == [0, 1]


@pytest.mark.slow
def test_twenty_thousand_frames():
    markov = random_markov(n_codes=(4, 5), n_frames=20000, scale=4.0)
    found = smooth(markov, numbers(4, 20000), prune=1e-6, block_frames=3000)
    _, joint = textbook_smoother(markov)
    # A frame may lose 5 %.
    assert found.pruning.lost.max() < 0.05
    assert distance(found, joint) < 0.05
