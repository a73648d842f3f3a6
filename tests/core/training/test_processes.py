"""Two processes hold audio once and tell an error once; also the script that they run."""

import contextlib
import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lqsep.cli.errors import run_command
from lqsep.cli.options import GlobalOptions
from lqsep.core.corpus.audio_pool import AudioPool
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.core.training import processes
from lqsep.core.training.shared_tensors import held_once


class Noise(Dataset):
    """Stereo noise, and the tracks that were read."""

    sources = ("drums", "bass")

    def __init__(self) -> None:
        self.read: list[int] = []

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> Track:
        self.read.append(index)
        rng = np.random.default_rng(index)
        stems = {s: rng.normal(size=(2, 500 + index)).astype(np.float32) for s in self.sources}
        return Track(str(index), 1000, None, stems)


def clips(pool: AudioPool) -> list[float]:
    generator = torch.Generator().manual_seed(0)
    return torch.cat([pool.clip(k % 2, 50, generator) for k in range(20)]).tolist()


def hold(folder: Path) -> dict[str, Any]:
    """A pool held together; the file, which has lost its name, and what is left in the folder."""
    dataset = Noise()
    pool = AudioPool(dataset, dataset.sources, 1000, level=0.1, blend=True, held_together=True)
    maps = Path("/proc/self/maps")
    mapped = maps.exists() and str(folder) in maps.read_text()
    nothing = [len(wave) for wave in held_once(iter([torch.zeros(0)]))]
    codes = held_once(torch.arange(number, number + 3) for number in dataset.read)
    processes.wait()  # until the first one has removed their names
    left = [path.name for path in folder.glob("lqsep-*")]
    return {
        "read": dataset.read,
        "clips": clips(pool),
        "mapped": mapped,
        "nothing": nothing,
        "codes": [(str(sequence.dtype), sequence.tolist()) for sequence in codes],
        "left": left,
    }


def cannot_write() -> str:
    """The first process cannot; the other one, which waits for it, is left alone here."""
    try:
        import resource
    except ImportError:
        return "not on Unix"
    if not processes.is_main():
        return ""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(AudioError) as caught:
            held_once(iter([torch.zeros(10), torch.zeros(100_000)]))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    return str(caught.value)


def cannot_read() -> str:
    """What is no fault of the file, as `cannot_write` has it."""

    def waves() -> Iterator[torch.Tensor]:
        yield torch.zeros(3)
        raise OSError("no such drive")

    if not processes.is_main():
        return ""
    with pytest.raises(Exception) as caught:
        held_once(waves())
    return repr(caught.value)


def fail(text: str, *, is_joint: bool = True) -> str:
    """What a command says that ends with an error."""

    def command() -> None:
        raise AudioError(text)

    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert run_command(command, GlobalOptions(is_joint=is_joint)) == AudioError.exit_code
    return said.getvalue()


def main(folder: Path) -> None:
    with processes.joined(torch.device("cpu")):
        told = hold(folder)
        processes.wait()  # until both have looked at what is left
        told |= {"cannot_write": cannot_write(), "cannot_read": cannot_read()}
        told["after"] = [path.name for path in folder.glob("lqsep-*")]
        # The second process fails, and the first one for want of it.
        errors = []
        for failing in (1, 0):
            if processes.rank() == failing:
                errors.append(fail(f"failed {failing}"))
            processes.wait()
        (folder / f"told-{processes.rank()}.json").write_text(json.dumps(told | {"said": errors}))


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, torchrun: Callable[..., None]
) -> list[dict[str, Any]]:
    """What both processes found."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        torchrun(2, __file__, folder)
    return [json.loads((folder / f"told-{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.slow
def test_processes_hold_the_audio_of_one_together(told: list[dict[str, Any]]) -> None:
    assert [found["read"] for found in told] == [[0, 1, 2], []]
    if Path("/proc/self/maps").exists():
        assert [found["mapped"] for found in told] == [True, True]
    assert [found["left"] for found in told] == [[], []]
    alone = Noise()
    expected = clips(AudioPool(alone, alone.sources, 1000, level=0.1, blend=True))
    assert [found["clips"] for found in told] == [expected, expected]


@pytest.mark.slow
def test_nothing_can_be_held_too(told: list[dict[str, Any]]) -> None:
    assert [found["nothing"] for found in told] == [[0], [0]]


@pytest.mark.slow
def test_codes_are_held_as_they_are(told: list[dict[str, Any]]) -> None:
    expected = [["torch.int64", [number, number + 1, number + 2]] for number in range(3)]
    assert [found["codes"] for found in told] == [expected, expected]


@pytest.mark.slow
def test_no_room_for_the_audio(told: list[dict[str, Any]]) -> None:
    if told[0]["cannot_write"] == "not on Unix":
        pytest.skip("cannot limit the size of files")
    assert "File too large" in told[0]["cannot_write"]
    assert "TMPDIR" in told[0]["cannot_write"]


@pytest.mark.slow
def test_audio_that_cannot_be_read_is_no_fault_of_the_file(told: list[dict[str, Any]]) -> None:
    assert told[0]["cannot_read"] == "OSError('no such drive')"
    assert told[0]["after"] == []


@pytest.mark.slow
def test_the_first_process_to_fail_tells_the_error(told: list[dict[str, Any]]) -> None:
    assert [found["said"] for found in told] == [[""], ["lqsep: error: process 1: failed 1\n"]]


@pytest.mark.parametrize(("local_rank", "lines"), [("0", 1), ("1", 0)])
def test_before_they_have_joined_the_first_of_a_machine_tells(
    monkeypatch: pytest.MonkeyPatch, local_rank: str, lines: int
) -> None:
    for name, value in {"WORLD_SIZE": "4", "RANK": "0", "LOCAL_RANK": local_rank}.items():
        monkeypatch.setenv(name, value)
    assert fail("wrong").count("lqsep: error: wrong") == lines


def test_in_other_commands_every_process_tells_its_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"WORLD_SIZE": "4", "RANK": "1", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    assert fail("wrong", is_joint=False) == "lqsep: error: wrong\n"


def test_a_single_process_holds_waves_in_memory() -> None:
    wave = torch.arange(3.0)
    assert held_once(iter([wave]))[0] is wave


if __name__ == "__main__":
    main(Path(sys.argv[1]))
