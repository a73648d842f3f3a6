"""Time one step of ancestral sampling, beam search and the particle filter: ours, and densely.

::

    python benchmarks/samplers.py --json samplers.json          # 1 and 8 hypotheses
    python benchmarks/samplers.py --full --rounds 3             # 64 as well: minutes, 8 GB

A step is everything that happens between two frames: the likelihood of a frame, a joint choice per
hypothesis, scores and prior states taken along. The priors are random Markov chains, so that
nearly all of the time is the joint inference.

On a machine that does other work as well set OMP_NUM_THREADS=1: threads that wait for each other
make steps of milliseconds many times slower.

The dense way is the reference's: a table of all pairs' summed vectors (K x K x D, made once, not
timed), their distances to the mixture's vector, then the posterior of every pair of every
hypothesis, from which ancestral sampling draws and a beam takes the best. The dense beam goes
through its hypotheses one by one; all at once they would not fit into memory at 64.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from _timing import arguments, machine, random_codebook, ratios, time_in_turn, write
from torch import Tensor

from lqsep.core.inference.posterior import PosteriorState, SequencePosterior
from lqsep.core.likelihoods.sum_table import SumTableIndex
from lqsep.plugins.codebook_sum.likelihood import BoundCodebookSum
from lqsep.plugins.codebook_sum.table import build_sum_table
from lqsep.plugins.samplers.weights import systematic
from lqsep.testing.toys import MarkovPrior

# Our ways run several steps in a row, as a sampler does: the first one after a dense step, which
# sweeps the caches, takes twice as long.
_STEPS = 5

# Standard deviation of the priors' logits: a perplexity of about 50 at 2048 codes.
_SHARPNESS = 3.0


class Problem:
    """Two random chains, a random codebook, and a mixture of codes that the chains produce."""

    def __init__(self, codes: int, dim: int, sigma: float, device: str, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        self.device, self.sigma = torch.device(device), sigma
        self.codebook = random_codebook(codes, dim, rng).to(device)
        table = build_sum_table(self.codebook, (0.5, 0.5))
        priors = []
        for _ in range(2):
            logits = _SHARPNESS * torch.randn(codes, codes, generator=rng)
            tables = logits.log_softmax(1).to(device)
            priors.append(MarkovPrior(tables[0], tables))
            priors[-1].device = self.device
        frames = []
        for _ in range(3):
            first, second = (
                int(torch.multinomial(prior.log_initial.exp().cpu(), 1, generator=rng))
                for prior in priors
            )
            frames.append(self.codebook[int(table[first, second])])
        self.targets = torch.stack(frames)
        bound = BoundCodebookSum(SumTableIndex(table, codes), self.codebook, self.targets, sigma)
        self.posterior = SequencePosterior(priors, bound)
        self.sums = self.codebook[table.long()]

    def prepared(self, hypotheses: int) -> PosteriorState:
        """Different hypotheses before frame 1: the best ones of frame 0."""
        state = self.posterior.start(1)
        return self.posterior.extend(state, self.posterior.top(state, hypotheses))

    def fresh(self, state: PosteriorState) -> PosteriorState:
        """A copy that has computed nothing yet and may be consumed."""
        return replace(
            state,
            codes=state.codes.clone(),
            likelihood=self.posterior.bound.at(state.frame, state.history),
            _prior_states=list(state._prior_states),
            _windows=list(state._windows),
            _distribution=None,
        )

    def ancestral(self, state: PosteriorState) -> PosteriorState:
        """One step as the sampler does it."""
        state = self.fresh(state)
        drawn = self.posterior.draw(state, torch.Generator().manual_seed(0))
        return self.posterior.extend(state, drawn)

    def beam(self, state: PosteriorState) -> PosteriorState:
        """One step as the sampler does it."""
        state = self.fresh(state)
        return self.posterior.extend(state, self.posterior.top(state, state.n_rows))

    def smc(self, state: PosteriorState) -> PosteriorState:
        """One step that resamples. (`rejection` steps as `ancestral` does.)"""
        state = self.fresh(state)
        log_evidence = self.posterior.log_evidence(state)[None]
        rows = systematic(log_evidence, state.n_rows, torch.full((1,), 0.5))[0]
        drawn = self.posterior.draw(state, torch.Generator().manual_seed(0), rows=rows)
        return self.posterior.extend(state, drawn)

    def dense_ancestral(self, state: PosteriorState) -> Tensor:
        """Log evidence of every hypothesis, and a draw, over every pair."""
        log_p0, log_p1 = (table.float() for table in state.tables)
        posterior = self._dense_likelihood(state.frame) + log_p0[:, :, None] + log_p1[:, None]
        flat = posterior.flatten(1)
        log_evidence = flat.logsumexp(1)
        pick = torch.multinomial((flat - log_evidence[:, None]).exp(), 1)[:, 0]
        n_codes = posterior.shape[2]
        for source, codes in enumerate((pick // n_codes, pick % n_codes)):
            self.posterior.priors[source].step((len(codes), None), codes)
        return log_evidence

    def dense_beam(self, state: PosteriorState) -> Tensor:
        """Scores of the best continuations, over every pair."""
        log_p0, log_p1 = (table.float() for table in state.tables)
        likelihood = self._dense_likelihood(state.frame)
        best, places = [], []
        for n in range(state.n_rows):
            joint = likelihood + log_p0[n][:, None] + log_p1[n]
            found = joint.flatten().topk(state.n_rows)
            best.append(found.values.double() + state.score[n])
            places.append(found.indices)
        score, order = torch.cat(best).topk(state.n_rows)
        pick, n_codes = torch.cat(places)[order], log_p1.shape[1]
        for source, codes in enumerate((pick // n_codes, pick % n_codes)):
            self.posterior.priors[source].step((len(codes), None), codes)
        return score

    def _dense_likelihood(self, frame: int) -> Tensor:
        distance = (self.sums - self.targets[frame]).norm(dim=2)
        return -distance.square() / (2 * self.sigma**2)


def several(step: Callable[[PosteriorState], object], state: PosteriorState) -> None:
    """The same step, ``_STEPS`` times in a row."""
    for _ in range(_STEPS):
        step(state)


def per_step(timing: dict[str, Any]) -> dict[str, Any]:
    """Of `several` steps, seconds per step."""
    scaled = {key: value / _STEPS for key, value in timing.items() if isinstance(value, float)}
    seconds = [value / _STEPS for value in timing["seconds"]]
    return {**timing, **scaled, "seconds": seconds, "steps_in_a_row": _STEPS}


def measure(problem: Problem, hypotheses: int, rounds: int, device: str) -> dict[str, Any]:
    """Timings of the five ways in turn, their ratios, and how far the results differ."""
    state = problem.prepared(hypotheses)
    timings = time_in_turn(
        {
            "ancestral": partial(several, problem.ancestral, state),
            "beam": partial(several, problem.beam, state),
            "smc": partial(several, problem.smc, state),
            "dense ancestral": partial(problem.dense_ancestral, state),
            "dense beam": partial(problem.dense_beam, state),
        },
        rounds,
        device=device,
    )
    for name in ("ancestral", "beam", "smc"):
        timings[name] = per_step(timings[name])
    evidence = problem.ancestral(state).log_evidence - state.log_evidence
    evidence_error = (evidence - problem.dense_ancestral(state).double()).abs().max()
    score_error = (problem.beam(state).score - problem.dense_beam(state)).abs().max()
    return {
        "hypotheses": hypotheses,
        "timings": timings,
        "ratio": {
            name: {
                **ratios(timings, f"dense {name}", name),
                "cpu_median": timings[f"dense {name}"]["cpu_median"] / timings[name]["cpu_median"],
            }
            for name in ("ancestral", "beam")
        },
        "checks": {
            "largest_difference_of_log_evidence": float(evidence_error),
            "largest_difference_of_beam_scores": float(score_error),
        },
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codes", type=int, default=2048, help="size of the codebook [2048]")
    parser.add_argument("--dim", type=int, default=64, help="size of a vector [64]")
    parser.add_argument("--sigma", type=float, default=0.4, help="of the likelihood [0.4]")
    parser.add_argument("--full", action="store_true", help="64 hypotheses as well")
    options = parser.parse_args()
    problem = Problem(options.codes, options.dim, options.sigma, options.device, options.seed)
    facts = machine(options.device)
    sizes = [1, 8, 64] if options.full else [1, 8]
    write(
        {
            "benchmark": "samplers",
            "machine": facts,
            "settings": {
                "codes": options.codes,
                "dim": options.dim,
                "sigma": options.sigma,
                "seed": options.seed,
            },
            "results": [measure(problem, size, options.rounds, options.device) for size in sizes],
        },
        options.json,
    )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
