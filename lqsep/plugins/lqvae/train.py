"""Trains an LQ-VAE on random clips of all sources.

A batch pairs clips of one source with clips of another (or any with any), from any tracks and
positions: the codec never sees which stems belong together. The weights of the best validation are
kept: those whose codes decode with the smallest loss.

Reference: Mancusi et al. 2021, arXiv:2110.05313, section 3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.trainers import weights_metadata
from lqsep.core.corpus.audio_pool import AudioPool
from lqsep.core.errors import AudioError
from lqsep.core.store.weights import save_weights
from lqsep.core.training import processes
from lqsep.core.training.loop import Task, autocast, fit
from lqsep.core.training.seeds import spawn_generator, spawn_seed
from lqsep.plugins.lqvae.codec import inference_tensors
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_model
from lqsep.plugins.lqvae.losses import (
    Bandwidth,
    LossWeights,
    PairGains,
    decoding_loss,
    lqvae_loss,
    measure_bandwidth,
)
from lqsep.plugins.lqvae.model import LQVAE
from lqsep.plugins.lqvae.precision import check_convolutions
from lqsep.plugins.lqvae.train_config import LQVAETrainConfig

# Clips measured for the scale of the losses.
_BANDWIDTH_CLIPS = 64


def train_codec(config: LQVAEConfig, train_config: LQVAETrainConfig, context: TrainContext) -> None:
    """Train and write ``config.checkpoint`` below ``context.output_dir``.

    Raises:
        AudioError: The data set has no audio, none as long as a clip, or too much that cannot be
            read.
        ConfigError: The precision is one in which this processor convolves wrongly.
        LqsepError: The training diverged.
    """
    check_convolutions(config, context.device, train_config.precision)
    gains = context.gains
    pool_of = partial(
        AudioPool.for_training,
        context,
        train_config,
        sample_rate=config.sample_rate,
        level=config.level,
    )
    pool = pool_of(context.dataset, blend=train_config.channel_blend, held_together=True)
    held_out = None
    if context.validation is not None and processes.is_main():  # which alone validates
        # As separation hears it: the mean of the channels.
        held_out = pool_of(context.validation)
    # Weights are drawn under the run's seed, apart from what the loop draws later.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spawn_seed(context.seed, "codec", "weights"))
        model = build_model(
            config,
            decay=train_config.decay,
            revival_threshold=train_config.revival_threshold,
            initial_count=train_config.initial_count,
        )
    task = CodecTask(
        model.to(context.device),
        pool,
        held_out,
        train_config,
        gains=gains,
        sample_rate=config.sample_rate,
        seed=context.seed,
        device=context.device,
    )
    result = fit(
        task,
        train_config,
        name="codec",
        output_dir=context.output_dir,
        device=context.device,
        seed=context.seed,
        resume=context.resume,
        report=context.report,
        identity={
            **{key: str(value) for key, value in config if key != "checkpoint"},
            "sources": str(context.sources),
            "gains": str(gains),
        },
    )
    if not processes.is_main():
        return
    figures, steps = result.validation, str(result.step)
    metadata = weights_metadata("lq-vae", context, figures, steps=steps)
    save_weights(context.new_file(config.checkpoint), inference_tensors(model), metadata)


class CodecTask(Task):
    """One LQ-VAE and where its clips come from.

    Args:
        model: Trained in place.
        pool: Training audio.
        held_out: Validation audio, or None; only the first process needs it.
        train_config: Batch, augmentation and loss settings.
        gains: Linear factor of every source in a mixture.
        sample_rate: Of the clips, Hz.
        seed: Of the fixed clips (scale of the losses, validation).
        device: Of the model.
    """

    model: LQVAE
    best_by = "reconstruction"

    def __init__(
        self,
        model: LQVAE,
        pool: AudioPool,
        held_out: AudioPool | None,
        train_config: LQVAETrainConfig,
        *,
        gains: tuple[float, ...],
        sample_rate: int,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model, self.pool, self.gains, self.device = model, pool, gains, device
        self.gain_db, self.pair_gain_db = train_config.gain_db, train_config.pair_gain_db
        self.any_pairs = train_config.pairs == "any"
        self.batch_size = train_config.batch_size
        self.share = processes.share(self.batch_size, group=2)
        hop = model.hop_lengths[-1]
        self.clip_samples = -(-train_config.clip_samples // hop) * hop
        longest = max(len(wave) for waves in pool.waves for wave in waves)
        if longest < self.clip_samples:
            raise AudioError(
                f"training codec 'lq-vae': the longest track has {longest} samples, expected at "
                f"least one clip of {self.clip_samples}; use longer tracks or a smaller "
                "train.codec.clip_samples"
            )
        self.sample_rate = sample_rate
        self.per_step = {"audio_s": self.batch_size * self.clip_samples / sample_rate}
        self.weights = LossWeights(
            **{name: getattr(train_config, name) for name in LossWeights.__dataclass_fields__}
        )
        generator = spawn_generator(seed, "codec", "fixed clips")
        self.bandwidth = self._measure(generator)
        self.held_out: Tensor | None = None
        if held_out is not None:
            sources = range(len(held_out.sources))
            self.held_out = torch.stack(
                [
                    self._clips(held_out, s, train_config.validation_clips, generator)
                    for s in sources
                ]
            )
        for module in (*model.encoders, *model.decoders):
            # Only the convolutions: codebook distances need float32.
            module.forward = _in_context(module.forward, device, train_config.precision)

    def loss(self, generator: torch.Generator) -> tuple[Tensor, Mapping[str, Tensor | float]]:
        batch, gains = self._any_batch(generator) if self.any_pairs else self._batch(generator)
        if self.gain_db:
            decibel = (2 * torch.rand(len(batch), 1, 1, generator=generator) - 1) * self.gain_db
            batch = batch * 10 ** (decibel / 20)
        batch = batch[self.share]
        if self.pair_gain_db:
            gains = self._varied(gains, generator)
        terms = lqvae_loss(
            self.model, batch.to(self.device), self.bandwidth, self.weights, gains=gains
        )
        top = terms.metrics[-1]
        figures: dict[str, Tensor | float] = {
            "l2": terms.reconstruction[-1].l2.detach(),
            "commitment": terms.commitment.detach(),
            "commitment_pairs": terms.commitment_pairs.detach(),
            "latent": torch.stack(terms.latent).sum().detach(),
            "latent_norm": top.latent_norm,
        }
        if terms.multispectral is not None:
            figures["multispectral"] = terms.multispectral[-1].detach()
        if top.entropy is not None and top.kept is not None:
            figures["perplexity"] = top.entropy.exp()
            figures["codes_alive"] = top.kept / self.model.codebook_size
        return terms.total, figures

    def validate(self) -> Mapping[str, float]:
        if self.held_out is None:
            return {}
        stems = self.held_out.to(self.device)
        used = torch.zeros(self.model.codebook_size, dtype=torch.bool, device=self.device)
        figures, losses, codes = {}, [], []
        first, second, gains = self._pair(None)
        mixed = gains[0] * stems[first] + gains[1] * stems[second]
        top = self.model.levels - 1
        for name, wave in zip((*self.pool.sources, "mixture"), (*stems, mixed), strict=True):
            codes.append(self.model.encode(wave, top))
            figures[f"sdr_{name}"], loss = self._round_trip(wave, codes[-1])
            losses.append(loss)
        mixed_codes = codes.pop()
        figures["reconstruction"] = sum(losses) / len(losses)
        used[torch.cat(codes).flatten()] = True
        # Does the code of the sum of latents say the same as the code of the summed waves?
        a, b = (self.model.lookup(codes[s], top) for s in (first, second))
        summed = gains[0] * a + gains[1] * b
        quantizer = self.model.quantizer(top)
        figures["sum_agreement"] = float((quantizer.encode(summed) == mixed_codes).float().mean())
        latents = self.model.encode_latents(mixed, top)
        figures["sum_distance"] = float((summed - latents).square().mean().sqrt())
        figures["latent_spread"] = float(latents.std())
        figures["code_spread"] = float(quantizer.codebook.std(0).square().mean().sqrt())
        figures["codes_used"] = float(used.float().mean())
        return figures

    def sounds(self) -> tuple[Mapping[str, Tensor], int]:
        """The first validation clip of every source, and what decoding makes of its codes."""
        found: dict[str, Tensor] = {}
        top = self.model.levels - 1
        for source, name in enumerate(self.pool.sources if self.held_out is not None else ()):
            assert self.held_out is not None
            clip = self.held_out[source, :1].to(self.device)
            found[f"{name}/original"] = clip[0, 0]
            found[f"{name}/decoded"] = self.model.decode(self.model.encode(clip, top), top)[0, 0]
        return found, self.sample_rate

    def _batch(self, generator: torch.Generator) -> tuple[Tensor, PairGains]:
        """The joint batch, clips of one source before those of another, and their gains."""
        first, second, gains = self._pair(generator)
        half = self.batch_size // 2
        halves = [self._clips(self.pool, s, half, generator) for s in (first, second)]
        return torch.cat(halves), gains

    def _any_batch(self, generator: torch.Generator) -> tuple[Tensor, PairGains]:
        """The joint batch of clips of any sources, and the gains of this process's pairs."""
        sources = torch.randint(len(self.gains), (self.batch_size,), generator=generator)
        clips = [self._clips(self.pool, int(source), 1, generator) for source in sources]
        gains = torch.tensor(self.gains)[sources[self.share]].to(self.device)[:, None, None]
        return torch.cat(clips), (gains[: len(gains) // 2], gains[len(gains) // 2 :])

    def _varied(self, gains: PairGains, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The gains of this process's pairs, changed at random."""
        decibel = 2 * torch.rand(self.batch_size, 1, 1, generator=generator) - 1
        factors = 10 ** (decibel[self.share] * self.pair_gain_db / 20).to(self.device)
        first, second = factors.chunk(2)
        return gains[0] * first, gains[1] * second

    def _pair(self, generator: torch.Generator | None) -> tuple[int, int, tuple[float, float]]:
        """Two sources of a batch and their gains; the first two when nothing is drawn."""
        count = len(self.gains)
        if count == 1:
            return 0, 0, (0.5, 0.5)
        first, second = 0, 1
        if count > 2 and generator is not None:
            chosen = torch.randperm(count, generator=generator)[:2].sort().values
            first, second = int(chosen[0]), int(chosen[1])
        return first, second, (self.gains[first], self.gains[second])

    def _clips(
        self, pool: AudioPool, source: int, count: int, generator: torch.Generator
    ) -> Tensor:
        clips = [pool.clip(source, self.clip_samples, generator) for _ in range(count)]
        return torch.stack(clips)[:, None]

    def _measure(self, generator: torch.Generator) -> Bandwidth:
        count = -(-_BANDWIDTH_CLIPS // len(self.gains))
        sources = range(len(self.gains))
        return measure_bandwidth(
            torch.cat([self._clips(self.pool, s, count, generator) for s in sources])
        )

    def _round_trip(self, wave: Tensor, codes: Tensor) -> tuple[float, float]:
        """SDR of the decoded codes in dB, pooled over the clips, and their loss."""
        decoded = self.model.decode(codes, self.model.levels - 1)
        ratio = wave.square().sum() / (wave - decoded).square().sum().clamp(min=1e-12)
        loss = decoding_loss(wave[:, 0], decoded[:, 0], self.bandwidth, self.weights)
        return float(10 * ratio.clamp(min=1e-12).log10()), float(loss)


def _in_context(
    forward: Callable[[Tensor], Tensor], device: torch.device, precision: str
) -> Callable[[Tensor], Tensor]:
    """``forward`` run in the precision of the networks, with a float32 result."""

    def wrapped(features: Tensor) -> Tensor:
        with autocast(device, precision):
            return forward(features).float()

    return wrapped
