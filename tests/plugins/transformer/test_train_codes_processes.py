"""Codes in memory are encoded by one of two processes; also the script that they run."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lqsep.core.components.assemble import TrainContext
from lqsep.core.interfaces.dataset import Track
from lqsep.core.training import processes
from lqsep.core.training.events import say_nothing
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.plugins.transformer.train_codes import make_windows
from lqsep.plugins.transformer.train_config import TransformerTrainConfig
from lqsep.testing.toys import AddingCodec


class Counted(SyntheticDataset):
    """Knows which of its tracks were read."""

    def __init__(self, seed: int) -> None:
        super().__init__(n_tracks=2, duration_s=0.1, sample_rate=8000, seed=seed)
        self.read: list[int] = []

    def __getitem__(self, index: int) -> Track:
        self.read.append(index)
        return super().__getitem__(index)


def main(folder: Path) -> None:
    with processes.joined(torch.device("cpu")) as device:
        codec, data, held_out = AddingCodec(), Counted(0), Counted(9)
        context = TrainContext(
            dataset=data,
            validation=held_out,
            sources=("drums", "bass"),
            gains=(0.5, 0.5),
            source="bass",
            codec=codec,
            output_dir=folder,
            device=device,
            seed=4,
            resume=False,
            report=say_nothing,
        )
        settings = TransformerTrainConfig(codes="memory", versions=2)
        windows = make_windows(context, codec, "bass", 16, settings)
        drawn = [
            made.draw(4, torch.Generator().manual_seed(1)).tolist() for made in windows if made
        ]
        found = {"read": [data.read, held_out.read], "drawn": drawn}
        (folder / f"found-{processes.rank()}.json").write_text(json.dumps(found))


@pytest.mark.slow
def test_codes_in_memory_are_encoded_once(tmp_path: Path, torchrun: Callable[..., None]) -> None:
    one, two = (tmp_path / name for name in ("one", "two"))
    for n_processes, folder in ((1, one), (2, two)):
        folder.mkdir()
        torchrun(n_processes, __file__, folder)
    alone = json.loads((one / "found-0.json").read_text())
    found = [json.loads((two / f"found-{rank}.json").read_text()) for rank in (0, 1)]
    assert [process["read"] for process in found] == [[[0, 1], [0, 1]], [[], []]]
    assert [process["drawn"] for process in found] == [alone["drawn"], alone["drawn"]]
    assert len(alone["drawn"]) == 2 and not (two / "codes").exists()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
