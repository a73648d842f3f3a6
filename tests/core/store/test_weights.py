"""Weights files: round trip, fingerprints, refusal of what does not fit."""

import hashlib
from pathlib import Path

import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.weights import (
    check_codec_fingerprint,
    fingerprint,
    load_module,
    load_weights,
    read_header,
    save_weights,
)


def tensors():
    return {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor([1, 2, 3])}


def test_round_trip_keeps_values_and_metadata(tmp_path):
    digest = save_weights(tmp_path / "w.safetensors", tensors(), {"codec_fingerprint": "abc"})
    weights = load_weights(tmp_path / "w.safetensors", sha256=digest)
    assert weights.metadata == {"codec_fingerprint": "abc"}
    for name, tensor in tensors().items():
        assert torch.equal(weights.tensors[name], tensor)
    assert digest == hashlib.sha256((tmp_path / "w.safetensors").read_bytes()).hexdigest()


def test_nothing_but_the_file_is_left_behind(tmp_path):
    save_weights(tmp_path / "w.safetensors", tensors(), {})
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_file_may_be_read_by_whoever_may_read_files_made_here(tmp_path):
    (tmp_path / "plain").write_bytes(b"")
    save_weights(tmp_path / "w.safetensors", tensors(), {})
    modes = {path.stat().st_mode for path in tmp_path.iterdir()}
    assert len(modes) == 1


def test_header_gives_shapes_without_reading_tensors(tmp_path):
    save_weights(tmp_path / "w.safetensors", tensors(), {"k": "v"})
    header = read_header(tmp_path / "w.safetensors")
    assert header.shapes == {"a": (3,), "b": (2, 3)}
    assert header.metadata == {"k": "v"}


def test_fingerprint_is_the_documented_hash():
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors().items()):
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.numpy().tobytes())
    assert fingerprint(tensors()) == digest.hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {**t, "b": t["b"] + 1},
        lambda t: {**t, "b": t["b"].reshape(3, 2)},
        lambda t: {**t, "b": t["b"].double()},
        lambda t: {"c": t["b"], "a": t["a"]},
    ],
)
def test_fingerprint_sees_name_dtype_shape_and_bytes(change):
    assert fingerprint(change(tensors())) != fingerprint(tensors())


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_a_damaged_file_is_refused(tmp_path, content):
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_weights(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_header(tmp_path / "w.safetensors")


def test_a_truncated_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(path, {"a": torch.zeros(1000)}, {})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        load_weights(path)


def test_a_missing_file_and_a_wrong_hash_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no weights file"):
        load_weights(tmp_path / "none.safetensors")
    save_weights(tmp_path / "w.safetensors", tensors(), {})
    with pytest.raises(CheckpointError, match="expected sha256"):
        load_weights(tmp_path / "w.safetensors", sha256="0" * 64)


def test_load_module_refuses_other_names_and_shapes():
    module = torch.nn.Linear(2, 3)
    good = {k: v.clone() for k, v in module.state_dict().items()}
    load_module(module, {k: v.half() for k, v in good.items()}, "file")
    assert module.weight.dtype == torch.float32
    with pytest.raises(CheckpointError, match="missing 'bias'"):
        load_module(module, {"weight": good["weight"]}, "file")
    with pytest.raises(CheckpointError, match="unexpected 'more'"):
        load_module(module, {**good, "more": torch.zeros(1)}, "file")
    with pytest.raises(CheckpointError, match=r"shape \(3, 4\)"):
        load_module(module, {**good, "weight": torch.zeros(3, 4)}, "file")


def test_codec_fingerprint_must_match_where_it_is_known():
    check_codec_fingerprint("file", {}, "a" * 64)
    check_codec_fingerprint("file", {"codec_fingerprint": "a" * 64}, "a" * 64)
    with pytest.raises(CheckpointError, match="trained on another codec"):
        check_codec_fingerprint("file", {"codec_fingerprint": "b" * 64}, "a" * 64)


def test_what_cannot_be_written_is_named_alone(tmp_path):
    """Neither the temporary name nor what the tensors are for."""
    for path in (Path("/proc/a.safetensors"), tmp_path / ("a" * 256)):
        with pytest.raises(CheckpointError) as caught:
            save_weights(path, {"counts": torch.ones(2)}, {})
        assert str(caught.value).startswith(f"cannot write {path}: ")
        assert ".lqsep-" not in str(caught.value) and "weights" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_the_same_tensors_are_the_same_bytes(tmp_path):
    """safetensors orders metadata by chance, in every process anew."""
    metadata = {f"key {n}": "ä" * n for n in range(12)}
    tensors = {"b": torch.arange(3), "a": torch.ones(2, 2)}
    save_weights(tmp_path / "one", tensors, metadata)
    backwards = dict(reversed(metadata.items()))
    save_weights(tmp_path / "two", dict(reversed(tensors.items())), backwards)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    found = load_weights(tmp_path / "one")
    assert found.metadata == metadata
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_refused(tmp_path, value):
    path = tmp_path / "weights"
    save_weights(path, {"fine": torch.ones(3), "b": torch.tensor([1.0, value])}, {})
    with pytest.raises(CheckpointError, match=r"'b' has values that are no numbers"):
        load_weights(path)


def test_integers_in_the_place_of_floats_are_refused():
    module = torch.nn.Linear(2, 2)
    tensors = {name: tensor.view(torch.int32) for name, tensor in module.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"holds torch.int32, expected torch.float32"):
        load_module(module, tensors, "file")
