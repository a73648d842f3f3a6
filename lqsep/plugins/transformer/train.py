"""Trains a transformer prior on one source's codes.

Every track is encoded once per version (shifted by less than a frame, at another gain); a step
takes random windows of the context. The weights of the best validation are kept.

Reference: Mancusi et al. 2021, arXiv:2110.05313, section 3; Dhariwal et al. 2020,
arXiv:2005.00341, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional as F

from lqsep.core import processes
from lqsep.core.assemble import TrainContext
from lqsep.core.audio_pool import Reading
from lqsep.core.checkpoints import save_weights
from lqsep.core.encode_dataset import encode_source
from lqsep.core.errors import AudioError, IncompatibleComponentsError
from lqsep.core.training import Task, autocast, fit
from lqsep.core.wave_variation import Variation
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model, checkpoint_name, codec_codebook
from lqsep.plugins.transformer.model import TransformerModel
from lqsep.plugins.transformer.train_config import TransformerTrainConfig


def train_prior(
    config: TransformerConfig, train_config: TransformerTrainConfig, context: TrainContext
) -> None:
    """Train the prior of ``context.source`` and write its weights below ``context.output_dir``.

    Raises:
        IncompatibleComponentsError: There is no codec or no source.
        AudioError: The source has no audio, no track as long as the context, or too much that
            cannot be read.
        LqsepError: The training diverged.
    """
    codec, source = context.codec, context.source
    if codec is None or source is None:
        raise IncompatibleComponentsError(
            "training a transformer prior: it needs a trained codec and the name of a source"
        )
    index = context.sources.index(source)
    generator = torch.Generator().manual_seed(context.seed)
    context.report({"event": "note", "text": f"encoding the tracks of '{source}'"})
    reading = Reading(
        min_duration=train_config.min_duration,
        max_unreadable=train_config.max_unreadable,
        report=context.report,
    )
    where: dict[str, Any] = {
        "index": index,
        "gains": context.gains,
        "device": context.device,
        "reading": reading,
    }
    codes = encode_source(
        context.dataset,
        source,
        codec,
        versions=train_config.versions,
        variation=Variation(gain_db=train_config.gain_db),
        generator=generator,
        **where,
    )
    held_out: list[Tensor] = []
    if context.validation is not None:
        held_out = encode_source(context.validation, source, codec, **where)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(context.seed)
        model = build_model(config, codec_codebook(codec, index, context.device))
    model.recompute = train_config.recompute
    task = PriorTask(
        model.to(context.device), codes, held_out, train_config, generator, context.device
    )
    result = fit(
        task,
        train_config,
        name=f"prior.{source}",
        output_dir=context.output_dir,
        device=context.device,
        seed=context.seed,
        resume=context.resume,
        report=context.report,
        identity={
            **{key: str(value) for key, value in config if key != "checkpoint"},
            "source": source,
            "codec": codec.fingerprint,
        },
    )
    if not processes.is_main():
        return
    metadata = {
        "component": "transformer",
        "source": source,
        "codec_fingerprint": codec.fingerprint,
        "steps": str(result.step),
        "seed": str(context.seed),
    }
    metadata |= {f"validation/{key}": f"{value:.4f}" for key, value in result.validation.items()}
    name = config.checkpoint or checkpoint_name(source)
    save_weights(context.output_dir / name, model.state_dict(), metadata)


class PriorTask(Task):
    """Next-code prediction on random windows.

    Args:
        model: Trained in place.
        codes: Training sequences.
        held_out: Validation sequences; empty for none.
        train_config: Batch and precision.
        generator: Draws the fixed validation windows.
        device: Of the model.
    """

    model: TransformerModel
    best_by = "bits"

    def __init__(
        self,
        model: TransformerModel,
        codes: Sequence[Tensor],
        held_out: Sequence[Tensor],
        train_config: TransformerTrainConfig,
        generator: torch.Generator,
        device: torch.device,
    ) -> None:
        self.model, self.device, self.precision = model, device, train_config.precision
        self.batch_size = train_config.batch_size
        self.share = processes.share(self.batch_size)
        self.per_step = {"tokens": self.batch_size * model.max_frames}
        self.windows = _Windows(codes, model.max_frames)
        self.held_out: Tensor | None = None
        if held_out:
            windows = _Windows(held_out, model.max_frames)
            self.held_out = windows.draw(train_config.validation_windows, generator)
            self.unigram_bits = _unigram_bits(codes, self.held_out, len(model.codebook))

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        loss = self._nats(self.windows.draw(self.batch_size, generator)[self.share])
        return loss, {"bits": loss.detach() / math.log(2)}

    def validate(self) -> Mapping[str, float]:
        if self.held_out is None:
            return {}
        parts = torch.split(self.held_out, self.batch_size)
        nats = sum(float(self._nats(part)) * len(part) for part in parts) / len(self.held_out)
        return {"bits": nats / math.log(2), "unigram_bits": self.unigram_bits}

    def _nats(self, codes: Tensor) -> Tensor:
        """Mean cross-entropy per code."""
        codes = codes.to(self.device)
        with autocast(self.device, self.precision):
            logits = self.model(codes)
        return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())


class _Windows:
    """Random windows of many sequences; every possible window is equally likely.

    Sequences shorter than a window are not used.
    """

    def __init__(self, sequences: Sequence[Tensor], frames: int) -> None:
        self.frames, longest = frames, max((len(s) for s in sequences), default=0)
        if longest < frames:
            # Its last positions would stay untrained.
            raise AudioError(
                f"training a transformer prior: the longest track has {longest} codes, expected "
                f"a context of {frames} at least; use longer tracks or a smaller max_frames"
            )
        self.sequences = [s for s in sequences if len(s) >= self.frames]
        self.ends = torch.tensor([len(s) - self.frames + 1 for s in self.sequences]).cumsum(0)

    def draw(self, count: int, generator: torch.Generator) -> Int64[Tensor, "count frames"]:
        places = torch.randint(int(self.ends[-1]), (count,), generator=generator)
        chosen = torch.searchsorted(self.ends, places, right=True)
        rows = []
        for place, sequence in zip(places.tolist(), chosen.tolist(), strict=True):
            start = place - (int(self.ends[sequence - 1]) if sequence else 0)
            rows.append(self.sequences[sequence][start : start + self.frames])
        return torch.stack(rows)


def _unigram_bits(codes: Sequence[Tensor], held_out: Tensor, codebook_size: int) -> float:
    """Bits per held-out code under the training frequencies (one pseudo-count each)."""
    counts = torch.ones(codebook_size, dtype=torch.float64)
    counts += torch.bincount(torch.cat(list(codes)), minlength=codebook_size)
    return float(-(counts / counts.sum()).log2()[held_out].mean())
