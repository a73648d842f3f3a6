"""What trainers leave in the metadata of weights, and what is read back from it."""

from pathlib import Path

import pytest

from lqsep.core.components.component_config import prior_file
from lqsep.core.components.trainers import validation_figures, weights_metadata
from lqsep.core.store.weights import load_weights, save_weights
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.testing.contexts import train_context
from lqsep.testing.toys import AddingCodec


def test_figures_are_read_back_from_the_file(tmp_path: Path) -> None:
    context = train_context(SyntheticDataset(n_tracks=1), tmp_path, seed=7)
    figures = {"snr_bass": 11.23456, "codes_used": 0.5}
    metadata = weights_metadata("my-codec", context, figures, steps="12")
    assert metadata.items() >= {"component": "my-codec", "seed": "7", "steps": "12"}.items()
    assert "source" not in metadata and "codec_fingerprint" not in metadata
    save_weights(tmp_path / "codec.safetensors", {}, metadata)
    found = validation_figures(load_weights(tmp_path / "codec.safetensors").metadata)
    assert found == pytest.approx(figures, abs=1e-4) and list(found) == sorted(figures)


def test_weights_of_a_prior_name_its_source_and_codec(tmp_path: Path) -> None:
    codec, data = AddingCodec(), SyntheticDataset(n_tracks=1)
    context = train_context(data, tmp_path, source="bass", codec=codec)
    metadata = weights_metadata("my-prior", context, {})
    assert (metadata["source"], metadata["codec_fingerprint"]) == ("bass", codec.fingerprint)
    assert validation_figures(metadata) == {}
    assert prior_file("bass") == "prior.bass.safetensors"
