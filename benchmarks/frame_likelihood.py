"""Time one joint draw per hypothesis: in two stages on the sum table, and densely.

::

    python benchmarks/frame_likelihood.py --codes 2048 --hypotheses 8 --out frame_likelihood.json

The dense way is the reference's: a table of all pairs' summed vectors (K x K x D), their distances
to the mixture's vector, a K x K posterior per hypothesis, one categorical draw from each. At 2048
codes of 64 dimensions its table takes 1 GiB, and 8 hypotheses another one.
"""

from __future__ import annotations

import torch
from _timing import arguments, machine, random_codebook, ratios, time_in_turn, write
from torch import Tensor

from lqsep.core.filters import Filters
from lqsep.core.frame_distribution import FrameDistribution
from lqsep.core.frame_likelihood import SumTableIndex, SumTableLikelihood
from lqsep.plugins.codebook_sum.table import build_sum_table


class Frame:
    """Random priors and a mixture that some pair of codes explains."""

    def __init__(
        self, codes: int, dim: int, hypotheses: int, sigma: float, device: str, seed: int
    ) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.sigma = sigma
        self.codebook = random_codebook(codes, dim, generator).to(device)
        table = build_sum_table(self.codebook, (0.5, 0.5))
        self.index = SumTableIndex(table, codes)
        self.sums: Tensor | None = None
        logits = 3.0 * torch.randn(2, hypotheses, codes, generator=generator)
        self.log_p0, self.log_p1 = logits.log_softmax(2).to(device)
        first, second = int(self.log_p0[0].argmax()), int(self.log_p1[0].argmax())
        self.mixture = self.codebook[int(table[first, second])]
        self.uniform = torch.rand(hypotheses, 2, generator=generator, dtype=torch.float64).to(
            device
        )

    def two_stage(self) -> tuple[Tensor, Tensor]:
        """Codes and log evidence, as the samplers draw them."""
        squares = (self.codebook.double() - self.mixture.double()).square().sum(1)
        likelihood = SumTableLikelihood(self.index, squares / (-2 * self.sigma**2))
        frame = FrameDistribution(likelihood, (self.log_p0, self.log_p1), Filters())
        return frame.draw(self.uniform), frame.log_evidence

    def dense(self) -> tuple[Tensor, Tensor]:
        """Codes and log evidence from every pair of every hypothesis."""
        if self.sums is None:
            self.sums = self.codebook[self.index.table.long()]
        log_likelihood = -(self.sums - self.mixture).norm(dim=2).square() / (2 * self.sigma**2)
        posterior = log_likelihood + self.log_p0[:, :, None] + self.log_p1[:, None]
        flat = posterior.flatten(1)
        log_evidence = flat.logsumexp(1)
        pick = torch.multinomial((flat - log_evidence[:, None]).exp(), 1)[:, 0]
        n_columns = posterior.shape[2]
        return torch.stack([pick // n_columns, pick % n_columns], 1), log_evidence


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codes", type=int, default=2048, help="size of the codebook [2048]")
    parser.add_argument("--dim", type=int, default=64, help="size of a vector [64]")
    parser.add_argument("--hypotheses", type=int, default=8, help="parallel hypotheses [8]")
    parser.add_argument("--sigma", type=float, default=0.4, help="of the likelihood [0.4]")
    options = parser.parse_args()
    frame = Frame(
        options.codes,
        options.dim,
        options.hypotheses,
        options.sigma,
        options.device,
        options.seed,
    )
    facts = machine(options.device)
    timings = time_in_turn(
        {"two-stage": frame.two_stage, "dense": frame.dense}, options.rounds, device=options.device
    )
    difference = frame.two_stage()[1] - frame.dense()[1].double()
    write(
        {
            "benchmark": "frame_likelihood",
            "machine": facts,
            "settings": {
                "codes": options.codes,
                "dim": options.dim,
                "hypotheses": options.hypotheses,
                "sigma": options.sigma,
                "seed": options.seed,
            },
            "timings": timings,
            "ratio": ratios(timings, "dense", "two-stage"),
            "checks": {"largest_difference_of_log_evidence": float(difference.abs().max())},
        },
        options.out,
    )


if __name__ == "__main__":
    main()
