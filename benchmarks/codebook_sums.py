"""Time the table of code sums: the whole table our way, and single pairs as the reference does.

::

    python benchmarks/codebook_sums.py --codes 2048 --json codebook_sums.json

The reference quantises the sum of one pair after another. That takes hours for a whole table, so
a sample of pairs is timed and extrapolated; ``seconds_per_pair`` compares like with like.
"""

from __future__ import annotations

import torch
from _timing import arguments, machine, random_codebook, ratios, time_in_turn, write

from lqsep.plugins.codebook_sum.table import build_sum_table


def one_at_a_time(codebook: torch.Tensor, pairs: torch.Tensor, gain: float) -> list[int]:
    """Nearest code of each pair's sum, by one matrix product per pair."""
    norms = codebook.square().sum(1)
    found = []
    for i, j in pairs.tolist():
        vector = gain * codebook[i][None] + (1 - gain) * codebook[j][None]
        distance = vector.square().sum(1, keepdim=True) - 2 * vector @ codebook.T + norms
        found.append(int(distance.min(1).indices))
    return found


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--codes", type=int, default=2048, help="size of the codebook [2048]")
    parser.add_argument("--dim", type=int, default=64, help="size of a vector [64]")
    parser.add_argument("--pairs", type=int, default=2000, help="pairs timed one at a time [2000]")
    options = parser.parse_args()
    generator = torch.Generator().manual_seed(options.seed)
    codebook = random_codebook(options.codes, options.dim, generator).to(options.device)
    pairs = torch.randint(options.codes, (options.pairs, 2), generator=generator)
    facts = machine(options.device)
    timings = time_in_turn(
        {
            "table, equal gains": lambda: build_sum_table(codebook, (0.5, 0.5)),
            "table, unequal gains": lambda: build_sum_table(codebook, (0.7, 0.3)),
            "pairs one at a time": lambda: one_at_a_time(codebook, pairs, 0.7),
        },
        options.rounds,
        device=options.device,
    )
    n_pairs = options.codes**2
    counts = {name: n_pairs if name.startswith("table") else options.pairs for name in timings}
    per_pair = {
        name: {key: timing[key] / counts[name] for key in ("median", "min")}
        for name, timing in timings.items()
    }
    table = build_sum_table(codebook, (0.7, 0.3)).cpu()
    reference = torch.tensor(one_at_a_time(codebook, pairs, 0.7))
    chosen = codebook.double().cpu()
    sums = 0.7 * chosen[pairs[:, 0]] + 0.3 * chosen[pairs[:, 1]]
    ours = (sums - chosen[table[pairs[:, 0], pairs[:, 1]].long()]).norm(dim=1)
    theirs = (sums - chosen[reference]).norm(dim=1)
    write(
        {
            "benchmark": "codebook_sums",
            "machine": facts,
            "settings": {
                "codes": options.codes,
                "dim": options.dim,
                "pairs": options.pairs,
                "seed": options.seed,
            },
            "timings": timings,
            "seconds_per_pair": per_pair,
            "ratio_per_pair": {
                name: ratios(per_pair, "pairs one at a time", name)
                for name in per_pair
                if name.startswith("table")
            },
            "one_at_a_time_whole_table_s_extrapolated": per_pair["pairs one at a time"]["median"]
            * n_pairs,
            "checks": {"largest_excess_distance": float((ours - theirs).max())},
        },
        options.json,
    )


if __name__ == "__main__":
    main()
