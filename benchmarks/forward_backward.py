"""Exact smoothing of two Markov chains: seconds and memory of sampler ``forward-backward``.

    OMP_NUM_THREADS=1 python benchmarks/forward_backward.py --json forward_backward.json

The settings are those of about 12 seconds of audio at 22,050 Hz with a hop of 512: 500 frames, 256
codes per source, 32 draws, one pass without adaptation. The likelihood of all pairs is a matrix
product of 192 inner dimensions, as with a Gaussian over 96 bands, made anew whenever it is asked
for; its own time is given apart. Ways: ``whole`` keeps all messages, ``blocks`` those of 16 frames
at a time, ``marginals`` has a single draw, ``careful`` is the way of chains with impossible
transitions (float64, log domain; on fewer frames, scaled up).

Memory is the growth of the process's peak, taken once per way in a process of its own.
"""

from __future__ import annotations

import multiprocessing
import resource
from functools import partial
from typing import Any

import torch
from _timing import arguments, machine, ratios, time_in_turn, write
from torch import Tensor

from lqsep.core.inference.smoothing import forward_backward
from lqsep.core.inference.smoothing.forward_backward import Smoothed, smooth
from lqsep.core.inference.smoothing.markov_steps import Logs, MarkovSteps, markov_steps
from lqsep.core.inference.state import MarkovPosterior

_INNER = 192

# Frames of the careful way, which takes several times as long.
_CAREFUL_FRAMES = 50


class Problem:
    """Two random chains and a mixture; the likelihood is quadratic in the mixture's features."""

    def __init__(self, codes: int, frames: int, draws: int, seed: int) -> None:
        rng = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(2, codes, codes, generator=rng)
        self.tables = tuple(logits.log_softmax(-1))
        self.pairs = torch.randn(codes * codes, _INNER, generator=rng) / 4
        self.features = torch.randn(frames, _INNER, generator=rng)
        self.uniform = torch.rand(draws, frames, 2, dtype=torch.float64, generator=rng)
        self.codes = codes

    def log_likelihood(self, start: int, stop: int) -> Tensor:
        """Of all pairs."""
        return (self.features[start:stop] @ self.pairs.T).view(-1, self.codes, self.codes)

    def smooth(self, frames: int, draws: int, block: int | None, *, careful: bool) -> Smoothed:
        """One pass."""
        initial = tuple(table[0] for table in self.tables)
        markov = MarkovPosterior(frames, initial, self.tables, self.log_likelihood)
        forward_backward.markov_steps = _always_careful if careful else markov_steps
        return smooth(markov, self.uniform[:draws, :frames], block_frames=block)

    def likelihood_alone(self) -> None:
        """As a pass that keeps everything asks for it."""
        for start in range(0, len(self.features), 64):
            self.log_likelihood(start, min(start + 64, len(self.features)))


def _always_careful(tables: tuple[Tensor, ...], n_frames: int) -> MarkovSteps:
    return MarkovSteps(tables, Logs())


def growth(sizes: tuple[int, int, int, int], block: int | None) -> int:
    """Bytes by which the peak of this process grows in one pass."""
    problem = Problem(*sizes)
    problem.smooth(2, 1, None, careful=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    problem.smooth(sizes[1], sizes[2], block, careful=False)
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codes", type=int, default=256, help="per source [256]")
    parser.add_argument("--frames", type=int, default=500, help="of the mixture [500]")
    parser.add_argument("--draws", type=int, default=32, help="sequences drawn [32]")
    options = parser.parse_args()
    sizes = (options.codes, options.frames, options.draws, options.seed)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        memory = {
            name: pool.apply(growth, (sizes, block))
            for name, block in (("whole", options.frames), ("blocks", 16))
        }
    problem = Problem(*sizes)
    few = min(_CAREFUL_FRAMES, options.frames)
    whole = partial(problem.smooth, options.frames, options.draws, options.frames, careful=False)
    timings = time_in_turn(
        {
            "whole": whole,
            "blocks": partial(problem.smooth, options.frames, options.draws, 16, careful=False),
            "marginals": partial(problem.smooth, options.frames, 1, options.frames, careful=False),
            "careful": partial(problem.smooth, few, options.draws, few, careful=True),
            "likelihood": problem.likelihood_alone,
        },
        options.rounds,
        warm_up=False,
    )
    for key in ("median", "min", "max", "cpu_median"):
        timings["careful"][key] *= options.frames / few
    write(
        {
            "benchmark": "forward_backward",
            "machine": machine(),
            "settings": {
                "codes": options.codes,
                "frames": options.frames,
                "draws": options.draws,
                "inner": _INNER,
                "seed": options.seed,
            },
            "timings": timings,
            "memory_bytes": memory,
            "ratio": {name: ratios(timings, name, "whole") for name in ("blocks", "careful")},
            "checks": _checks(whole(), problem.smooth(*sizes[1:3], 16, careful=False)),
        },
        options.json,
    )


def _checks(whole: Smoothed, blocks: Smoothed) -> dict[str, Any]:
    return {
        "same_draws_in_blocks": torch.equal(whole.codes, blocks.codes),
        "difference_of_log_evidence": whole.log_evidence - blocks.log_evidence,
        "largest_difference_of_marginals": max(
            float((one - other).abs().max())
            for one, other in zip(whole.marginals, blocks.marginals, strict=True)
        ),
    }


if __name__ == "__main__":
    with torch.inference_mode():
        main()
