"""Two processes train the codec that one would; also the script that they run."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lqsep.core.components.assemble import TrainContext
from lqsep.core.corpus.audio_pool import AudioPool
from lqsep.core.store.weights import load_weights
from lqsep.core.training import processes
from lqsep.core.training.checkpoints import CheckpointFolder
from lqsep.core.training.events import say_nothing
from lqsep.core.training.loop import fit
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_model
from lqsep.plugins.lqvae.quantizer import Quantizer, joint_random_rows, random_rows
from lqsep.plugins.lqvae.train import CodecTask, train_codec
from lqsep.plugins.lqvae.train_config import LQVAETrainConfig

RATE = 4000
CONFIG = LQVAEConfig(
    sample_rate=RATE,
    downs_t=(1, 1),
    strides_t=(4, 4),
    multipliers=(1, 1),
    width=6,
    depth=1,
    embedding_dim=4,
    # More than the frames of a joint batch's sums on the top level (4 x 69), fewer than below.
    codebook_size=300,
    level=0.1,
)
TRAIN = LQVAETrainConfig(
    # More of them, and rounding makes another code of some frame, which may kill or save a code.
    steps=3,
    learning_rate=1e-3,
    warmup_steps=0,
    batch_size=8,
    clip_samples=1104,
    gain_db=3,
    pair_gain_db=3,
    log_every=1,
    validate_every=3,
    checkpoint_every=3,
    validation_clips=2,
    decay=0.9,
    # Some codes are replaced at every step.
    revival_threshold=0.7,
)


def train(folder: Path, device: torch.device) -> None:
    def dataset(seed: int) -> SyntheticDataset:
        return SyntheticDataset(n_tracks=2, duration_s=1.0, sample_rate=RATE, seed=seed)

    context = TrainContext(
        dataset=dataset(0),
        validation=dataset(9),
        sources=("drums", "bass"),
        gains=(0.5, 0.5),
        source=None,
        codec=None,
        output_dir=folder,
        device=device,
        seed=4,
        resume=False,
        report=say_nothing,
    )
    train_codec(CONFIG, TRAIN, context)


def draw_rows(folder: Path) -> None:
    """What `joint_random_rows` gives for many rows and for few, and what `interleave` does."""
    joint = torch.arange(4 * 5 * 2.0).view(4 * 5, 2)  # four items of five frames
    mine = joint.view(4, 5, 2)[processes.share(4)].reshape(-1, 2)
    found = []
    for count in (7, 30):
        torch.manual_seed(11 + processes.rank())
        found.append(joint_random_rows(mine, count, 4 // processes.count()))
    found.append(processes.interleave(mine.view(-1, 5, 2)).view(-1, 2))
    torch.save(found, folder / f"rows-{processes.rank()}.pt")


def codebook_of(quantizer_seed: int, folder: Path) -> None:
    torch.manual_seed(0)
    quantizer = Quantizer(12, 3, decay=0.5, revival_threshold=1.5)
    generator = torch.Generator().manual_seed(quantizer_seed)
    for _ in range(3):
        latents = torch.randn(4, 3, 10, generator=generator)
        quantizer(latents[processes.share(4)])
    torch.save(quantizer.state_dict(), folder / f"codebook-{processes.rank()}.pt")


def stop_early(folder: Path, device: torch.device) -> None:
    """A rising learning rate, until validation has been worse for long; what is kept then."""
    settings = TRAIN.model_copy(
        update={
            "steps": 60,
            "learning_rate": 0.3,
            "warmup_steps": 24,
            "patience": 2,
            "max_loss_ratio": None,
        }
    )
    data = SyntheticDataset(n_tracks=2, duration_s=1.0, sample_rate=RATE, seed=0)
    pool = AudioPool(data, ["drums", "bass"], RATE, level=0.1)
    torch.manual_seed(0)
    model = build_model(CONFIG)
    task = CodecTask(
        model,
        pool,
        pool if processes.is_main() else None,
        settings,
        gains=(0.5, 0.5),
        sample_rate=RATE,
        seed=0,
        device=device,
    )
    result = fit(
        task,
        settings,
        name="stopped",
        output_dir=folder,
        device=device,
        seed=4,
        resume=False,
        report=say_nothing,
    )
    kept = {"step": result.step, "model": model.state_dict()}
    torch.save(kept, folder / f"kept-{processes.rank()}.pt")


def main(folder: Path) -> None:
    with processes.joined(torch.device("cpu")) as device:
        train(folder, device)
        stop_early(folder, device)
        draw_rows(folder)
        codebook_of(5, folder)


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory, torchrun: Callable[..., None]
) -> tuple[Path, Path]:
    """Where one process worked, and where two did."""
    one, two = (tmp_path_factory.mktemp(name) for name in ("one", "two"))
    for n_processes, folder in ((1, one), (2, two)):
        torchrun(n_processes, __file__, folder)
        assert len(list(folder.glob("rows-*.pt"))) == n_processes
    return one, two


def losses(folder: Path) -> list[dict[str, float]]:
    text = (folder / "logs" / "codec.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if "loss" in line]


@pytest.mark.slow
def test_two_processes_train_the_same_codec(folders: tuple[Path, Path]) -> None:
    one, two = (losses(folder) for folder in folders)
    assert len(one) == len(two) == 3
    for line, other in zip(one, two, strict=True):
        for figure, value in line.items():
            # The same sums in another order, in float32; some frames are alike, and which of two
            # codes as near they get is up to rounding.
            rel = 0.02 if figure in {"perplexity", "codes_alive"} else 1e-3
            assert value == pytest.approx(other[figure], rel=rel, abs=1e-4), figure
    weights = [load_weights(folder / "codec.safetensors").tensors for folder in folders]
    for name, tensor in weights[0].items():
        # A step of Adam is 1e-3 long whatever the gradient: a fifth of one, of 3.
        close = torch.isclose(tensor, weights[1][name], rtol=1e-3, atol=2e-4)
        # A frame halfway between two codes, to float32, moves two of 300.
        assert close.float().mean() >= (0.98 if "codebook" in name else 1.0), name


@pytest.mark.slow
def test_every_process_has_the_codebook_of_one(folders: tuple[Path, Path]) -> None:
    expected = torch.load(folders[0] / "codebook-0.pt", weights_only=True)
    first, second = (
        torch.load(folders[1] / f"codebook-{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    for name, tensor in expected.items():
        assert torch.equal(first[name], second[name])
        # Float32 sums of up to 40 numbers in another order.
        torch.testing.assert_close(first[name], tensor, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_processes_stop_and_keep_the_best_together(folders: tuple[Path, Path]) -> None:
    first, second = (
        torch.load(folders[1] / f"kept-{rank}.pt", weights_only=True) for rank in (0, 1)
    )
    checkpoints = CheckpointFolder(folders[1] / "checkpoints" / "stopped", keep=2)
    (*_, best) = checkpoints.steps("best")
    assert first["step"] == second["step"] == best + 6 < 60
    written = checkpoints.load(checkpoints.file(best, "best"))["model"]
    for name, tensor in written.items():
        assert torch.equal(first["model"][name], tensor), name
        assert torch.equal(second["model"][name], tensor), name


@pytest.mark.slow
def test_rows_are_drawn_from_the_joint_batch(folders: tuple[Path, Path]) -> None:
    expected = torch.load(folders[0] / "rows-0.pt", weights_only=True)
    torch.manual_seed(11)
    joint = torch.arange(40.0).view(20, 2)
    assert torch.equal(expected[0], random_rows(joint, 7))
    assert torch.equal(expected[2], joint)
    for rank in (0, 1):
        found = torch.load(folders[1] / f"rows-{rank}.pt", weights_only=True)
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
