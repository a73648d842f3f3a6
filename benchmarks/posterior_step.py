"""One joint draw per candidate: the textbook dense step against ours, in one run.

::

    python benchmarks/posterior_step.py --codes 2048 --candidates 64 --json posterior_step.json

The dense step is the reference's: distances of all pairs' summed vectors (a K x K x D table, made
once beforehand) to the mixture's vector, a K x K posterior per candidate, one categorical draw from
each. Both are timed in turn in one process; ours as the mean of 20 steps in a row, as a sampler
takes them, for a single one right after the dense step pays for that one's gigabytes. Writes,
besides the machine and all timings:

``dense_s``, ``fast_s``
    seconds of processor time per step, medians over the rounds.
``dense_peak_mb``, ``fast_peak_mb``
    growth of the resident memory over the state before the step, each in a process of its own.
``total_variation``
    largest over candidates, between our joint distribution and float64's.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import resource
import subprocess
import sys

import torch
from _timing import arguments, machine, random_codebook, ratios, time_in_turn, write
from torch import Tensor

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.likelihoods.sum_table import SumTableIndex, SumTableLikelihood
from lqsep.plugins.codebook_sum.table import build_sum_table

# Our steps that are timed together.
IN_A_ROW = 20


class Step:
    """Random priors and a mixture that some pair of codes explains."""

    def __init__(
        self, codes: int, dim: int, candidates: int, sigma: float, device: str, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.sigma = sigma
        self.codebook = random_codebook(codes, dim, generator).to(device)
        table = build_sum_table(self.codebook, (0.5, 0.5))
        self.index = SumTableIndex(table, codes)
        # Standard deviation 3: a perplexity of about 50 at 2048 codes.
        logits = 3.0 * torch.randn(2, candidates, codes, generator=generator)
        self.log_p0, self.log_p1 = logits.log_softmax(2).to(device)
        first, second = int(self.log_p0[0].argmax()), int(self.log_p1[0].argmax())
        self.mixture = self.codebook[int(table[first, second])]
        self.uniform = torch.rand(candidates, 2, generator=generator, dtype=torch.float64)
        self.uniform = self.uniform.to(device)
        self.sums: Tensor | None = None

    def prepare_dense(self) -> None:
        """The table of summed vectors, 1 GiB at 2048 codes of 64 dimensions."""
        self.sums = self.codebook[self.index.table.long()]

    def log_likelihood(self) -> Tensor:
        """Of every code that a sum may have, float64."""
        squares = (self.codebook.double() - self.mixture.double()).square().sum(1)
        return squares / (-2 * self.sigma**2)

    def fast(self) -> Tensor:
        """Joint codes, as the samplers draw them."""
        return self.distribution().draw(self.uniform)

    def fast_in_a_row(self) -> None:
        for _ in range(IN_A_ROW):
            self.fast()

    def distribution(self) -> FrameDistribution:
        likelihood = SumTableLikelihood(self.index, self.log_likelihood())
        return FrameDistribution(likelihood, (self.log_p0, self.log_p1), Filters())

    def dense(self) -> Tensor:
        """Joint codes from every pair of every candidate."""
        assert self.sums is not None
        distance = (self.sums - self.mixture).norm(dim=2)
        log_likelihood = -distance.square() / (2 * self.sigma**2)
        posterior = log_likelihood + self.log_p0[:, :, None] + self.log_p1[:, None]
        n_columns = posterior.shape[2]
        pick = torch.distributions.Categorical(logits=posterior.flatten(1)).sample()
        return torch.stack([pick // n_columns, pick % n_columns], 1)

    def total_variation(self) -> float:
        """Largest over candidates: half the sum over all pairs of |ours - float64's|.

        Ours is what the two stages of the draw imply, p(i) p(j | i).
        """
        log_l = self.log_likelihood()[self.index.table.long()]
        ours = self.distribution()
        rows = torch.arange(log_l.shape[0], device=log_l.device)
        worst = 0.0
        for n in range(len(self.log_p0)):
            a, b = self.log_p0[n].double(), self.log_p1[n].double()
            exact = (log_l + a[:, None] + b).flatten().softmax(0).view_as(log_l)
            hypothesis = torch.full_like(rows, n)
            first = (ours._log_p0[n] + ours._row_logsum[n]).softmax(0)
            second = (ours._log_p1[n] + ours._likelihood.rows(hypothesis, rows)).softmax(1)
            worst = max(worst, float((first[:, None] * second - exact).abs().sum()) / 2)
        return worst


def peak_growth_mb(command: list[str], way: str) -> float:
    """Resident memory that one step adds, measured in a process of its own."""
    result = subprocess.run(
        [sys.executable, *command, "--measure-peak", way],
        check=True,
        capture_output=True,
        text=True,
    )
    return float(json.loads(result.stdout)["peak_mb"])


def measure_peak(step: Step, way: str) -> float:
    """Peak over the state before the step; a tiny step first, so that libraries are loaded."""
    warm = Step(64, 8, 2, step.sigma, "cpu", 0)
    warm.prepare_dense()
    getattr(warm, way)()
    if way == "dense":
        step.prepare_dense()
    give_back_free_memory()
    reset_peak()
    before = resident_mb("VmRSS")
    getattr(step, way)()
    return max(0.0, resident_mb("VmHWM") - before)


def give_back_free_memory() -> None:
    """Else the step would be served from what preparing it has freed, and seem to need nothing."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)


def reset_peak() -> None:
    """Forget the largest resident memory so far (Linux)."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def resident_mb(field: str) -> float:
    with open("/proc/self/status") as file:
        for line in file:
            if line.startswith(field):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codes", type=int, default=2048, help="size of the codebook [2048]")
    parser.add_argument("--dim", type=int, default=64, help="size of a vector [64]")
    parser.add_argument("--candidates", type=int, default=64, help="parallel candidates [64]")
    parser.add_argument("--sigma", type=float, default=0.4, help="of the likelihood [0.4]")
    parser.add_argument("--measure-peak", choices=["dense", "fast"], help="for child processes")
    options = parser.parse_args()
    step = Step(
        options.codes,
        options.dim,
        options.candidates,
        options.sigma,
        options.device,
        options.seed,
    )
    if options.measure_peak:
        print(json.dumps({"peak_mb": measure_peak(step, options.measure_peak)}))
        return
    facts = machine(options.device)
    child = [
        __file__,
        *(f"--{name}={getattr(options, name)}" for name in ("codes", "dim", "candidates", "seed")),
        f"--sigma={options.sigma}",
    ]
    peaks = {way: peak_growth_mb(child, way) for way in ("dense", "fast")}
    step.prepare_dense()
    timings = time_in_turn(
        {"fast": step.fast_in_a_row, "dense": step.dense}, options.rounds, device=options.device
    )
    for key in ("median", "min", "max", "spread", "cpu_median"):
        timings["fast"][key] /= IN_A_ROW
    timings["fast"]["seconds"] = [seconds / IN_A_ROW for seconds in timings["fast"]["seconds"]]
    step.sums = None
    write(
        {
            "benchmark": "posterior_step",
            "machine": facts,
            "settings": {
                name: getattr(options, name)
                for name in ("codes", "dim", "candidates", "sigma", "seed", "rounds")
            },
            "dense_s": timings["dense"]["cpu_median"],
            "fast_s": timings["fast"]["cpu_median"],
            "ratio_cpu": timings["dense"]["cpu_median"] / timings["fast"]["cpu_median"],
            "dense_peak_mb": peaks["dense"],
            "fast_peak_mb": peaks["fast"],
            "total_variation": step.total_variation(),
            "timings": timings,
            "ratio_wall": ratios(timings, "dense", "fast"),
        },
        options.json,
    )


if __name__ == "__main__":
    if "OMP_NUM_THREADS" not in os.environ:
        # One thread, as `lqsep separate` sets it; it must be known before torch is loaded.
        os.environ["OMP_NUM_THREADS"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.argv])
    with torch.inference_mode():
        main()
