"""Model directories: found, loaded, verified, updated; what does not fit is refused."""

import resource
import shutil
from dataclasses import replace

import pytest
import tomli_w
import torch

from lqsep import Registry, load_model
from lqsep.core.components.overrides import read_toml
from lqsep.core.errors import (
    CheckpointError,
    ConfigError,
    DeviceError,
    IncompatibleComponentsError,
)
from lqsep.core.store.devices import resolve_device
from lqsep.core.store.model_directory import (
    find_config,
    model_name,
    update_model_toml,
    verify_model,
)
from lqsep.core.store.weights import load_weights, save_weights


@pytest.fixture
def model(tiny_model, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(tiny_model, tmp_path / "copy")


def test_a_directory_is_loaded_by_its_path(model):
    loaded = load_model(model)
    assert loaded.name == "copy"
    assert list(loaded.priors) == ["drums", "bass"]
    size = loaded.codec.codebook_size(0)
    assert loaded.priors["bass"].info.codebook_size == size
    assert loaded.device == torch.device("cpu")


def test_the_configuration_file_itself_will_do(model):
    assert find_config(model / "model.toml") == model / "model.toml"
    assert model_name(model / "model.toml") == "copy"
    assert model_name(model / "other.toml") == "other"


@pytest.mark.parametrize("name", ["no-such-model", "no/such/model.toml"])
def test_an_unknown_name_says_what_there_is(name):
    with pytest.raises(CheckpointError, match="expected a directory with a model.toml"):
        find_config(name)


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="no model.toml in"):
        find_config(tmp_path)


def test_a_changed_file_is_found_when_loading_and_verifying(model):
    assert set(verify_model(model)) == {p.name for p in model.glob("*.safetensors")}
    path = model / "codec.safetensors"
    weights = load_weights(path)
    save_weights(path, {k: v + 1 for k, v in weights.tensors.items()}, weights.metadata)
    with pytest.raises(CheckpointError, match="codec.safetensors has another sha256"):
        verify_model(model)
    with pytest.raises(CheckpointError, match="expected sha256"):
        load_model(model)


def test_every_missing_file_is_named(model):
    for path in model.glob("prior*.safetensors"):
        path.unlink()
    with pytest.raises(CheckpointError, match=r"prior.*bass.*missing; prior.*drums.*missing"):
        verify_model(model)


def test_a_prior_of_another_codec_is_refused(model):
    path = model / "codec.safetensors"
    weights = load_weights(path)
    save_weights(path, {k: v + 1 for k, v in weights.tensors.items()}, weights.metadata)
    update_model_toml(model, files=["codec.safetensors"])
    with pytest.raises(CheckpointError, match="trained on another codec") as caught:
        load_model(model)
    assert caught.value.exit_code == 3
    assert "\n" not in str(caught.value)


def test_sizes_that_do_not_fit_are_refused(model):
    with pytest.raises(CheckpointError, match="shape"):
        load_model(model, overrides=["codec.codebook_size=16"])


def test_priors_of_another_size_are_all_named():
    from lqsep.core.components.config import parse_config
    from lqsep.core.store.model_directory import build_model

    registry = Registry.from_plugins(lqsep=_Mismatched())
    config = parse_config(
        {
            "codec": {"type": "adding"},
            "sources": {"a": {"prior": {"type": "wide"}}, "b": {"prior": {"type": "wide"}}},
            "likelihood": {"type": "adding"},
            "sampler": {"type": "adding"},
            "selector": {"type": "adding"},
        },
        registry,
    )
    with pytest.raises(IncompatibleComponentsError, match=r"'a' predicts 5 .*'b' predicts 5"):
        build_model(config, registry, "cpu", name="x")


class _Mismatched:
    from lqsep import hookimpl

    @hookimpl
    def lqsep_components(self):
        from lqsep import ComponentConfig, ComponentSpec, Kind

        for kind, name in [
            (Kind.CODEC, "adding"),
            (Kind.PRIOR, "wide"),
            (Kind.LIKELIHOOD, "adding"),
            (Kind.SAMPLER, "adding"),
            (Kind.SELECTOR, "adding"),
        ]:
            yield ComponentSpec(
                kind=kind,
                name=name,
                config=ComponentConfig,
                factory=f"{__name__}:build_{kind}",
                summary="for a test",
                api_version=1,
            )


def build_codec(config, context):
    from lqsep.testing.toys import AddingCodec

    return AddingCodec()


def build_prior(config, context):
    from lqsep.testing.toys import random_markov_prior

    return random_markov_prior(5, torch.Generator().manual_seed(0))


def test_devices():
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device("auto").type in {"cpu", "cuda"}
    for wrong, words in [("cuda:99", "not available"), ("tpu", "unknown"), ("meta", "supported")]:
        with pytest.raises(DeviceError, match=words) as caught:
            resolve_device(wrong)
        assert caught.value.exit_code == 2


def test_updating_keeps_what_is_there_and_hashes_files(model):
    before = read_toml(model / "model.toml")
    (model / "codec.safetensors").write_bytes(b"x")
    update_model_toml(
        model, files=["codec.safetensors"], changes={"likelihood.sigma": 0.5, "model.new": "y"}
    )
    after = read_toml(model / "model.toml")
    assert after["likelihood"]["sigma"] == 0.5
    assert after["model"]["new"] == "y"
    changed = {
        k
        for k in after["model"]["files"]
        if after["model"]["files"][k] != before["model"]["files"][k]
    }
    assert changed == {"codec.safetensors"}
    assert after["sources"] == before["sources"]


def test_a_new_directory_describes_what_is_used_only(tmp_path):
    config = {"codec": {"type": "x"}, "train": {"codec": {"steps": 3}}, "data": {"train": {}}}
    update_model_toml(tmp_path / "new", config=config)
    written = read_toml(tmp_path / "new" / "model.toml")
    assert written == {"codec": {"type": "x"}, "model": {"files": {}}}
    with pytest.raises(ConfigError, match="not a model directory"):
        update_model_toml(tmp_path / "empty")
    with pytest.raises(CheckpointError, match="cannot read"):
        update_model_toml(tmp_path / "new", files=["absent.safetensors"])
    assert sorted(p.name for p in (tmp_path / "new").iterdir()) == ["model.toml"]


def test_a_hash_is_checked_however_the_file_is_spelt(model):
    setting = 'sources.drums.prior.checkpoint="./prior.drums.safetensors"'
    assert load_model(model, overrides=[setting]).priors.keys() == {"drums", "bass"}
    # Weights of another source: they load, but they are not what was declared.
    shutil.copy(model / "prior.bass.safetensors", model / "prior.drums.safetensors")
    with pytest.raises(CheckpointError, match="is not the file its model.toml describes"):
        load_model(model, overrides=[setting])


@pytest.mark.parametrize("name", ["../other/codec.safetensors", "{other}/codec.safetensors", "x/y"])
def test_weights_are_files_of_the_model_alone(model, tiny_model, tmp_path, name):
    other = shutil.copytree(tiny_model, tmp_path / "other")
    setting = f"codec.checkpoint='{name.format(other=other)}'"
    with pytest.raises(CheckpointError, match="expected the plain name of a file in"):
        load_model(model, overrides=[setting])


def test_a_link_out_of_the_model_is_refused(model, tiny_model):
    (model / "codec.safetensors").unlink()
    (model / "codec.safetensors").symlink_to(tiny_model / "codec.safetensors")
    with pytest.raises(CheckpointError, match="is a link to .*; expected the file itself"):
        load_model(model)


def test_a_model_without_hashes_is_unverified(model, caplog):
    data = read_toml(model / "model.toml")
    del data["model"]["files"]
    (model / "model.toml").write_text(tomli_w.dumps(data))
    for _ in range(2):
        load_model(model)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 3 and all(text.startswith("unverified: ") for text in said)


def test_a_configuration_elsewhere_uses_the_weights_of_a_model(model, tmp_path, caplog):
    data = read_toml(model / "model.toml")
    del data["model"]
    for weights in (str(model), "copy"):  # relative to the configuration
        (tmp_path / "mine.toml").write_text(tomli_w.dumps({**data, "weights": weights}))
        found = load_model(tmp_path / "mine.toml")
        assert found.codec.fingerprint == load_model(model).codec.fingerprint
    assert not caplog.records
    (model / "codec.safetensors").write_bytes(b"changed")
    with pytest.raises(CheckpointError, match="is not the file its model.toml describes"):
        load_model(tmp_path / "mine.toml")
    (tmp_path / "mine.toml").write_text(tomli_w.dumps({**data, "weights": "nowhere"}))
    with pytest.raises(CheckpointError, match="no model named 'nowhere'"):
        load_model(tmp_path / "mine.toml")


def test_a_name_in_the_place_of_a_source_index(tiny_model):
    codec = load_model(tiny_model).codec
    with pytest.raises(IncompatibleComponentsError, match="source 'bass': expected the index"):
        codec.codebook_size("bass")
    context = replace(load_model(tiny_model).context, source="bass")
    assert context.source_index == 1
    assert codec.codebook_size(context.source_index) > 0


@pytest.mark.parametrize(
    "setting",
    [
        "codec.width=16384",
        "codec.codebook_size=65536",
        "sources.drums.prior.width=65536",
        "sources.drums.prior.depth=64",
    ],
)
def test_sizes_that_the_weights_do_not_have_take_no_memory(tiny_model, setting):
    """Gigabytes of network would be made before the weights are looked at."""
    load_model(tiny_model)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CheckpointError, match="expected|missing"):
        load_model(tiny_model, overrides=[setting])
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # kB
