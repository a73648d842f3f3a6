"""Trains a transformer prior on one source's codes.

A step takes random windows of the context, see `lqsep.plugins.transformer.train_codes`. The weights
of the best validation are kept.

Reference: Mancusi et al. 2021, arXiv:2110.05313, section 3; Dhariwal et al. 2020,
arXiv:2005.00341, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from jaxtyping import Int64
from torch import Tensor
from torch.nn import functional as F

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.component_config import prior_file
from lqsep.core.components.trainers import weights_metadata
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.store.weights import save_weights
from lqsep.core.training import processes
from lqsep.core.training.loop import Task, autocast, fit
from lqsep.core.training.seeds import spawn_generator, spawn_seed
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model, codec_codebook
from lqsep.plugins.transformer.model import TransformerModel
from lqsep.plugins.transformer.stepper import Stepper
from lqsep.plugins.transformer.train_codes import Windows, make_windows
from lqsep.plugins.transformer.train_config import TransformerTrainConfig

# Length of a sequence drawn to listen to, where the context is that long, seconds.
_SAMPLE_S = 3.0


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
    index, name = context.sources.index(source), f"prior.{source}"
    windows, held_out = make_windows(context, codec, source, config.max_frames, train_config)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spawn_seed(context.seed, name, "weights"))
        model = build_model(config, codec_codebook(codec, index, context.device))
    model.recompute = train_config.recompute
    hop = codec.info.hop_length
    task = PriorTask(
        model.to(context.device),
        windows,
        held_out,
        train_config,
        seed=spawn_seed(context.seed, name),
        device=context.device,
        decode=lambda codes: codec.decode(codes, codes.shape[1] * hop, index)[0].mean(0),
        frame_rate=codec.info.frame_rate,
        sample_rate=codec.info.sample_rate,
    )
    result = fit(
        task,
        train_config,
        name=name,
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
    figures, steps = result.validation, str(result.step)
    metadata = weights_metadata("transformer", context, figures, steps=steps)
    path = context.new_file(config.checkpoint or prior_file(source))
    save_weights(path, model.state_dict(), metadata)


class PriorTask(Task):
    """Next-code prediction on random windows.

    Args:
        model: Trained in place.
        windows: Of the training data.
        held_out: Of the validation data, or None.
        train_config: Batch and precision.
        seed: Of the fixed validation windows.
        device: Of the model.
        decode: From codes (``1 frames``) to a wave (``samples``) to listen to; None for no sounds.
        frame_rate: Of the codes, Hz.
        sample_rate: Of the decoded wave, Hz.
    """

    model: TransformerModel
    best_by = "bits"

    def __init__(
        self,
        model: TransformerModel,
        windows: Windows,
        held_out: Windows | None,
        train_config: TransformerTrainConfig,
        *,
        seed: int,
        device: torch.device,
        decode: Callable[[Tensor], Tensor] | None = None,
        frame_rate: float = 1.0,
        sample_rate: int = 1,
    ) -> None:
        self.decode, self.sample_rate = decode, sample_rate
        self.sample_frames = max(1, min(model.max_frames, int(_SAMPLE_S * frame_rate)))
        self.model, self.device, self.precision = model, device, train_config.precision
        self.batch_size = train_config.batch_size
        self.share = processes.share(self.batch_size)
        self.per_step = {"tokens": self.batch_size * model.max_frames}
        self.windows = windows
        self.held_out: Tensor | None = None
        if held_out is not None:
            generator = spawn_generator(seed, "validation windows")
            self.held_out = held_out.draw(train_config.validation_windows, generator)
            self.unigram_bits = _unigram_bits(windows.histogram(len(model.codebook)), self.held_out)

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        loss = self._nats(self.windows.draw(self.batch_size, generator, self.share))
        return loss, {"bits": loss.detach() / math.log(2)}

    def validate(self) -> Mapping[str, float]:
        if self.held_out is None:
            return {}
        parts = torch.split(self.held_out, self.batch_size)
        nats = sum(float(self._nats(part)) * len(part) for part in parts) / len(self.held_out)
        return {"bits": nats / math.log(2), "unigram_bits": self.unigram_bits}

    def sounds(self) -> tuple[Mapping[str, Tensor], int]:
        """A sequence drawn from the prior, always with the same random numbers, decoded."""
        if self.decode is None:
            return {}, self.sample_rate
        generator = torch.Generator(self.device).manual_seed(0)
        codes = draw_codes(self.model, self.sample_frames, generator)
        return {"sample": self.decode(codes)}, self.sample_rate

    def _nats(self, codes: Tensor) -> Tensor:
        """Mean cross-entropy per code."""
        codes = codes.to(self.device)
        with autocast(self.device, self.precision):
            logits = self.model(codes)
        return F.cross_entropy(logits.float().flatten(0, 1), codes.flatten())


@torch.no_grad()
def draw_codes(
    model: TransformerModel, frames: int, generator: torch.Generator
) -> Int64[Tensor, "1 frames"]:
    """One sequence of the model's own; the generator is on its device."""
    cache, stepper = model.new_cache(1), Stepper(model)
    logits = model.prime(torch.zeros(1, 0, dtype=torch.int64, device=generator.device), cache)
    codes = [torch.multinomial(logits.softmax(-1), 1, generator=generator)]
    while len(codes) < frames:
        logits = stepper.step(codes[-1][:, 0], cache)
        codes.append(torch.multinomial(logits.softmax(-1), 1, generator=generator))
    return torch.cat(codes, 1)


def _unigram_bits(histogram: Tensor, held_out: Tensor) -> float:
    """Bits per held-out code under the training frequencies (one pseudo-count each)."""
    counts = histogram + 1
    return float(-(counts / counts.sum()).log2()[held_out].mean())
