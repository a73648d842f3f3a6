"""LASS's ``.npz`` files: what the ``sparse`` library wrote is read back, anything else refused.

``data/make_sparse_files.py`` made the files with that library.
"""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import file_hash
from lqsep.plugins.counts.lass import load_lass_counts
from lqsep.plugins.counts.store import TripleCounts

DATA = Path(__file__).parent / "data"


def dense(counted: TripleCounts) -> np.ndarray:
    result = np.zeros([counted.codebook_size] * 3, np.int64)
    np.add.at(result, tuple(counted.triples.numpy().T), counted.counts.numpy())
    return result


@pytest.fixture
def expected() -> np.ndarray:
    with np.load(DATA / "expected.npz") as file:
        return file["counts"]


@pytest.mark.parametrize("name", ["coo", "gcxs_1", "gcxs_02"])
def test_files_of_the_library(name: str, expected: np.ndarray) -> None:
    path = DATA / f"{name}.npz"
    counted = load_lass_counts(path, sha256=file_hash(path))
    assert np.array_equal(dense(counted), expected)
    assert (counted.codebook_size, counted.n_frames) == (5, 40)
    assert counted.gains is None and counted.codec_fingerprint is None
    assert int(counted.counts.min()) > 0
    with pytest.raises(CheckpointError, match="not the file its model.toml describes"):
        load_lass_counts(path, sha256="0" * 64)


@pytest.mark.parametrize("axes", [(1, 0, 2), (2, 0, 1), (1, 2, 0)])
def test_other_orders_of_the_axes(axes: tuple[int, int, int], expected: np.ndarray) -> None:
    counted = load_lass_counts(DATA / "gcxs_02.npz", axes=axes)
    assert np.array_equal(dense(counted), expected.transpose(axes))


def good() -> dict[str, np.ndarray]:
    return {
        "data": np.array([1, 2]),
        "coords": np.array([[0, 1], [1, 2], [2, 0]]),
        "shape": np.array([3, 3, 3]),
        "fill_value": np.array(0),
    }


def compressed(**changes: object) -> dict[str, object]:
    rows = {
        "data": np.array([1, 2]),
        "indices": np.array([3, 8]),
        "indptr": np.array([0, 1, 1, 2]),
        "compressed_axes": np.array([0]),
        "coords": None,
    }
    return rows | changes


def write(path: Path, changes: dict[str, object]) -> Path:
    np.savez(path, **{k: v for k, v in (good() | changes).items() if v is not None})
    return path


def test_written_by_hand(tmp_path: Path) -> None:
    """Old files have no fill value; values may be floating and zeros stored."""
    counted = load_lass_counts(write(tmp_path / "a.npz", {"fill_value": None}))
    assert counted.triples.tolist() == [[0, 1, 2], [1, 2, 0]]
    assert counted.counts.tolist() == [1, 2]
    counted = load_lass_counts(write(tmp_path / "b.npz", {"data": np.array([0.0, 2.0])}))
    assert (counted.triples.tolist(), counted.counts.tolist()) == ([[1, 2, 0]], [2])
    counted = load_lass_counts(write(tmp_path / "c.npz", compressed()))
    assert counted.triples.tolist() == [[0, 1, 0], [2, 2, 2]]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"coords": None}, "do not fit together .*indices"),
        ({"data": None}, "do not fit together"),
        ({"data": np.array([1, 2, 3])}, "3 values do not fit"),
        ({"data": np.array([0.5, 2])}, "not whole numbers"),
        ({"data": np.array([np.nan, 2])}, "not whole numbers"),
        ({"data": np.array([1, -2])}, "a count is below 1"),
        ({"data": np.array([0, 0])}, "is empty"),
        ({"fill_value": np.array(1)}, "background of zero"),
        ({"coords": np.zeros((2, 2), int)}, "three lists"),
        ({"coords": np.zeros((3, 2))}, "three lists"),
        ({"coords": np.full((3, 2), 3)}, "not of codes below 3"),
        ({"coords": np.full((3, 2), -1)}, "not of codes below 3"),
        ({"shape": None}, "three equal dimensions"),
        ({"shape": np.array([3, 3])}, "three equal dimensions"),
        ({"shape": np.array([3, 3, 4])}, "three equal dimensions"),
        ({"shape": np.array([-3, -3, -3])}, "dimensions are"),
        (compressed(indptr=np.array([0, 1, 3])), "do not fit together"),
        (compressed(indptr=np.array([0, 2, 1, 2])), "do not fit together"),
        (compressed(indptr=np.array([0, 0, 1, 1, 2])), "do not fit together"),
        (compressed(indices=np.array([3, 9])), "do not fit together"),
        (compressed(compressed_axes=np.array([3])), "do not fit together"),
    ],
)
def test_other_arrays_are_refused(tmp_path: Path, changes: dict[str, object], why: str) -> None:
    with pytest.raises(CheckpointError, match=why) as caught:
        load_lass_counts(write(tmp_path / "a.npz", changes))
    assert "\n" not in str(caught.value)


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("trap-was-sprung"),)


def test_nothing_is_unpickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "a.npz", **(good() | {"data": np.array([Trap()], object)}))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Trap()))
    for name in ("a.npz", "b.npz"):
        with pytest.raises(CheckpointError, match="not a readable .npz"):
            load_lass_counts(tmp_path / name)
    assert not (tmp_path / "trap-was-sprung").exists()


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no file of counts at"):
        load_lass_counts(tmp_path / "none.npz")
    whole = (DATA / "coo.npz").read_bytes()
    np.save(tmp_path / "array.npy", np.zeros(3))
    contents = (b"", b"damaged", whole[:200], whole[:-30], (tmp_path / "array.npy").read_bytes())
    for content in contents:
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a"):
            load_lass_counts(tmp_path / "a.npz")
    changed = bytearray(whole)
    changed[len(changed) // 3] ^= 255
    (tmp_path / "a.npz").write_bytes(changed)
    with pytest.raises(CheckpointError, match="not a"):
        load_lass_counts(tmp_path / "a.npz")
    assert torch.is_tensor(load_lass_counts(DATA / "coo.npz").triples)
