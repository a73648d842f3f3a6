"""Separation quality of a model on tracks with true stems, beside the baselines.

Every track's stems are brought to its gains and summed; the mixture is separated through the
ordinary pipeline. SDR is the plain energy ratio on 1 s windows: median over the windows of a track
(windows with a silent source left out), then mean over tracks with its 95 % interval.

    python benchmarks/separation_quality.py drums-bass DATA_DIR --split test --json quality.json
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import torch

from lqsep import Registry, Separator
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.spec import Kind
from lqsep.core.evaluation.baselines import HpssSetting, hpss, oracle_masks, share_mixture
from lqsep.core.signal.metrics import windowed_sdr
from lqsep.plugins.datasets.config import TrackFoldersConfig


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", help="folder in the layout SPLIT/TRACK/SOURCE.wav")
    parser.add_argument("--split", default="test")
    parser.add_argument("--tracks", type=int, help="the first N only")
    parser.add_argument("--seconds", type=float, help="the first seconds of each track only")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-p", "--set", action="append", default=[], metavar="section.key=value")
    parser.add_argument("--json", help="write the figures as JSON")
    arguments = parser.parse_args()

    registry = Registry.discover()
    separator = Separator.from_pretrained(
        arguments.model, device="auto", registry=registry, overrides=arguments.set
    )
    dataset = load(registry, separator, arguments.data, arguments.split)
    count = min(len(dataset), arguments.tracks or len(dataset))
    scores: dict[str, dict[str, list[float]]] = {}
    speeds = []
    for index in range(count):
        track = dataset[index]
        stop = round(arguments.seconds * track.sample_rate) if arguments.seconds else None
        stems = torch.stack(
            [
                gain * torch.from_numpy(track.stems[source][:, :stop])
                for source, gain in zip(separator.sources, separator.gains, strict=True)
            ]
        )
        mixture = stems.sum(0)
        start = time.perf_counter()
        result = separator.separate((mixture.numpy(), track.sample_rate), seed=arguments.seed)
        speeds.append((time.perf_counter() - start) * track.sample_rate / mixture.shape[1])
        estimates = {
            "model": torch.stack([torch.from_numpy(s) for s in result.stems.values()]),
            "mixture / 2": share_mixture(mixture, len(stems)),
            "oracle masks": oracle_masks(mixture, stems, track.sample_rate),
        }
        if set(separator.sources) == {"drums", "bass"}:
            harmonic, percussive = hpss(mixture, track.sample_rate, HpssSetting())
            parts = {"drums": percussive, "bass": harmonic}
            estimates["HPSS"] = torch.stack([parts[s] for s in separator.sources])
        for name, estimate in estimates.items():
            for n, source in enumerate(separator.sources):
                value = windowed_sdr(stems[n], estimate[n], track.sample_rate).median
                if not math.isnan(value):
                    scores.setdefault(name, {}).setdefault(source, []).append(value)
        print(f"{index + 1}/{count} {track.name}", end="  ", flush=True)
        print({s: round(scores["model"][s][-1], 2) for s in separator.sources}, flush=True)

    figures = {
        name: {source: interval(values) for source, values in by_source.items()}
        for name, by_source in scores.items()
    }
    print(f"{'SDR in dB':<14}" + "".join(f"{s:>18}" for s in separator.sources))
    for name, by_source in figures.items():
        cells = (f"{f['mean']:.2f} +- {f['interval']:.2f}" for f in by_source.values())
        print(f"{name:<14}" + "".join(f"{cell:>18}" for cell in cells))
    print(f"seconds per second of audio: median {statistics.median(speeds):.2f}")
    if arguments.json:
        document = {
            "model": arguments.model,
            "overrides": arguments.set,
            "split": arguments.split,
            "n_tracks": count,
            "seed": arguments.seed,
            "sdr_db": figures,
            "seconds_per_second": {
                "median": statistics.median(speeds),
                "min": min(speeds),
                "max": max(speeds),
            },
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(document, file, indent=2)


def load(registry, separator, root, split):
    config = TrackFoldersConfig(root=root, split=split, sources=separator.sources)
    context = BuildContext(
        device=torch.device("cpu"),
        dtype=torch.float32,
        sources=separator.sources,
        gains=separator.gains,
        base_dir=Path(),
    )
    return build(registry.find(Kind.DATASET, "track-folders"), config, context)


def interval(values: list[float]) -> dict[str, float]:
    """Mean and half of its 95 % interval, normal approximation."""
    spread = statistics.stdev(values) if len(values) > 1 else math.nan
    return {
        "mean": statistics.fmean(values),
        "interval": 1.96 * spread / math.sqrt(len(values)),
        "n": len(values),
    }


if __name__ == "__main__":
    main()
