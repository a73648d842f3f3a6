"""Codes on disk: found again, continued after an interruption, made anew when stale."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep.core.corpus import code_cache
from lqsep.core.corpus.code_cache import cached_codes, data_hash
from lqsep.core.errors import AudioError, CheckpointError
from lqsep.core.interfaces.dataset import Dataset, Track

SEQUENCES = [torch.arange(5), torch.zeros(0, dtype=torch.int64), torch.tensor([7, 2047])]
KEY = {"codec": "a", "data": "b"}


class Encoder:
    """Gives the sequences and counts how often, and how many."""

    def __init__(self, *, interrupted_after: int | None = None) -> None:
        self.calls, self.encoded, self.interrupted_after = 0, 0, interrupted_after

    def __call__(self, skip: int) -> Iterator[torch.Tensor]:
        self.calls += 1
        for sequence in SEQUENCES[skip:]:
            if self.encoded == self.interrupted_after:
                raise KeyboardInterrupt
            self.encoded += 1
            yield sequence


def interrupted(folder: Path, after: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        cached_codes(folder, KEY, Encoder(interrupted_after=after))


def values(sequences: Sequence[torch.Tensor]) -> list[list[int]]:
    return [sequence.tolist() for sequence in sequences]


def test_encoded_once_and_mapped(tmp_path: Path) -> None:
    encode = Encoder()
    for _ in range(2):
        found = cached_codes(tmp_path / "codes", KEY, encode)
        assert values(found) == values(SEQUENCES)
    assert encode.calls == 1
    # Reading maps the file: what is in it changes with it.
    codes = np.load(tmp_path / "codes" / "codes.npy", mmap_mode="r+")
    codes[1] = 9
    codes.flush()
    assert found[0].tolist() == [0, 9, 2, 3, 4]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "codes.npy").write_bytes(b"not codes"),
        lambda folder: np.save(folder / "codes.npy", np.zeros(3, np.int32)),
        lambda folder: (folder / "index.json").write_text("{"),
        lambda folder: (folder / "index.json").unlink(),
    ],
)
def test_damaged_ones_are_made_anew(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    encode = Encoder()
    cached_codes(tmp_path / "codes", KEY, encode)
    spoil(tmp_path / "codes")
    assert cached_codes(tmp_path / "codes", KEY, encode)[2].tolist() == [7, 2047]
    assert encode.calls == 2


def test_stale_ones_are_replaced(tmp_path: Path) -> None:
    encode = Encoder()
    for key in (KEY, {**KEY, "data": "c"}, {"codec": "a"}, KEY):
        cached_codes(tmp_path / "codes", key, encode)
    assert encode.calls == 4
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]
    assert json.loads((tmp_path / "codes" / "index.json").read_text())["key"]["data"] == "b"


def test_an_interrupted_encoding_goes_on(tmp_path: Path) -> None:
    folder = tmp_path / "codes"
    interrupted(folder, 2)
    assert not folder.exists()
    rest = Encoder()
    assert values(cached_codes(folder, KEY, rest)) == values(SEQUENCES)
    assert rest.encoded == 1
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


def test_an_interruption_before_the_index_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object, **settings: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(code_cache.np, "concatenate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            cached_codes(tmp_path / "codes", KEY, Encoder())
    assert [path.name for path in tmp_path.iterdir()] == ["codes.part"]
    rest = Encoder()
    assert values(cached_codes(tmp_path / "codes", KEY, rest)) == values(SEQUENCES)
    assert rest.encoded == 0


def test_an_interrupted_encoding_of_something_else_starts_anew(tmp_path: Path) -> None:
    interrupted(tmp_path / "codes", 2)
    other = Encoder()
    cached_codes(tmp_path / "codes", {**KEY, "data": "c"}, other)
    assert other.encoded == 3


@pytest.mark.parametrize(
    ("content", "encoded"), [(b"", 2), (b"\x93NUMPY", 2), (None, 3)], ids=["empty", "cut", "key"]
)
def test_what_a_crash_damaged_is_encoded_again(
    tmp_path: Path, content: bytes | None, encoded: int
) -> None:
    folder = tmp_path / "codes"
    interrupted(folder, 2)
    if content is None:
        (tmp_path / "codes.part" / "key.json").write_text("{")
    else:
        (tmp_path / "codes.part" / "1.npy").write_bytes(content)
    rest = Encoder()
    assert values(cached_codes(folder, KEY, rest)) == values(SEQUENCES)
    assert rest.encoded == encoded


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="file"):
        cached_codes(tmp_path / "file" / "codes", KEY, Encoder())


def test_audio_that_cannot_be_read_is_no_fault_of_the_folder(tmp_path: Path) -> None:
    def encode(skip: int) -> Iterator[torch.Tensor]:
        yield SEQUENCES[0]
        raise OSError("no such drive")

    with pytest.raises(OSError, match="^no such drive$"):
        cached_codes(tmp_path / "codes", KEY, encode)
    # What was encoded before is kept.
    rest = Encoder()
    assert values(cached_codes(tmp_path / "codes", KEY, rest)) == values(SEQUENCES)
    assert rest.encoded == len(SEQUENCES) - 1


class Noise(Dataset):
    sources = ("drums", "bass")

    def __init__(self, *seeds: int, n_samples: int = 20_000, damaged: int = -1) -> None:
        self.seeds, self.n_samples, self.damaged = seeds, n_samples, damaged

    def __len__(self) -> int:
        return len(self.seeds)

    def name(self, index: int) -> str:
        return f"track-{index}"

    def __getitem__(self, index: int) -> Track:
        if index == self.damaged:
            raise AudioError("damaged")
        generator = np.random.default_rng(self.seeds[index])
        stems = {s: generator.random((1, self.n_samples), np.float32) for s in self.sources}
        return Track(self.name(index), 1000, None, stems)


def test_the_hash_is_that_of_the_data() -> None:
    same = data_hash(Noise(1, 2), "bass")
    assert same == data_hash(Noise(1, 2), "bass")
    others = [
        data_hash(Noise(1, 2), "drums"),
        data_hash(Noise(1, 3), "bass"),
        data_hash(Noise(2, 1), "bass"),
        data_hash(Noise(1), "bass"),
        data_hash(Noise(1, 2, n_samples=19_999), "bass"),
        data_hash(Noise(1, 2, damaged=1), "bass"),
    ]
    assert len({same, *others}) == 7
    assert len(data_hash(Noise(1, n_samples=0), "bass")) == 64
