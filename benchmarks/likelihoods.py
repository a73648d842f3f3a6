"""Time one frame's joint choice under every likelihood.

::

    python benchmarks/likelihoods.py --json likelihoods.json     # 512 and 2048 codes

A choice is what happens between two steps of the priors: the likelihood of the frame, and one pair
of codes for each of 16 hypotheses, drawn exactly (``ancestral``) or the 16 best (``beam``). The
codebook is random, the priors' tables are softmaxes of Gaussian numbers, and the mixture is a noisy
sum of two codes that they favour. ``gaussian-sum`` is timed twice: at the noise that the mixture
has, and at a hundredth of its variance, where sums over rows underflow.

Two likelihoods are timed without what their plugins do before the frame's values exist:
``waveform`` without decoding (values of one matrix per hypothesis) and ``counts`` with random
counts of 20,000 pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from _timing import arguments, machine, random_codebook, time_in_turn, write
from torch import Tensor

from lqsep.core.inference.filters import Filters
from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.likelihoods.bilinear import BilinearLikelihood
from lqsep.core.likelihoods.sparse import SparseLikelihood
from lqsep.plugins.codebook_sum.delta import DeltaLikelihood
from lqsep.plugins.codebook_sum.likelihood import CodebookSumLikelihood
from lqsep.plugins.codebook_sum.table import SumTable, build_sum_table
from lqsep.plugins.gaussian_sum.calibration import Calibration
from lqsep.plugins.gaussian_sum.likelihood import GaussianSumLikelihood

GAINS = (0.5, 0.5)
# Standard deviations of the noise per dimension, of the priors' logits, and of decoded samples.
_NOISE, _SHARPNESS, _SAMPLE = 0.4, 3.0, 0.1
_HOP, _COUNTED = 64, 20_000

AtFrame = Callable[[], FrameLikelihood]


def prior_tables(codes: int, hypotheses: int, rng: torch.Generator) -> list[Tensor]:
    shape = (hypotheses, codes)
    return [
        (_SHARPNESS * torch.randn(shape, generator=rng)).log_softmax(1).double() for _ in range(2)
    ]


def likelihoods(
    codes: int, dim: int, hypotheses: int, tables: list[Tensor], rng: torch.Generator, device: str
) -> dict[str, AtFrame]:
    """By name, what makes the likelihood of one frame."""
    codebook = random_codebook(codes, dim, rng)
    first, second = (int(table[0].argmax()) for table in tables)
    latent = GAINS[0] * codebook[first] + GAINS[1] * codebook[second]
    latent = latent + _NOISE * torch.randn(dim, generator=rng)
    code = (codebook - latent).square().sum(1).argmin()
    encoded = EncodedMixture(
        torch.zeros(1, _HOP), latent[None].to(device), code[None].to(device), 1.0
    )
    codebook = codebook.to(device)
    sums = SumTable(build_sum_table(codebook, GAINS).cpu(), GAINS, "random")

    def gaussian(variance: float) -> GaussianSumLikelihood:
        covariance = torch.full((dim,), variance, dtype=torch.float64)
        noise = Calibration(0 * covariance, covariance, GAINS, "random", 1)
        return GaussianSumLikelihood(codebook, codebook, noise)

    models = {
        "codebook-sum": CodebookSumLikelihood(codebook, sigma=_NOISE, table=sums),
        "delta": DeltaLikelihood(codebook, table=sums),
        "gaussian-sum": gaussian(_NOISE**2),
        "gaussian-sum, sharp": gaussian(_NOISE**2 / 100),
    }
    history = torch.zeros(hypotheses, 2, 0, dtype=torch.int64, device=device)
    made: dict[str, AtFrame] = {
        name: partial(model.bind(encoded, GAINS).at, 0, history) for name, model in models.items()
    }

    windows = _SAMPLE * torch.randn(2, hypotheses, codes, _HOP, generator=rng)
    windows = windows.double().to(device) / (2 * _SAMPLE)
    halves = windows.square().sum(3) / 2
    made["waveform"] = lambda: BilinearLikelihood(-halves[0], -halves[1], -windows[0], windows[1])
    pairs = torch.randperm(codes * codes, generator=rng)[:_COUNTED].to(device)
    counts = torch.rand(len(pairs), generator=rng).log().double().to(device)
    shape, floor = (codes, codes), float(counts.min()) - 1
    made["counts"] = lambda: SparseLikelihood(shape, pairs // codes, pairs % codes, counts, floor)
    return made


def draw(at: AtFrame, tables: list[Tensor], uniform: Tensor) -> Tensor:
    """One pair per hypothesis."""
    return FrameDistribution(at(), tables, Filters()).draw(uniform)


def best(at: AtFrame, tables: list[Tensor]) -> Tensor:
    """As many pairs as hypotheses."""
    score = tables[0].new_zeros(len(tables[0]))
    return FrameDistribution(at(), tables, Filters()).best(score, len(score))[1]


def measure(codes: int, options: Any) -> dict[str, Any]:
    """Timings of all likelihoods in turn, ancestral and beam."""
    rng = torch.Generator().manual_seed(options.seed)
    tables = prior_tables(codes, options.hypotheses, rng)
    made = likelihoods(codes, options.dim, options.hypotheses, tables, rng, options.device)
    tables = [table.to(options.device) for table in tables]
    uniform = torch.rand(options.hypotheses, 2, generator=rng, dtype=torch.float64)
    ways = {
        "ancestral": partial(draw, tables=tables, uniform=uniform.to(options.device)),
        "beam": partial(best, tables=tables),
    }
    return {
        "codes": codes,
        **{
            way: time_in_turn(
                {name: partial(choose, at) for name, at in made.items()},
                options.rounds,
                device=options.device,
            )
            for way, choose in ways.items()
        },
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codes", type=int, nargs="+", default=[512, 2048], help="[512 2048]")
    parser.add_argument("--dim", type=int, default=64, help="size of a vector [64]")
    parser.add_argument("--hypotheses", type=int, default=16, help="at a time [16]")
    options = parser.parse_args()
    facts = machine(options.device)
    settings = {"dim": options.dim, "hypotheses": options.hypotheses, "seed": options.seed}
    results = [measure(codes, options) for codes in options.codes]
    write(
        {"benchmark": "likelihoods", "machine": facts, "settings": settings, "results": results},
        options.json,
    )


if __name__ == "__main__":
    with torch.inference_mode():
        main()
