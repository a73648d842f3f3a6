"""How well a codec's latents add up: the code of a sum of latents against the code of the sum.

Random clips of two sources, which have nothing to do with each other, are mixed at the model's
gains. Compared are the weighted sum of the clips' code vectors, quantised again, and what the codec
makes of the mixture itself: the share of equal codes, the distance between the embeddings, and the
sound of both, decoded.

    python benchmarks/codec_linearity.py drums-bass-lqvae DATA_DIR --json linearity.json
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from pathlib import Path

import torch

from lqsep import Registry, load_model
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.spec import Kind
from lqsep.core.corpus.audio_pool import AudioPool, stem_level
from lqsep.core.signal.metrics import sdr
from lqsep.plugins.datasets.config import TrackFoldersConfig

FIGURES = {
    "equal_codes": "share of frames with the same code",
    "embedding_mse": "mean squared distance per dimension of the two embeddings",
    "latent_variance": "variance per dimension of the mixture's latents, for comparison",
    "sdr_summed_db": "SDR of the decoded sum against the mixture, dB",
    "sdr_round_trip_db": "SDR of the codec's round trip against the mixture, dB",
    "sdr_agreement_db": "SDR of the decoded sum against the round trip, dB",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("data", help="folder in the layout SPLIT/TRACK/SOURCE.wav")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", help="write the figures as JSON")
    arguments = parser.parse_args()

    registry = Registry.discover()
    model = load_model(arguments.model, "cpu", registry=registry)
    sources = tuple(model.priors)
    if len(sources) != 2:
        parser.error(f"{arguments.model} has {len(sources)} sources; two are compared")
    config = TrackFoldersConfig(root=arguments.data, split=arguments.split, sources=sources)
    context = BuildContext(
        device=torch.device("cpu"),
        dtype=torch.float32,
        sources=sources,
        gains=model.config.gains,
        base_dir=Path(),
    )
    if model.codec.analyse(torch.zeros(1, model.codec.info.channels, 1)).codes is None:
        parser.error(f"the codec of {arguments.model} gives no codes of a mixture to compare with")
    dataset = build(registry.find(Kind.DATASET, "track-folders"), config, context)
    codec, gains = model.codec, model.config.gains
    # Stems stand where separation finds them: scaled with the mixture to the codec's level.
    level = stem_level(codec.info.level, gains)
    pool = AudioPool(dataset, sources, codec.info.sample_rate, level=level)
    generator = torch.Generator().manual_seed(arguments.seed)
    hop = codec.info.hop_length
    n_samples = max(1, round(arguments.seconds * codec.info.sample_rate / hop)) * hop
    codebook = codec.embed(torch.arange(codec.codebook_size(0))[None])[0].double()
    values: dict[str, list[float]] = {name: [] for name in FIGURES}
    for _ in range(arguments.pairs):
        clips = [pool.clip(source, n_samples, generator)[None, None] for source in (0, 1)]
        for name, value in compare(codec, codebook, clips, gains).items():
            if math.isfinite(value):  # a clip of silence has no SDR
                values[name].append(value)

    figures = {
        name: {"mean": statistics.fmean(found), "median": statistics.median(found), "n": len(found)}
        for name, found in values.items()
        if found
    }
    for name, figure in figures.items():
        row = f"{figure['mean']:10.4f} mean {figure['median']:10.4f} median"
        print(f"{name:<18}{row}  n {figure['n']:<5}{FIGURES[name]}")
    if arguments.json:
        document = {
            "model": arguments.model,
            "split": arguments.split,
            "pairs": arguments.pairs,
            "seconds": n_samples / codec.info.sample_rate,
            "gains": list(gains),
            "seed": arguments.seed,
            "figures": figures,
        }
        path = Path(arguments.json)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def compare(codec, codebook, clips, gains) -> dict[str, float]:
    """The figures of one pair of clips ``[1, 1, samples]``."""
    mixture = gains[0] * clips[0] + gains[1] * clips[1]
    encoded = codec.analyse(mixture)
    # `analyse` scales the mixture; the clips follow it, so that sums are sums.
    first, second = (codec.embed(codec.encode(clip * encoded.scale))[0].double() for clip in clips)
    summed = gains[0] * first + gains[1] * second
    codes = torch.cdist(summed, codebook).argmin(1)
    target = mixture[0] * encoded.scale
    n_samples = mixture.shape[2]
    decoded_sum = codec.decode(codes[None], n_samples)[0]
    round_trip = codec.decode(encoded.codes[None], n_samples)[0]
    distance = codebook[codes] - codebook[encoded.codes]
    return {
        "equal_codes": float((codes == encoded.codes).double().mean()),
        "embedding_mse": float(distance.square().mean()),
        "latent_variance": float(encoded.latents.double().var(0).mean()),
        "sdr_summed_db": sdr(target, decoded_sum),
        "sdr_round_trip_db": sdr(target, round_trip),
        "sdr_agreement_db": sdr(round_trip, decoded_sum),
    }


if __name__ == "__main__":
    main()
