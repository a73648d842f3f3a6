"""Scores, histories and prior states of parallel hypotheses, against runs of one at a time."""

import math

import pytest
import torch

from lqsep.core.errors import EmptySupportError, IncompatibleComponentsError, ShapeError
from lqsep.core.inference import frame_distribution
from lqsep.core.inference.filters import Filters, filter_table
from lqsep.core.inference.frame_distribution import _pick, pick_by_cdf
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.likelihood import BoundLikelihood
from lqsep.testing.dense import dense_step, dense_values
from lqsep.testing.toys import (
    DenseBound,
    EchoBound,
    LongMemoryPrior,
    MarkovPrior,
    enumerate_posterior,
    random_markov_prior,
    random_posterior,
)

SIZES = (3, 4)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def long_memory_posterior(seed=0, *, n_frames=5, prompt=None, max_frames=(None, None)):
    """Priors and a likelihood that look at the whole past."""
    rng = generator(seed)
    priors = [
        LongMemoryPrior(torch.randn(size, size, generator=rng) * 1.5, max_frames=context)
        for size, context in zip(SIZES, max_frames, strict=True)
    ]
    values = torch.randn(n_frames, *SIZES, generator=rng, dtype=torch.float64) * 2
    return SequencePosterior(priors, EchoBound(values), prompt=prompt)


def random_codes(rng, *shape):
    return torch.stack([torch.randint(size, shape, generator=rng) for size in SIZES], 1)


def rescore(posterior, codes, n_prompt=0):
    """Score one sequence from its codes alone; ``codes`` is ``sources frames`` with the prompt.

    Returns log prior per source, log likelihood, log evidence, and the last frame's dense step.
    """
    n_frames = codes.shape[1] - n_prompt
    log_prior, log_likelihood, log_evidence, step = torch.zeros(2).double(), 0.0, 0.0, None
    for frame in range(n_frames):
        tables = []
        for source, prior in enumerate(posterior.priors):
            past = codes[source : source + 1, : n_prompt + frame]
            table, _ = prior.step(prior.start(1, past if past.shape[1] else None), None)
            log_prior[source] += float(table[0, codes[source, n_prompt + frame]])
            tables.append(table)
        likelihood = posterior.bound.at(frame, codes[None, :, n_prompt : n_prompt + frame])
        step = dense_step(*tables, dense_values(likelihood, 1))
        log_evidence += float(step.log_evidence)
        pair = codes[None, :, n_prompt + frame]
        log_likelihood += float(likelihood.at(torch.zeros(1, dtype=torch.int64), pair))
    return log_prior, log_likelihood, log_evidence, step


def test_scores_follow_their_hypotheses():
    """Rows are kept, doubled and dropped at random; what is left scores as when run alone."""
    posterior, rng = long_memory_posterior(), generator(1)
    state = posterior.start(4)
    for frame in range(posterior.n_frames):
        n_rows = [4, 6, 3, 5, 2][frame]
        rows = torch.randint(state.n_rows, (n_rows,), generator=rng)
        state = posterior.extend(
            state, posterior.chosen(state, random_codes(rng, n_rows), rows=rows)
        )
    for row in range(state.n_rows):
        log_prior, log_likelihood, log_evidence, _ = rescore(posterior, state.history[row])
        # The priors' tables are float32.
        torch.testing.assert_close(state.log_prior[:, row], log_prior, atol=1e-5, rtol=0)
        assert float(state.log_likelihood[row]) == pytest.approx(log_likelihood, abs=1e-9)
        assert float(state.log_evidence[row]) == pytest.approx(log_evidence, abs=1e-5)
    assert state.log_prior.dtype == state.log_likelihood.dtype == torch.float64
    total = state.log_prior.sum(0) + state.log_likelihood
    torch.testing.assert_close(state.score, total, atol=1e-5, rtol=0)
    torch.testing.assert_close(state.log_proposal, total - state.log_evidence, atol=1e-5, rtol=0)


def test_keeping_all_rows_equals_naming_them():
    finished = []
    for named in (False, True):
        posterior, rng = long_memory_posterior(), generator(1)
        state = posterior.start(3)
        for _ in range(posterior.n_frames):
            rows = torch.arange(3) if named else None
            state = posterior.extend(
                state, posterior.chosen(state, random_codes(rng, 3), rows=rows)
            )
        finished.append(posterior.candidates(state))
    assert torch.equal(finished[0].codes, finished[1].codes)
    assert torch.equal(finished[0].log_prior, finished[1].log_prior)
    assert torch.equal(finished[0].log_evidence, finished[1].log_evidence)


def test_candidates_in_another_order():
    posterior, rng = long_memory_posterior(), generator(1)
    state = posterior.start(3)
    for _ in range(posterior.n_frames):
        state = posterior.extend(state, posterior.chosen(state, random_codes(rng, 3)))
    plain, turned = posterior.candidates(state), posterior.candidates(state, torch.tensor([2, 0]))
    assert plain.codes.shape == (2, 3, 5) and turned.codes.shape == (2, 2, 5)
    assert torch.equal(turned.codes, plain.codes[:, [2, 0]])
    assert torch.equal(turned.log_prior, plain.log_prior[:, [2, 0]])
    assert torch.equal(turned.log_posterior, plain.log_posterior[[2, 0]])


def test_draw_reports_the_exact_evidence_and_proposal():
    posterior, rng = long_memory_posterior(), generator(2)
    state = posterior.start(4)
    for frame in range(posterior.n_frames):
        drawn = posterior.draw(state, rng)
        state = posterior.extend(state, drawn)
        for row in range(4):
            step = rescore(posterior, state.history[row])[3]
            expected = step.log_posterior[0, drawn.codes[row, 0], drawn.codes[row, 1]]
            assert float(drawn.log_proposal[row]) == pytest.approx(float(expected), abs=1e-5)
            evidence = float(step.log_evidence)
            assert float(drawn.log_evidence[row]) == pytest.approx(evidence, abs=1e-5)
        assert state.frame == frame + 1


def test_log_evidence_is_the_importance_weight():
    posterior, rng = long_memory_posterior(), generator(2)
    state = posterior.start(6)
    for _ in range(posterior.n_frames):
        state = posterior.extend(state, posterior.draw(state, rng))
    found = posterior.candidates(state)
    weight = found.log_posterior - found.log_proposal
    torch.testing.assert_close(weight, found.log_evidence, atol=1e-5, rtol=0)


FILTERS = [
    Filters(temperature=0.7),
    Filters(top_k=2),
    Filters(top_p=0.6),
    Filters(temperature=1.5, top_k=3, top_p=0.9),
    Filters(joint_top_k=3),
    Filters(joint_top_p=0.7),
    Filters(top_k=2, joint_top_k=3, joint_top_p=0.8),
]


def filtered_step(tables, values, filters):
    """Dense log posterior of one hypothesis under filters, sorted by hand."""
    tables = [filter_table(table, filters) for table in tables]
    joint = tables[0].double()[0, :, None] + tables[1].double()[0] + values
    if filters.joint_top_k:
        lowest = joint.flatten().sort(descending=True).values[filters.joint_top_k - 1]
        joint = joint.masked_fill(joint < lowest, -math.inf)
    ordered = joint.flatten().sort(descending=True).values
    crossing = int((ordered.softmax(0).cumsum(0) < filters.joint_top_p - 1e-12).sum())
    joint = joint.masked_fill(joint < ordered[min(crossing, len(ordered) - 1)], -math.inf)
    return joint.flatten().log_softmax(0).view_as(joint), joint.flatten().logsumexp(0)


@pytest.mark.parametrize("filters", FILTERS, ids=str)
def test_filtered_draws(filters):
    """Proposal and evidence are the filtered ones; the running log prior is not."""
    posterior, rng = random_posterior(3, n_codes=SIZES, n_frames=3), generator(4)
    state = posterior.start(5)
    log_proposal, log_evidence = torch.zeros(5).double(), torch.zeros(5).double()
    for frame in range(posterior.n_frames):
        tables = state.tables
        drawn = posterior.draw(state, rng, filters)
        for row in range(5):
            own = [table[row : row + 1] for table in tables]
            values = posterior.bound.log_likelihood[frame]
            step, evidence = filtered_step(own, values, filters)
            expected = float(step[drawn.codes[row, 0], drawn.codes[row, 1]])
            assert expected > -math.inf, "drew what the filters leave out"
            assert float(drawn.log_proposal[row]) == pytest.approx(expected, abs=1e-5)
            assert float(drawn.log_evidence[row]) == pytest.approx(float(evidence), abs=1e-5)
        log_proposal += drawn.log_proposal
        log_evidence += drawn.log_evidence
        state = posterior.extend(state, drawn)
    torch.testing.assert_close(state.log_proposal, log_proposal)
    torch.testing.assert_close(state.log_evidence, log_evidence)
    exact = enumerate_posterior(posterior)
    for row in range(5):
        same = (exact.codes == state.history[row]).all(2).all(1)
        unfiltered = exact.log_prior[:, same][:, 0]
        torch.testing.assert_close(state.log_prior[:, row], unfiltered, atol=1e-5, rtol=0)


@pytest.mark.parametrize("filters", [Filters(), *FILTERS], ids=str)
def test_top_ranks_by_filtered_scores(filters):
    posterior = random_posterior(5, n_codes=SIZES, n_frames=3)
    state = posterior.start(1)
    scores = {(): 0.0}
    for frame in range(posterior.n_frames):
        everything = {}
        for row in range(state.n_rows):
            own = [table[row : row + 1] for table in state.tables]
            values = posterior.bound.log_likelihood[frame]
            step, evidence = filtered_step(own, values, filters)
            path = tuple(state.history[row].T.flatten().tolist())
            for i, j in (step > -math.inf).nonzero().tolist():
                everything[(*path, i, j)] = scores[path] + float(step[i, j] + evidence)
        best = sorted(everything, key=everything.get, reverse=True)[:6]
        state = posterior.extend(state, posterior.top(state, 6, filters))
        assert [tuple(path.T.flatten().tolist()) for path in state.history] == best
        scores = {path: everything[path] for path in best}
        for row, path in enumerate(best):
            assert float(state.score[row]) == pytest.approx(scores[path], abs=1e-5)


def test_other_filters_on_the_same_state():
    posterior = random_posterior(5, n_codes=SIZES)
    state = posterior.start(3)
    for filters in (Filters(joint_top_k=1), Filters(), Filters(joint_top_k=2)):
        found = posterior.draw(state, generator(0), filters)
        alone = posterior.draw(posterior.start(3), generator(0), filters)
        assert torch.equal(found.log_evidence, alone.log_evidence)
        assert torch.equal(found.codes, alone.codes)


def test_top_over_all_pairs_gives_each_once():
    posterior = random_posterior(0, n_codes=SIZES)
    found = posterior.top(posterior.start(2), 1000)
    assert len(found.rows) == 2 * 3 * 4
    assert len(torch.cat([found.rows[:, None], found.codes], 1).unique(dim=0)) == 24


def test_impossible_frames_name_the_frame():
    posterior = random_posterior(0)
    posterior.bound.log_likelihood[2] = -math.inf
    state = posterior.start(2)
    for _ in range(2):
        state = posterior.extend(state, posterior.draw(state, generator()))
    with pytest.raises(EmptySupportError, match="frame 2"):
        posterior.draw(state, generator())
    with pytest.raises(EmptySupportError, match="frame 2"):
        posterior.top(state, 3)


def disjoint_posterior():
    """Hypotheses whose first codes are 1 find only impossible codes afterwards."""
    log_transition = torch.tensor([[0.5, 0.5], [0.0, 1.0]]).log()
    prior = MarkovPrior(torch.tensor([0.5, 0.5]).log(), log_transition)
    values = torch.zeros(2, 2, 2)
    values[1, 1] = -math.inf
    return SequencePosterior([prior, prior], DenseBound(values))


def test_one_impossible_hypothesis():
    posterior = disjoint_posterior()
    codes = torch.tensor([[0, 0], [1, 1]])
    state = posterior.start(2)
    state = posterior.extend(state, posterior.chosen(state, codes))
    with pytest.raises(EmptySupportError, match="frame 1"):
        posterior.draw(state, generator())
    # A search goes on with the other hypothesis.
    assert set(posterior.top(state, 10).rows.tolist()) == {0}


def test_scores_of_impossible_codes_are_minus_infinity_not_nan():
    posterior = disjoint_posterior()
    state = posterior.start(1)
    state = posterior.extend(state, posterior.chosen(state, torch.tensor([[1, 1]])))
    state = posterior.extend(state, posterior.chosen(state, torch.tensor([[1, 1]])))
    for values in (state.log_likelihood, state.log_evidence, state.log_proposal, state.score):
        assert float(values) == -math.inf


@pytest.mark.parametrize(("uniform", "first"), [(0.0, 1), (0.2, 1), (0.3, 3), (1 - 2**-53, 3)])
def test_picks_have_weight(uniform, first):
    log_weight = torch.tensor([[-math.inf, -1.0, -math.inf, 0.0, -math.inf], [-1e4] * 5])
    # All but one underflow.
    log_weight[1, 2] = -1e4 + 800
    pick = pick_by_cdf(log_weight, torch.full((2,), uniform, dtype=torch.float64))
    assert pick.tolist() == [first, 2]


def test_picks_divide_the_unit_interval():
    weight = torch.tensor([0.2, 0.0, 0.5, 0.3], dtype=torch.float64)
    uniform = torch.linspace(0, 1, 1001, dtype=torch.float64)[:-1]
    picks = pick_by_cdf(weight.log().expand(1000, -1), uniform)
    share = torch.bincount(picks, minlength=4) / 1000
    # A boundary may fall on either side of a multiple of 1/1000.
    torch.testing.assert_close(share.double(), weight, atol=1.1e-3, rtol=0)
    assert (picks.diff() >= 0).all()


@pytest.mark.parametrize("filters", [Filters(joint_top_k=4), Filters(joint_top_p=0.7)])
def test_draws_from_a_shared_list_are_those_of_hypotheses_on_their_own(filters, monkeypatch):
    posterior = random_posterior(3, n_codes=SIZES)
    # Three different pasts, in a mixed order: three lists.
    codes = torch.tensor([[0, 0], [1, 3], [2, 1]])[torch.arange(60) % 3]
    state = posterior.start(60)
    state = posterior.extend(state, posterior.chosen(state, codes))
    uniform = torch.rand(50, 2, dtype=torch.float64, generator=generator(4))
    rows = torch.randint(60, (50,), generator=generator(5))
    gone_through = []
    monkeypatch.setattr(
        frame_distribution, "_pick", lambda *args: gone_through.append(1) or _pick(*args)
    )
    together = posterior.draw(state, None, filters, rows=rows, uniform=uniform).codes
    assert len(gone_through) == 3
    for row, number, drawn in zip(rows.tolist(), uniform, together, strict=True):
        alone = posterior.start(1)
        alone = posterior.extend(alone, posterior.chosen(alone, codes[row : row + 1]))
        on_its_own = posterior.draw(alone, None, filters, uniform=number[None]).codes
        assert torch.equal(on_its_own[0], drawn)
    assert len({tuple(pair) for pair in together.tolist()}) > 4


def test_uniform_numbers_replace_the_generator():
    posterior = random_posterior(0, n_codes=SIZES)
    state = posterior.start(50)
    uniform = torch.rand(50, 2, dtype=torch.float64, generator=generator(9))
    by_numbers = posterior.draw(state, uniform=uniform)
    by_generator = posterior.draw(state, generator(9))
    assert torch.equal(by_numbers.codes, by_generator.codes)
    part = posterior.draw(posterior.start(10), uniform=uniform[20:30])
    assert torch.equal(part.codes, by_numbers.codes[20:30])


def test_prompt_conditions_the_priors_only():
    prompt = random_codes(generator(3), 2, 4)
    assert prompt.shape == (2, 2, 4)
    posterior = long_memory_posterior(prompt=prompt)
    rng = generator(1)
    state = posterior.start(3)
    for _ in range(posterior.n_frames):
        state = posterior.extend(state, posterior.chosen(state, random_codes(rng, 3)))
    found = posterior.candidates(state)
    assert found.codes.shape == (2, 3, 5), "the prompt is no part of the candidates"
    for row in range(3):
        codes = torch.cat([prompt[row % 2], found.codes[:, row]], 1)
        log_prior, log_likelihood, log_evidence, _ = rescore(posterior, codes, n_prompt=4)
        torch.testing.assert_close(found.log_prior[:, row], log_prior, atol=1e-5, rtol=0)
        assert float(found.log_likelihood[row]) == pytest.approx(log_likelihood, abs=1e-9)
        assert float(found.log_evidence[row]) == pytest.approx(log_evidence, abs=1e-5)


def test_prompt_given_at_the_start_wins():
    prompts = random_codes(generator(3), 2, 4)
    own, given = prompts[:1], prompts[1:]
    posterior = long_memory_posterior(prompt=own)
    without = long_memory_posterior()
    assert torch.equal(posterior.start(1, given).tables[0], without.start(1, given).tables[0])
    assert not torch.equal(posterior.start(1).tables[0], posterior.start(1, given).tables[0])


@pytest.mark.parametrize("n_frames", [0, 1])
def test_empty_prompt_is_no_prompt(n_frames):
    prompt = torch.zeros(1, 2, n_frames, dtype=torch.int64)
    same = torch.equal(
        long_memory_posterior(prompt=prompt).start(1).tables[0],
        long_memory_posterior().start(1).tables[0],
    )
    assert same == (n_frames == 0)


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 1, 4), (0, 2, 4)])
def test_wrong_prompts_are_refused(shape):
    with pytest.raises(ShapeError, match="prompt"):
        long_memory_posterior(prompt=torch.zeros(shape, dtype=torch.int64))


def run_over_windows(posterior, codes, prompt):
    """Log prior of one hypothesis per source, with the windows written out by hand."""
    total, result = torch.cat([prompt, codes], 1), []
    for source, prior in enumerate(posterior.priors):
        sequence, context = total[source], prior.info.max_frames
        n_prompt, length = prompt.shape[1], total.shape[1]
        starts = [0]
        if context is not None:
            while starts[-1] + context < length:
                starts.append(min(starts[-1] + max(1, context // 2), length - context))
        log_prior, position = 0.0, n_prompt
        for start in starts:
            stop = length if context is None else min(start + context, length)
            if stop <= position:
                continue
            known = sequence[None, start:position]
            state = prior.start(1, known if known.shape[1] else None)
            table, state = prior.step(state, None)
            while True:
                log_prior += float(table[0, sequence[position]])
                position += 1
                if position == stop:
                    break
                table, state = prior.step(state, sequence[None, position - 1])
        assert position == length
        result.append(log_prior)
    return torch.tensor(result, dtype=torch.float64)


@pytest.mark.parametrize("n_prompt", [0, 1, 5, 20])
@pytest.mark.parametrize("contexts", [(6, None), (4, 7), (1, 2), (30, 9), (5, 40)])
def test_long_sequences_run_over_windows(contexts, n_prompt):
    prompt = random_codes(generator(7), 1, n_prompt)
    posterior = long_memory_posterior(n_frames=23, prompt=prompt, max_frames=contexts)
    state, rng = posterior.start(3), generator(1)
    for _ in range(posterior.n_frames):
        rows = torch.randint(3, (3,), generator=rng)
        state = posterior.extend(state, posterior.chosen(state, random_codes(rng, 3), rows=rows))
    for row in range(3):
        expected = run_over_windows(posterior, state.history[row], prompt[0])
        torch.testing.assert_close(state.log_prior[:, row], expected, atol=1e-4, rtol=0)
        # The likelihood's frames and history are those of the whole sequence.
        log_likelihood = 0.0
        for frame in range(posterior.n_frames):
            history = state.history[row : row + 1]
            likelihood = posterior.bound.at(frame, history[:, :, :frame])
            zero = torch.zeros(1, dtype=torch.int64)
            log_likelihood += float(likelihood.at(zero, history[:, :, frame]))
        assert float(state.log_likelihood[row]) == pytest.approx(log_likelihood, abs=1e-9)


def test_last_frame_does_not_step_the_priors():
    posterior = long_memory_posterior(n_frames=3)
    steps = []
    for prior in posterior.priors:
        step = prior.step

        def counting(state, codes, step=step):
            steps.append(codes)
            return step(state, codes)

        prior.step = counting
    state = posterior.start(2)
    for _ in range(3):
        state = posterior.extend(
            state, posterior.chosen(state, torch.zeros(2, 2, dtype=torch.int64))
        )
    assert len(steps) == 2 * 3
    assert state.tables == () and state.likelihood is None


def test_history_has_exactly_the_frames_so_far():
    posterior = long_memory_posterior(n_frames=4, prompt=random_codes(generator(0), 1, 3))
    seen, at = [], posterior.bound.at

    def recording(frame, history):
        seen.append((frame, tuple(history.shape)))
        return at(frame, history)

    posterior.bound.at = recording
    state = posterior.start(2)
    for _ in range(4):
        state = posterior.extend(
            state, posterior.chosen(state, torch.ones(2, 2, dtype=torch.int64))
        )
    assert seen == [(frame, (2, 2, frame)) for frame in range(4)]


def test_wrong_parts_are_refused():
    posterior = random_posterior(0, n_codes=SIZES)
    with pytest.raises(IncompatibleComponentsError, match="2 sources"):
        SequencePosterior(posterior.priors[:1], posterior.bound)
    with pytest.raises(IncompatibleComponentsError, match=r"\(3, 4\)"):
        SequencePosterior(posterior.priors[::-1], posterior.bound).start(1)
    with pytest.raises(ShapeError, match="frame 0"):
        posterior.chosen(posterior.start(2), torch.zeros(3, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match="1 or more"):
        posterior.top(posterior.start(1), 0)


def test_log_upper_bounds_every_path():
    posterior = random_posterior(0, n_codes=SIZES, n_frames=3)
    exact = enumerate_posterior(posterior)
    upper = posterior.log_upper()
    # Tight for this likelihood: the sum of the largest values.
    expected = float(posterior.bound.log_likelihood.flatten(1).amax(1).sum())
    assert upper == pytest.approx(expected)
    assert upper >= exact.log_evidence
    assert long_memory_posterior().log_upper() == math.inf


def test_markov_gives_the_same_posterior():
    posterior = random_posterior(0, n_codes=SIZES, n_frames=3)
    markov = posterior.markov()
    assert markov.n_frames == 3
    exact = enumerate_posterior(posterior)
    values = markov.log_likelihood(0, 3)
    assert torch.equal(markov.log_likelihood(1, 3), values[1:])
    log_joint = torch.zeros(len(exact.codes), dtype=torch.float64)
    for source in range(2):
        codes = exact.codes[:, source]
        log_joint += markov.log_initial[source][codes[:, 0]]
        log_joint += markov.log_transition[source][codes[:, :-1], codes[:, 1:]].sum(1)
    for frame in range(3):
        log_joint += values[frame, exact.codes[:, 0, frame], exact.codes[:, 1, frame]]
    torch.testing.assert_close(log_joint, exact.log_joint, atol=1e-5, rtol=0)


def test_markov_starts_after_the_prompt():
    plain = random_posterior(0, n_codes=SIZES, n_frames=3)
    prompt = torch.tensor([[[0, 2], [1, 3]]])
    markov = SequencePosterior(plain.priors, plain.bound, prompt=prompt).markov()
    for source, last in enumerate((2, 3)):
        expected = plain.priors[source].log_transition[last]
        assert torch.equal(markov.log_initial[source], expected)


class Unlisted(DenseBound):
    def frames(self, start, stop):
        return None


def test_markov_is_none_where_there_is_no_chain():
    chains = [random_markov_prior(size, generator(size)) for size in SIZES]
    values = torch.zeros(3, *SIZES)
    assert SequencePosterior(chains, DenseBound(values)).markov() is not None
    assert SequencePosterior(chains, Unlisted(values)).markov() is None
    assert SequencePosterior(chains, EchoBound(values)).markov() is None
    memory = [LongMemoryPrior(torch.zeros(3, 3)), chains[1]]
    assert SequencePosterior(memory, DenseBound(values)).markov() is None


def test_adapt_passes_on_to_the_likelihood():
    class Adapting(DenseBound):
        can_adapt = True

        def adapt(self, marginals, frames=None) -> BoundLikelihood:
            values = marginals[0][:, :, None] + marginals[1][:, None]
            return DenseBound(self.log_likelihood + values)

    plain = random_posterior(0, n_codes=SIZES, n_frames=3)
    marginals = [torch.rand(3, size, generator=generator(size)) for size in SIZES]
    assert plain.adapt(marginals) is None
    prompt = torch.ones(1, 2, 2, dtype=torch.int64)
    values = plain.bound.log_likelihood
    adapted = SequencePosterior(plain.priors, Adapting(values), prompt=prompt).adapt(marginals)
    expected = values + marginals[0][:, :, None] + marginals[1][:, None]
    torch.testing.assert_close(adapted.bound.log_likelihood, expected)
    assert torch.equal(adapted.prompt, prompt) and adapted.priors == plain.priors


@pytest.mark.gpu
def test_runs_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_cpu = random_posterior(0, n_codes=(40, 50), n_frames=6)
    chains = []
    for prior in on_cpu.priors:
        chain = MarkovPrior(prior.log_initial.cuda(), prior.log_transition.cuda())
        chain.device = chain.log_initial.device
        chains.append(chain)
    on_gpu = SequencePosterior(chains, DenseBound(on_cpu.bound.log_likelihood.cuda()))
    found = []
    for posterior in (on_cpu, on_gpu):
        state, rng = posterior.start(32), generator(1)
        for _ in range(posterior.n_frames - 1):
            state = posterior.extend(state, posterior.draw(state, rng))
        state = posterior.extend(state, posterior.top(state, 32))
        found.append(posterior.candidates(state))
    assert torch.equal(found[0].codes, found[1].codes.cpu())
    difference = found[0].log_evidence - found[1].log_evidence.cpu()
    assert difference.abs().max() < 1e-4
