"""Foreign checkpoints: read whole, as plain values, and never run."""

import os
import pickle
import resource
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.pickled_checkpoint import read_checkpoint, read_pickle, write_pickle


def save(path: Path, content: Any, *, old: bool = False) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=not old)
    return path


def checkpoint(**changes: Any) -> dict[str, Any]:
    weights = OrderedDict(w=torch.arange(4.0), b=torch.ones(2))
    return {"hps": {"sr": 8000}, "model": weights, "opt": None, "step": 7, **changes}


class Runs:
    """Makes a file when it is unpickled by a loader that does what it is told."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old format"])
def test_a_crafted_checkpoint_is_refused_and_not_run(tmp_path: Path, old: bool) -> None:
    marker = tmp_path / "ran"
    path = save(tmp_path / "evil.pth.tar", checkpoint(hps={"x": Runs(marker)}), old=old)
    with pytest.raises(CheckpointError, match=r"nothing in it was run: it calls '\w+\.system'"):
        read_checkpoint(path)
    assert not marker.exists()
    # The file does what it is meant to.
    torch.load(path, weights_only=False)
    assert marker.exists()


def test_a_crafted_plain_pickle_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "evil.pkl"
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Runs(marker), protocol))
        with pytest.raises(CheckpointError):
            read_pickle(path)
    assert not marker.exists()


@pytest.mark.parametrize("state", ["absent", None, {"exp_avg": torch.zeros(4), "step": 3}])
def test_what_is_there_of_an_optimiser_does_not_matter(tmp_path: Path, state: Any) -> None:
    content = checkpoint(opt=state)
    if state == "absent":
        del content["opt"]
    found = read_checkpoint(save(tmp_path / "a.pth.tar", content))
    assert torch.equal(found.tensors["w"], content["model"]["w"])
    assert (found.hps, found.step) == ({"sr": 8000}, 7)


class Call:
    """A call of an allowed name with arguments that no checkpoint has."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        np.array([1.0, 2.0]),
        np.str_("text"),
        np.complex128(1j),
        np.datetime64("2020-01-01"),
        Call(np.dtype, ("O",)),
        Call(type(np.float64(1)).__reduce__(np.float64(1))[0], (np.dtype("f8"), b"short")),
        Call(type(np.float64(1)).__reduce__(np.float64(1))[0], ("f8", b"12345678")),
    ],
    ids=["array", "string", "complex", "date", "objects", "too short", "no type"],
)
def test_other_values_of_numpy_are_refused(tmp_path: Path, value: Any) -> None:
    with pytest.raises(CheckpointError):
        read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint(hps={"x": [value]})))


NUMBERS = [
    np.float64(0.1), np.float32(0.1), np.float16(0.1), np.int64(-3), np.int32(5), np.uint8(255),
    np.int8(-1), np.uint64(2**63), np.bool_(True), np.float64("inf"),
]  # fmt: skip


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old format"])
def test_numpy_scalars_become_numbers(tmp_path: Path, old: bool) -> None:
    path = save(tmp_path / "c.pth.tar", checkpoint(hps={"bandwidth": NUMBERS}), old=old)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    found = read_checkpoint(path).hps["bandwidth"]
    assert found == [number.item() for number in NUMBERS]
    assert {type(number) for number in found} == {float, int, bool}


def test_numbers_of_big_endian_machines(tmp_path: Path) -> None:
    scalar = np.float64(1).__reduce__()[0]
    value = Call(scalar, (np.dtype(">f8"), struct.pack(">d", 0.1)))
    path = save(tmp_path / "c.pth.tar", checkpoint(hps={"x": value}))
    assert read_checkpoint(path).hps == {"x": 0.1}


def test_names_of_numpy_1_and_2_are_known(tmp_path: Path) -> None:
    path = save(tmp_path / "c.pth.tar", checkpoint(hps={"x": np.float64(0.1)}), old=True)
    content = path.read_bytes()
    new, old = b"numpy._core.multiarray", b"numpy.core.multiarray"
    assert (new in content) != (old in content)
    for name in (new, old):
        path.write_bytes(content.replace(new, name).replace(old, name))
        assert read_checkpoint(path).hps == {"x": 0.1}


def test_nothing_stays_allowed(tmp_path: Path) -> None:
    # A list in an order that changes: torch keeps a set.
    before = set(torch.serialization.get_safe_globals())
    read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint()))
    assert set(torch.serialization.get_safe_globals()) == before


def test_half_precision_is_brought_to_float32(tmp_path: Path) -> None:
    exact = torch.randn(100)
    model = {"h": exact.half(), "b": exact.bfloat16(), "f": exact}
    found = read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint(model=model))).tensors
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert all(torch.equal(found[name].to(model[name].dtype), model[name]) for name in model)


def test_the_prefix_of_a_wrapper_is_dropped(tmp_path: Path) -> None:
    model = {"module.a": torch.zeros(1), "b.module.c": torch.zeros(1)}
    found = read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint(model=model)))
    assert list(found.tensors) == ["a", "b.module.c"]
    model = {"module.a": torch.zeros(1), "a": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="with and without 'module.'"):
        read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint(model=model)))


def test_settings_and_step_may_be_missing(tmp_path: Path) -> None:
    found = read_checkpoint(save(tmp_path / "c.pth.tar", {"model": {"a": torch.zeros(1)}}))
    assert (found.hps, found.step) == ({}, None)
    assert read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint())).step == 7


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"a": 3}, "'a' is a int"),
        ({"a": torch.zeros(1, dtype=torch.float64)}, "'a' is a tensor of torch.float64"),
        ({"a": torch.zeros(1, dtype=torch.int64)}, "'a' is a tensor of torch.int64"),
        ({"a": torch.tensor([1.0, float("nan")])}, "'a' is not finite"),
        ({"a": torch.zeros(1).expand(1 << 40)}, "'a' is larger than what is stored"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "'a' is a tensor without values"),
        ({3: torch.zeros(1)}, "'3' is not named by a string"),
    ],
    ids=["number", "double", "integers", "nan", "claims more", "sparse", "name"],
)
def test_weights_must_be_weights(tmp_path: Path, model: Any, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(save(tmp_path / "c.pth.tar", checkpoint(model=model)))


@pytest.mark.parametrize("content", [[1], {"weights": {}}, {"model": 3}, torch.zeros(3)])
def test_other_content_is_refused(tmp_path: Path, content: Any) -> None:
    with pytest.raises(CheckpointError, match=r"is not a checkpoint: .*under 'model', got a "):
        read_checkpoint(save(tmp_path / "c.pth.tar", content))


@pytest.mark.parametrize("old", [False, True], ids=["zip", "old format"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, old: bool, share: float) -> None:
    path = save(tmp_path / "c.pth.tar", checkpoint(model={"a": torch.randn(5000)}), old=old)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(CheckpointError, match=r"c.pth.tar is not a readable checkpoint \(.+\); "):
        read_checkpoint(path)


def test_a_changed_byte_is_found(tmp_path: Path) -> None:
    """In the values of a tensor, where the file stays readable."""
    path = save(tmp_path / "c.pth.tar", checkpoint(model={"a": torch.ones(50)}))
    content = bytearray(path.read_bytes())
    place = content.find(torch.ones(50).numpy().tobytes())
    content[place + 100] ^= 1
    path.write_bytes(content)
    assert not torch.equal(torch.load(path)["model"]["a"], torch.ones(50))
    with pytest.raises(CheckpointError, match=r"damaged: the record 'c.*/data/0' does not fit"):
        read_checkpoint(path)


def test_files_without_checksums_are_read(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        path = save(tmp_path / "c.pth.tar", checkpoint())
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(read_checkpoint(path).tensors["b"], torch.ones(2))


def test_files_that_are_none(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(CheckpointError, match="no checkpoint at"):
            read_checkpoint(path)
    for text in ("not a checkpoint\n", "hello world", "RIFF....WAVE", ""):
        (tmp_path / "text").write_text(text)
        with pytest.raises(CheckpointError, match=r"checkpoint \(what it says makes no sense\);"):
            read_checkpoint(tmp_path / "text")


def test_written_files_are_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "c.pth.tar"
    write_pickle(path, checkpoint())
    assert torch.equal(torch.load(path, weights_only=True)["model"]["w"], torch.arange(4.0))
    before = path.read_bytes()
    with pytest.raises(AttributeError):
        write_pickle(path, checkpoint(hps={"x": lambda: None}))
    assert path.read_bytes() == before
    with pytest.raises(CheckpointError, match=r"cannot write .*c\.pth\.tar: File exists$"):
        write_pickle(path / "c.pth.tar", checkpoint())
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(CheckpointError, match=r"c\.pth\.tar: File too large$"):
            write_pickle(path, {"w": torch.zeros(10_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["c.pth.tar"]
