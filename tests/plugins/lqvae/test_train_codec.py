"""The LQ-VAE's trainer."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lqsep.core.components.assemble import TrainContext
from lqsep.core.corpus.audio_pool import AudioPool, stem_level
from lqsep.core.errors import AudioError, CheckpointError, ConfigError, LqsepError
from lqsep.core.interfaces.dataset import Track
from lqsep.core.store.weights import load_weights
from lqsep.core.training.events import (
    Report,
    TrainEvent,
    TrainNote,
    TrainStep,
    TrainValidation,
    say_nothing,
)
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.lqvae import precision
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_codec, build_model
from lqsep.plugins.lqvae.losses import lqvae_loss
from lqsep.plugins.lqvae.precision import bfloat16_convolves
from lqsep.plugins.lqvae.train import CodecTask, train_codec
from lqsep.plugins.lqvae.train_config import LQVAETrainConfig
from lqsep.testing.contexts import build_context, train_context

RATE = 4000
CONFIG = LQVAEConfig(
    sample_rate=RATE,
    downs_t=(2,),
    strides_t=(4,),
    multipliers=(1,),
    width=8,
    depth=1,
    embedding_dim=4,
    codebook_size=16,
    level=0.1,
)
TRAIN = LQVAETrainConfig(
    steps=12,
    learning_rate=3e-3,
    warmup_steps=2,
    batch_size=4,
    clip_samples=1100,
    gain_db=3,
    log_every=1,
    validate_every=6,
    checkpoint_every=6,
    validation_clips=2,
)
# A learning rate that rises until nothing is learnt any more, and all is lost.
SPOILT = TRAIN.model_copy(
    update={
        "steps": 24,
        "learning_rate": 0.3,
        "warmup_steps": 24,
        "validate_every": 3,
        "max_loss_ratio": None,
    }
)


def dataset(seed: int = 0, sources: tuple[str, ...] = ("drums", "bass")) -> SyntheticDataset:
    return SyntheticDataset(
        sources=sources, n_tracks=2, duration_s=1.0, sample_rate=RATE, channels=1, seed=seed
    )


def context(
    folder: Path,
    *,
    resume: bool = False,
    report: Report = say_nothing,
    sources: tuple[str, ...] = ("drums", "bass"),
) -> TrainContext:
    return train_context(
        dataset(0, sources),
        folder,
        validation=dataset(9, sources),
        sources=sources,
        gains=(0.5,) * len(sources),
        seed=4,
        resume=resume,
        report=report,
    )


def task(
    train: LQVAETrainConfig = TRAIN,
    pools: Sequence[AudioPool] = (),
    config: LQVAEConfig = CONFIG,
    **changes: Any,
) -> CodecTask:
    """A codec and its training and validation audio, by default the same."""
    pool, *others = pools or [AudioPool(dataset(), ["drums", "bass"], RATE, level=0.1)]
    arguments = {
        "gains": (0.5, 0.5),
        "sample_rate": RATE,
        "seed": 0,
        "device": torch.device("cpu"),
        **changes,
    }
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config)
    return CodecTask(model, pool, (*others, pool)[0], train, **arguments)


def test_writes_a_codec_that_loads(tmp_path: Path) -> None:
    reports: list[TrainEvent] = []
    train_codec(CONFIG, TRAIN, context(tmp_path, report=reports.append))
    weights = load_weights(tmp_path / "codec.safetensors")
    assert weights.metadata["component"] == "lq-vae" and weights.metadata["steps"] == "12"
    assert "validation/sum_agreement" in weights.metadata
    assert not any("code_sum" in name for name in weights.tensors)
    codec = build_codec(CONFIG, build_context(tmp_path))
    assert codec.info.level == 0.1 and codec.info.hop_length == 16
    steps = [report for report in reports if isinstance(report, TrainStep)]
    expected = {"l2", "commitment", "latent", "latent_norm", "multispectral", "perplexity"}
    assert expected <= steps[0].figures.keys()
    # Four clips of 1104 samples per step.
    last = steps[-1]
    assert last.per_second["audio_s"] == pytest.approx(last.progress.steps_per_s * 4 * 1104 / RATE)
    assert 1 <= last.figures["perplexity"] <= 16 and 0 < last.figures["codes_alive"] <= 1


@pytest.mark.parametrize("settings", [TRAIN, SPOILT], ids=["better", "worse"])
def test_resuming_gives_the_same_weights(tmp_path: Path, settings: LQVAETrainConfig) -> None:
    class Crash(Exception):
        pass

    def crash(event: TrainEvent) -> None:
        if isinstance(event, TrainStep) and event.progress.step == 9:
            raise Crash

    train_codec(CONFIG, settings, context(tmp_path / "whole"))
    with pytest.raises(Crash):
        train_codec(CONFIG, settings, context(tmp_path / "parts", report=crash))
    assert not (tmp_path / "parts" / "codec.safetensors").exists()
    train_codec(CONFIG, settings, context(tmp_path / "parts", resume=True))
    whole, parts = (load_weights(tmp_path / n / "codec.safetensors") for n in ("whole", "parts"))
    # Exact on a CPU: weights, codebook averages and all that is drawn come from the checkpoint.
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)
    logs = [
        [json.loads(line) for line in (tmp_path / n / "logs/codec.jsonl").read_text().splitlines()]
        for n in ("whole", "parts")
    ]
    assert logs[0] == logs[1]


def reconstructions(reports: list[TrainEvent]) -> dict[int, float]:
    """The validation loss by step."""
    told = [report for report in reports if isinstance(report, TrainValidation)]
    return {report.step or 0: report.figures["reconstruction"] for report in told}


@pytest.mark.parametrize("ema_decay", [None, 0.5])
def test_the_best_codec_is_kept(tmp_path: Path, ema_decay: float | None) -> None:
    settings = SPOILT.model_copy(update={"ema_decay": ema_decay})
    reports: list[TrainEvent] = []
    train_codec(CONFIG, settings, context(tmp_path, report=reports.append))
    found = reconstructions(reports)
    best = min(found, key=lambda step: found[step])
    assert found[24] > 100 * found[best]
    assert (tmp_path / "checkpoints" / "codec" / f"best-{best:08d}.pt").exists()
    weights = load_weights(tmp_path / "codec.safetensors")
    assert float(weights.metadata["validation/reconstruction"]) == pytest.approx(
        found[best], abs=1e-4
    )
    # What was written says the same of the same clips: weights, averages and codebook are those.
    level = stem_level(CONFIG.level, (0.5, 0.5))
    pools = [AudioPool(dataset(s), ["drums", "bass"], RATE, level=level) for s in (0, 9)]
    again = task(settings, pools=pools, seed=4)
    again.model.load_state_dict(weights.tensors, strict=False)
    again.model.eval()
    with torch.no_grad():
        figures = again.validate()
    assert figures["reconstruction"] == pytest.approx(found[best], rel=1e-5)


def test_stops_when_validation_gets_no_better(tmp_path: Path) -> None:
    settings = SPOILT.model_copy(update={"patience": 2, "steps": 60})
    reports: list[TrainEvent] = []
    train_codec(CONFIG, settings, context(tmp_path, report=reports.append))
    found = reconstructions(reports)
    best = min(found, key=lambda step: found[step])
    assert max(found) == best + 6 < 60
    notes = [report.text for report in reports if isinstance(report, TrainNote)]
    assert any("no better for 2 validations" in note for note in notes)


def test_reconstruction_is_the_loss_of_training() -> None:
    made = task(TRAIN.model_copy(update={"l1": 0.5, "spectral": 2.0}))
    made.model.eval()
    assert made.held_out is not None
    clips = torch.cat([*made.held_out, 0.5 * made.held_out.sum(0)])
    with torch.no_grad():
        found = made.validate()["reconstruction"]
        weights = replace(made.weights, commitment=0.0, latent=0.0)
        terms = lqvae_loss(made.model, clips, made.bandwidth, weights)
    # Means of three equal parts and of the whole, in float32.
    assert found == pytest.approx(float(terms.total), rel=1e-5)


def test_learns(tmp_path: Path) -> None:
    settings = TRAIN.model_copy(update={"steps": 60, "validate_every": 30, "precision": "float32"})
    reports: list[TrainEvent] = []
    train_codec(CONFIG, settings, context(tmp_path, report=reports.append))
    losses = [report.loss or 0.0 for report in reports if isinstance(report, TrainStep)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    figures = [report for report in reports if isinstance(report, TrainValidation)][-1].figures
    assert figures["sdr_mixture"] > 0.5
    assert figures["codes_used"] > 0.3


def test_a_diverging_run_stops(tmp_path: Path) -> None:
    settings = TRAIN.model_copy(update={"learning_rate": 1e18, "warmup_steps": 0})
    with pytest.raises(LqsepError, match="training 'codec' stopped at step"):
        train_codec(CONFIG, settings, context(tmp_path))
    assert not (tmp_path / "codec.safetensors").exists()


class Quieter(SyntheticDataset):
    """The same tracks at a quarter of their amplitude, which rounds nothing."""

    def __getitem__(self, index: int) -> Track:
        track = super().__getitem__(index)
        stems = {name: stem / 4 for name, stem in track.stems.items()}
        return replace(track, mixture=None, stems=stems)


@pytest.mark.parametrize("level", [0.1, None])
def test_the_codecs_level_makes_loudness_irrelevant(tmp_path: Path, level: float | None) -> None:
    config = CONFIG.model_copy(update={"level": level})
    settings = TRAIN.model_copy(update={"steps": 2})
    quiet = Quieter(n_tracks=2, duration_s=1.0, sample_rate=RATE, seed=0)
    train_codec(config, settings, context(tmp_path / "loud"))
    train_codec(config, settings, replace(context(tmp_path / "quiet"), dataset=quiet))
    books = [
        load_weights(tmp_path / name / "codec.safetensors").tensors["quantizers.0.codebook"]
        for name in ("loud", "quiet")
    ]
    # The level is a float32 quotient: rounding moves an entry in its last digits.
    assert torch.allclose(*books, rtol=1e-3, atol=1e-4) == (level is not None)


def test_clips_are_whole_frames_and_pairs_hold_both_sources() -> None:
    made = task(TRAIN.model_copy(update={"gain_db": 0.0}))
    assert made.clip_samples == 1104
    drums = torch.cat(made.pool.waves[0])
    generator = torch.Generator().manual_seed(0)
    seen: list[torch.Tensor] = []
    made.model.encoders[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    made.loss(generator)
    (batch,) = seen
    assert batch.shape == (6, 1, 1104)
    windows = drums.unfold(0, 32, 1)

    def is_drums(clip: torch.Tensor) -> bool:
        return bool((windows == clip[0, :32]).all(1).any())

    assert [is_drums(clip) for clip in batch[:4]] == [True, True, False, False]
    assert torch.equal(batch[4:], 0.5 * batch[:2] + 0.5 * batch[2:4])


def seen_batch(train: LQVAETrainConfig, gains: tuple[float, float]) -> torch.Tensor:
    made = task(train, gains=gains)
    seen: list[torch.Tensor] = []
    made.model.encoders[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    made.loss(torch.Generator().manual_seed(2))
    return seen[0]


def pair_gains(batch: torch.Tensor) -> torch.Tensor:
    """The gains with which the last third is made of the first two, ``pairs 2``."""
    first, second, mixed = batch[:, 0].chunk(3)
    both = torch.stack([first, second], 2)
    solved = torch.linalg.lstsq(both, mixed[:, :, None])
    assert torch.allclose(both @ solved.solution, mixed[:, :, None], atol=1e-5)
    return solved.solution[:, :, 0]


def test_pairs_of_random_gains() -> None:
    train = TRAIN.model_copy(update={"pair_gain_db": 6.0, "batch_size": 64})
    decibel = 20 * (pair_gains(seen_batch(train, (0.5, 0.8))) / torch.tensor([0.5, 0.8])).log10()
    # The largest and the smallest of 32 are within 20 % of the ends.
    assert bool((decibel.min(0).values < -4.8).all() and (decibel.max(0).values > 4.8).all())
    assert float(decibel.abs().max()) < 6.001
    assert float(torch.corrcoef(decibel.T)[0, 1].abs()) < 0.6  # each drawn by itself


def test_pairs_of_any_sources() -> None:
    train = TRAIN.model_copy(update={"pairs": "any", "batch_size": 64, "gain_db": 0.0})
    batch = seen_batch(train, (0.25, 0.75))
    found = {tuple(row) for row in (100 * pair_gains(batch)).round().int().tolist()}
    assert found == {(25, 25), (25, 75), (75, 25), (75, 75)}


def test_gain_augmentation_fills_its_range() -> None:
    def energies(gain_db: float) -> torch.Tensor:
        # Many small clips: the largest of 64 gains is within 20 % of the end of the range.
        changes = {"gain_db": gain_db, "batch_size": 64}
        made = task(TRAIN.model_copy(update=changes))
        seen: list[torch.Tensor] = []
        made.model.encoders[0].register_forward_pre_hook(lambda module, args: seen.append(args[0]))
        made.loss(torch.Generator().manual_seed(1))
        return seen[0][:64].square().sum((1, 2))

    decibel = 10 * (energies(6.0) / energies(0.0)).log10()
    assert -6.001 <= decibel.min() < -4.8 and 4.8 < decibel.max() <= 6.001


def test_agreement_is_that_of_the_sum_table() -> None:
    made = task()
    made.model.train()
    for seed in range(3):
        made.loss(torch.Generator().manual_seed(seed))
    made.model.eval()
    with torch.no_grad():
        figures = made.validate()
        assert made.held_out is not None
        drums, bass = made.held_out
        codes = [made.model.encode(stem, 0) for stem in (drums, bass)]
        mixed = made.model.encode(0.5 * drums + 0.5 * bass, 0)
        codebook = made.model.codebook(0)
        sums = 0.5 * codebook[:, None] + 0.5 * codebook[None]
        table = made.model.quantizer(0).nearest(sums.flatten(0, 1))[0].view(16, 16)
        expected = (table[codes[0], codes[1]] == mixed).float().mean()
    # Ties between two codes are broken by float32 rounding, alike for sums made alike.
    assert figures["sum_agreement"] == pytest.approx(float(expected), abs=0.02)
    assert 0 < figures["sum_agreement"] < 1


def test_sounds_are_clips_and_their_round_trip() -> None:
    made = task()
    made.model.train()
    made.loss(torch.Generator().manual_seed(0))
    made.model.eval()
    with torch.no_grad():
        sounds, rate = made.sounds()
    assert rate == RATE
    assert list(sounds) == [
        f"{s}/{kind}" for s in ("drums", "bass") for kind in ("original", "decoded")
    ]
    assert made.held_out is not None
    bass = made.held_out[1, :1]
    assert torch.equal(sounds["bass/original"], bass[0, 0])
    expected = made.model.decode(made.model.encode(bass, 0), 0)[0, 0]
    assert torch.equal(sounds["bass/decoded"], expected)


def test_one_source_is_paired_with_itself(tmp_path: Path) -> None:
    train_codec(CONFIG, TRAIN, context(tmp_path, sources=("drums",)))
    assert (tmp_path / "codec.safetensors").exists()


def test_batches_are_even() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        LQVAETrainConfig(batch_size=3)


def test_clips_longer_than_every_track_are_an_error() -> None:
    with pytest.raises(AudioError, match="longest track has 4000 samples, expected.*clip of 4016"):
        task(TRAIN.model_copy(update={"clip_samples": 4001}))


def test_a_checkpoint_of_another_rate_is_an_error(tmp_path: Path) -> None:
    train_codec(CONFIG, TRAIN.model_copy(update={"steps": 2}), context(tmp_path))
    config = CONFIG.model_copy(update={"sample_rate": 2000})
    with pytest.raises(CheckpointError, match="sample_rate: expected 2000, got 4000"):
        train_codec(config, TRAIN, context(tmp_path, resume=True))


def test_convolutions_that_go_wrong_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by convolving: on processors with AMX some are wrong in bfloat16."""
    coarse = TRAIN.model_copy(update={"precision": "bfloat16", "steps": 1})
    right = bfloat16_convolves(CONFIG.width, CONFIG.strides_t[0])
    monkeypatch.setattr(precision, "bfloat16_convolves", lambda channels, stride: False)
    with pytest.raises(ConfigError, match="wrong convolutions in bfloat16.*'float32'"):
        train_codec(CONFIG, coarse, context(tmp_path))
    monkeypatch.undo()
    if right:
        train_codec(CONFIG, coarse, context(tmp_path))
    else:
        with pytest.raises(ConfigError, match="wrong convolutions"):
            train_codec(CONFIG, coarse, context(tmp_path))


def test_reduced_precision_reaches_the_convolutions_only() -> None:
    # As wide as the smallest preset. With 8 channels and a stride of 4, torch's own bfloat16
    # convolution gives wrong numbers on processors with AMX.
    config = CONFIG.model_copy(update={"width": 16})
    made = task(TRAIN.model_copy(update={"precision": "bfloat16"}), config=config)
    exact = task(TRAIN.model_copy(update={"precision": "float32"}), config=config)
    wave = torch.randn(2, 1, 256, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        coarse, fine = (made_task.model.encode_latents(wave, 0) for made_task in (made, exact))
    assert coarse.dtype == torch.float32
    difference = float((coarse - fine).abs().max())
    # bfloat16 keeps 8 bits.
    assert 0 < difference < 0.05 * float(fine.abs().max())


def test_channels_of_training_clips_are_blended(tmp_path: Path) -> None:
    """Channels that differ give other weights than their mean; without blending they would not."""

    class Wide(SyntheticDataset):
        def __getitem__(self, index: int) -> Track:
            track = super().__getitem__(index)
            stems = {
                name: np.concatenate([1.5 * wave, 0.5 * wave]) for name, wave in track.stems.items()
            }
            return replace(track, stems=stems)

    wide = Wide(
        sources=("drums", "bass"), n_tracks=2, duration_s=1.0, sample_rate=RATE, channels=1, seed=0
    )
    weights = []
    for number, blend in enumerate((False, True)):
        folder = tmp_path / str(number)
        settings = TRAIN.model_copy(update={"channel_blend": blend, "gain_db": 0.0})
        train_codec(CONFIG, settings, replace(context(folder), dataset=wide))
        weights.append(load_weights(folder / "codec.safetensors").tensors)
    name = next(name for name in weights[0] if name.endswith("weight"))
    assert not torch.equal(weights[0][name], weights[1][name])
