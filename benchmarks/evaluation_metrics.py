"""museval against the vectorised SDR: candidates of two sources, one window of 44,100 samples.

One chunk of the protocol ``lqvae2021``: every candidate of either source against its reference.
museval is called once per candidate and source, as the reference's evaluation does. Both ways give
the same numbers; the largest difference is written beside the times.

    python benchmarks/evaluation_metrics.py --candidates 64 --json evaluation_metrics.json
"""

from __future__ import annotations

import numpy as np
import torch
from _timing import arguments, machine, ratios, time_in_turn, write

from lqsep.core.evaluation.evaluate import SCORED_SAMPLES
from lqsep.core.evaluation.museval import museval_metrics
from lqsep.core.evaluation.sound import CHUNK_SAMPLES
from lqsep.core.signal.metrics import candidate_sdr


def main() -> None:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=8, help="per source [8]")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    truth = rng.standard_normal((2, CHUNK_SAMPLES)).astype(np.float32)
    noise = rng.standard_normal((2, options.candidates, CHUNK_SAMPLES)).astype(np.float32)
    found = truth[:, None] + noise

    def slow() -> np.ndarray:
        return np.array(
            [
                [
                    museval_metrics(
                        reference[None, None],
                        candidate[None, None],
                        window=SCORED_SAMPLES,
                        hop=SCORED_SAMPLES,
                    )["sdr"][0, 0]
                    for candidate in candidates
                ]
                for reference, candidates in zip(truth, found, strict=True)
            ]
        )

    def fast() -> np.ndarray:
        waves = torch.from_numpy(truth), torch.from_numpy(found)
        return candidate_sdr(*(wave[..., :SCORED_SAMPLES] for wave in waves)).numpy()

    timings = time_in_turn({"museval": slow, "vectorised": fast}, options.rounds)
    result = {
        "benchmark": "evaluation_metrics",
        "candidates": options.candidates,
        "sources": 2,
        "samples": CHUNK_SAMPLES,
        "scored_samples": SCORED_SAMPLES,
        "largest_difference_db": float(np.abs(slow() - fast()).max()),
        "times_faster": ratios(timings, "museval", "vectorised"),
        "seconds": timings,
        "machine": machine(),
    }
    write(result, options.json)


if __name__ == "__main__":
    main()
