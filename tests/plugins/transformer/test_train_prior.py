"""The transformer prior's trainer."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lqsep.core.components.assemble import TrainContext
from lqsep.core.corpus.audio_pool import AudioPool
from lqsep.core.errors import AudioError, CheckpointError, IncompatibleComponentsError
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
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_prior
from lqsep.plugins.transformer.model import TransformerModel
from lqsep.plugins.transformer.train import PriorTask, draw_codes, train_prior
from lqsep.plugins.transformer.train_codes import ClipWindows, StoredWindows
from lqsep.plugins.transformer.train_config import TransformerTrainConfig
from lqsep.testing.contexts import build_context, train_context
from lqsep.testing.toys import AddingCodec

CPU = torch.device("cpu")
CONFIG = TransformerConfig(width=16, depth=3, heads=2, max_frames=16, blocks=4, dropout=0.1)
TRAIN = TransformerTrainConfig(
    steps=12,
    learning_rate=1e-2,
    warmup_steps=2,
    batch_size=4,
    versions=2,
    gain_db=3,
    log_every=1,
    validate_every=4,
    checkpoint_every=4,
    validation_windows=6,
)


def context(
    folder: Path,
    *,
    resume: bool = False,
    report: Report = say_nothing,
) -> TrainContext:
    def dataset(seed: int) -> SyntheticDataset:
        return SyntheticDataset(n_tracks=2, duration_s=0.1, sample_rate=8000, seed=seed)

    return train_context(
        dataset(0),
        folder,
        validation=dataset(9),
        source="bass",
        codec=AddingCodec(),
        seed=4,
        resume=resume,
        report=report,
    )


def model(codebook_size: int = 3, **changes: Any) -> TransformerModel:
    sizes = {"width": 16, "depth": 3, "heads": 2, "max_frames": 8, "blocks": 2, **changes}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TransformerModel(torch.randn(codebook_size, 4), **sizes)


def task(codes: list[torch.Tensor], held_out: list[torch.Tensor] | None = None) -> PriorTask:
    windows = StoredWindows(codes, 8)
    validation = StoredWindows(held_out, 8) if held_out else None
    return PriorTask(model(), windows, validation, TRAIN, seed=0, device=CPU)


def test_writes_a_prior_that_loads(tmp_path: Path) -> None:
    reports: list[TrainEvent] = []
    made = context(tmp_path, report=reports.append)
    train_prior(CONFIG, TRAIN, made)
    weights = load_weights(tmp_path / "prior.bass.safetensors")
    assert made.codec is not None
    assert weights.metadata["codec_fingerprint"] == made.codec.fingerprint
    assert weights.metadata["source"] == "bass" and weights.metadata["steps"] == "12"
    build = build_context(tmp_path, source="bass", codec=made.codec)
    prior = build_prior(CONFIG, build)
    assert prior.info.codebook_size == made.codec.codebook_size(1)
    other = AddingCodec()
    other.fingerprint = "0" * 64
    with pytest.raises(CheckpointError, match="another codec"):
        build_prior(CONFIG, replace(build, codec=other))
    validation = [report for report in reports if isinstance(report, TrainValidation)]
    assert [report.step for report in validation] == [4, 8, 12]
    # The weights that are kept are the best, and say how good they were.
    best = min(report.figures["bits"] for report in validation)
    assert float(weights.metadata["validation/bits"]) == pytest.approx(best, abs=1e-4)


def test_the_configured_file_is_written(tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"checkpoint": "mine.safetensors"})
    train_prior(config, TRAIN.model_copy(update={"steps": 1}), context(tmp_path))
    assert (tmp_path / "mine.safetensors").exists()


def test_resuming_gives_the_same_weights(tmp_path: Path) -> None:
    class Crash(Exception):
        pass

    def crash(event: TrainEvent) -> None:
        if isinstance(event, TrainStep) and event.progress.step == 7:
            raise Crash

    train_prior(CONFIG, TRAIN, context(tmp_path / "whole"))
    with pytest.raises(Crash):
        train_prior(CONFIG, TRAIN, context(tmp_path / "parts", report=crash))
    train_prior(CONFIG, TRAIN, context(tmp_path / "parts", resume=True))
    whole, parts = (
        load_weights(tmp_path / name / "prior.bass.safetensors") for name in ("whole", "parts")
    )
    # Exact on a CPU, dropout included.
    assert all(torch.equal(whole.tensors[name], parts.tensors[name]) for name in whole.tensors)


def test_a_checkpoint_on_another_codec_is_an_error(tmp_path: Path) -> None:
    train_prior(CONFIG, TRAIN.model_copy(update={"steps": 2}), context(tmp_path))
    codec = AddingCodec()
    codec.fingerprint = "0" * 64
    with pytest.raises(CheckpointError, match="codec: expected 0000"):
        train_prior(CONFIG, TRAIN, replace(context(tmp_path, resume=True), codec=codec))


def notes(reports: list[TrainEvent]) -> list[str]:
    return [report.text for report in reports if isinstance(report, TrainNote)]


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    return load_weights(folder / "prior.bass.safetensors").tensors


def test_codes_are_encoded_once(tmp_path: Path) -> None:
    reports: list[TrainEvent] = []
    made = context(tmp_path / "disk", report=reports.append)
    train_prior(CONFIG, TRAIN, made)
    encoded = ["encoding the validation tracks of 'bass'", "encoding the train tracks of 'bass'"]
    assert notes(reports) == encoded
    first = weights_of(tmp_path / "disk")
    train_prior(CONFIG, TRAIN, made)
    assert notes(reports) == encoded
    in_memory = TRAIN.model_copy(update={"codes": "memory"})
    train_prior(CONFIG, in_memory, context(tmp_path / "memory"))
    assert not (tmp_path / "memory" / "codes").exists()
    # The same codes, wherever they are, and so the same weights.
    for other in (weights_of(tmp_path / "disk"), weights_of(tmp_path / "memory")):
        assert all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("change", "split"),
    [
        ("codec", "both"),
        ("data", "train"),
        ("versions", "train"),
        ("gain_db", "train"),
        ("seed", "train"),
        ("batch_size", "none"),
    ],
)
def test_stale_codes_are_encoded_again(tmp_path: Path, change: str, split: str) -> None:
    train_prior(CONFIG, TRAIN, context(tmp_path))
    reports: list[TrainEvent] = []
    made, settings = context(tmp_path, report=reports.append), TRAIN
    if change == "codec":
        codec = AddingCodec()
        codec.fingerprint = "0" * 64
        made = replace(made, codec=codec)
    elif change == "data":
        other = SyntheticDataset(n_tracks=2, duration_s=0.1, sample_rate=8000, seed=5)
        made = replace(made, dataset=other)
    elif change == "seed":
        made = replace(made, seed=5)
    else:
        settings = TRAIN.model_copy(update={change: 3 if change == "versions" else 2})
    train_prior(CONFIG, settings, made)
    found = {note.split()[2] for note in notes(reports)}
    assert found == {"both": {"train", "validation"}, "train": {"train"}, "none": set()}[split]


def test_codes_from_audio_at_every_step(tmp_path: Path) -> None:
    settings = TRAIN.model_copy(update={"codes": "audio"})
    reports: list[TrainEvent] = []
    train_prior(CONFIG, settings, context(tmp_path, report=reports.append))
    assert notes(reports) == ["encoding the validation tracks of 'bass'"]
    assert not (tmp_path / "codes").exists()
    assert load_weights(tmp_path / "prior.bass.safetensors").metadata["steps"] == "12"


def test_clips_are_encoded_as_the_track_is() -> None:
    codec = AddingCodec([0.0, 0.1, 0.2, 0.3, 0.4])
    wave = 0.1 * torch.randint(5, (30,), generator=torch.Generator().manual_seed(0))
    pool = AudioPool.__new__(AudioPool)
    pool.sources, pool.waves, pool._blend = ("bass",), [[wave.repeat_interleave(4)]], False
    windows = ClipWindows(pool, codec, 0, 8, 0.0, CPU)
    rows = windows.draw(200, torch.Generator().manual_seed(1))
    whole = codec.encode(pool.waves[0][0][None, None])[0]
    possible = {tuple(row.tolist()) for row in whole.unfold(0, 8, 1)}
    # A clip in four begins with a frame of the track.
    assert 20 < sum(tuple(row.tolist()) in possible for row in rows) < 90
    again = windows.draw(200, torch.Generator().manual_seed(1), slice(1, 200, 2))
    assert torch.equal(again, rows[1::2])
    with pytest.raises(AudioError, match="longest track has 120 samples"):
        ClipWindows(pool, codec, 0, 31, 0.0, CPU)


@pytest.mark.parametrize("missing", ["codec", "source"])
def test_needs_a_codec_and_a_source(tmp_path: Path, missing: str) -> None:
    made = context(tmp_path)
    incomplete = replace(made, **{missing: None})
    with pytest.raises(IncompatibleComponentsError, match="trained codec and the name"):
        train_prior(CONFIG, TRAIN, incomplete)


def test_learns_a_sequence_that_repeats(tmp_path: Path) -> None:
    codes = torch.tensor([0, 1, 2] * 20)
    made = task([codes], [codes])
    optimizer = torch.optim.Adam(made.model.parameters(), 1e-2)
    generator = torch.Generator().manual_seed(0)
    made.model.train()
    for _ in range(60):
        loss, _ = made.loss(generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    made.model.eval()
    with torch.no_grad():
        figures = made.validate()
    assert figures["unigram_bits"] == pytest.approx(math.log2(3))
    # All is known but the first code of a window, one of three, in eight.
    assert math.log2(3) / 8 * 0.8 < figures["bits"] < math.log2(3) / 8 * 1.5


def test_bits_are_the_priors_own(tmp_path: Path) -> None:
    from lqsep.plugins.transformer.prior import TransformerPrior

    codes = torch.randint(3, (40,), generator=torch.Generator().manual_seed(1))
    made = task([codes], [codes])
    made.model.eval()
    with torch.no_grad():
        found = made.validate()["bits"]
    assert made.held_out is not None
    log_prob = TransformerPrior(made.model).log_prob(made.held_out)
    assert found == pytest.approx(float(-log_prob.mean()) / math.log(2), rel=1e-5)  # float32


def test_windows_come_from_everywhere_and_from_long_enough_tracks() -> None:
    codes = [torch.arange(10), torch.arange(100, 105), torch.arange(200, 209)]
    rows = StoredWindows(codes, 8).draw(500, torch.Generator().manual_seed(0))
    assert torch.equal(rows.diff(), torch.ones(500, 7, dtype=torch.int64))
    starts = rows[:, 0].bincount()
    assert starts.nonzero()[:, 0].tolist() == [0, 1, 2, 200, 201]
    # 100 expected of each: four standard deviations are 36.
    assert (starts[starts > 0] - 100).abs().max() < 36


def test_tracks_shorter_than_the_context_are_an_error() -> None:
    codes = [torch.zeros(5, dtype=torch.int64), torch.zeros(7, dtype=torch.int64)]
    with pytest.raises(AudioError, match="longest track has 7 codes, expected a context of 8"):
        task(codes)


def test_codes_are_drawn_from_the_model() -> None:
    made = model().eval()
    with torch.no_grad():
        made.output.weight.mul_(1e6)  # so sure that every draw is the likeliest code
        codes = draw_codes(made, 8, torch.Generator().manual_seed(0))
        assert codes.shape == (1, 8)
        assert torch.equal(made(codes).argmax(-1), codes)
        made.output.weight.div_(1e6)
        codes = draw_codes(made, 8, torch.Generator().manual_seed(0))
    again = draw_codes(made, 8, torch.Generator().manual_seed(0))
    other = draw_codes(made, 8, torch.Generator().manual_seed(1))
    assert torch.equal(codes, again) and not torch.equal(codes, other)


def test_sounds_are_decoded_codes() -> None:
    windows = StoredWindows([torch.zeros(20, dtype=torch.int64)], 8)
    made = PriorTask(
        model(),
        windows,
        None,
        TRAIN,
        seed=0,
        device=CPU,
        decode=lambda codes: codes[0].float(),
        frame_rate=2.0,
        sample_rate=5,
    )
    sounds, rate = made.sounds()
    # Three seconds of two frames.
    assert rate == 5 and sounds["sample"].shape == (6,)


def test_recomputing_keeps_less_and_changes_nothing() -> None:
    def gradients(recompute: bool) -> tuple[list[torch.Tensor], int]:
        made = model(depth=6, dropout=0.2).train()
        made.recompute = recompute
        kept = 0

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal kept
            kept += tensor.numel()
            return tensor

        torch.manual_seed(5)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = made(torch.ones(4, 8, dtype=torch.int64)).square().mean()
        loss.backward()
        return [p.grad for p in made.parameters() if p.grad is not None], kept

    plain, kept = gradients(False)
    recomputed, kept_less = gradients(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, recomputed, strict=True))
    assert kept_less < kept / 3


def step_bits(reports: list[TrainEvent]) -> list[float]:
    return [report.figures["bits"] for report in reports if isinstance(report, TrainStep)]


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_reduced_precision(tmp_path: Path, precision: str) -> None:
    changes = {"precision": precision, "recompute": True}
    reports: list[TrainEvent] = []
    train_prior(CONFIG, TRAIN.model_copy(update=changes), context(tmp_path, report=reports.append))
    bits = step_bits(reports)
    exact = tmp_path / "exact"
    train_prior(CONFIG, TRAIN, context(exact, report=reports.append))
    expected = step_bits(reports)[-12:]
    # bfloat16 keeps 8 bits.
    assert bits == pytest.approx(expected, rel=0.02) and bits != expected


def test_no_codes_is_an_error() -> None:
    with pytest.raises(AudioError, match="longest track has 0 codes"):
        task([])
