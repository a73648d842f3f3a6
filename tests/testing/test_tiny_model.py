"""The tiny model: complete, verified, the same every time."""

from pathlib import Path

import pytest

import lqsep
from lqsep.core.store.model_directory import verify_model
from lqsep.core.store.weights import fingerprint, load_weights
from lqsep.testing.models import make_tiny_model


def fingerprints(model: Path) -> dict[str, str]:
    return {file: fingerprint(load_weights(model / file).tensors) for file in verify_model(model)}


@pytest.mark.slow
def test_it_is_the_same_every_time(tiny_model: Path, tmp_path: Path) -> None:
    weights = fingerprints(tiny_model)
    assert set(weights) == {
        "codec.safetensors",
        "prior.drums.safetensors",
        "prior.bass.safetensors",
    }
    assert fingerprints(make_tiny_model(tmp_path / "again")) == weights


def test_it_loads_through_the_public_interface(tiny_model: Path) -> None:
    model = lqsep.load_model(tiny_model)
    assert model.name == "tiny"
    assert list(model.priors) == ["drums", "bass"]
    assert model.codec.codebook_size(0) == model.priors["drums"].info.codebook_size
