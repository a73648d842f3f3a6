"""Pipeline configurations: validation by component, paths of errors, settings."""

import pytest
from pydantic import Field

from lqsep import ComponentConfig, ComponentSpec, Kind, Registry, hookimpl
from lqsep.core.components.config import load_config, parse_config
from lqsep.core.components.overrides import (
    apply_override,
    apply_overrides,
    read_toml,
    replace_component,
)
from lqsep.core.errors import ConfigError


class BoxConfig(ComponentConfig):
    type: str = "box"
    size: int = Field(default=3, ge=1)
    checkpoint: str | None = None


class OtherConfig(ComponentConfig):
    type: str = "other"


class Plugin:
    @hookimpl
    def lqsep_components(self):
        for kind in Kind:
            for config in (BoxConfig, OtherConfig):
                yield ComponentSpec(
                    kind=kind,
                    name=config.model_fields["type"].default,
                    config=config,
                    factory="nowhere:nothing",
                    summary="for tests",
                    api_version=1,
                )


REGISTRY = Registry.from_plugins(lqsep=Plugin())


def data():
    return {
        "version": 1,
        "codec": {"type": "box", "size": 5},
        "sources": {
            "drums": {"gain": 0.25, "prior": {"type": "box"}},
            "bass": {"prior": {"type": "other"}},
        },
        "likelihood": {"type": "box"},
        "sampler": {"type": "box"},
        "selector": {"type": "box"},
        "refiners": [{"type": "box", "size": 1}, {"type": "other"}],
    }


def test_slots_hold_the_components_own_models_and_defaults():
    config = parse_config(data(), REGISTRY)
    assert config.codec == BoxConfig(size=5)
    assert config.sources["drums"].prior == BoxConfig(size=3)
    assert config.gains == (0.25, 0.5)
    assert list(config.sources) == ["drums", "bass"]
    assert config.refiners == (BoxConfig(size=1), OtherConfig())


def test_dump_keeps_the_components_fields_and_can_be_read_again():
    config = parse_config(data(), REGISTRY)
    dumped = config.to_dict()
    assert dumped["codec"] == {"type": "box", "size": 5}
    assert parse_config(dumped, REGISTRY) == config


def test_all_mistakes_are_reported_at_once_with_their_paths():
    wrong = data()
    wrong["codec"] = {"type": "box", "size": 0, "colour": "red"}
    wrong["sources"]["bass"] = {"gain": -1, "prior": {"type": "boxx"}}
    wrong["refiners"][1] = {"type": "other", "size": 1}
    wrong["extra"] = 1
    del wrong["sampler"]
    with pytest.raises(ConfigError) as caught:
        parse_config(wrong, REGISTRY, name="file.toml")
    text = str(caught.value)
    assert "\n" not in text
    for part in [
        "file.toml: ",
        "codec.size: input should be greater than or equal to 1, got 0",
        "codec.colour: unknown field",
        "sources.bass.gain: input should be greater than 0, got -1",
        "sources.bass.prior.type: no prior named 'boxx'; did you mean 'box'?",
        "refiners.1.size: unknown field",
        "extra: unknown field",
        "sampler: required, but missing",
    ]:
        assert part in text, text


@pytest.mark.parametrize(
    "name", ["residual", "mixture", "a/b", "a.b", "", "a\0b", "a\x1b[2J", "a" * 300]
)
def test_source_names_must_do_as_file_names(name):
    wrong = data()
    wrong["sources"][name] = wrong["sources"].pop("bass")
    with pytest.raises(ConfigError, match="cannot be a source"):
        parse_config(wrong, REGISTRY)


def test_a_file_is_read_with_settings_applied(tmp_path):
    import tomli_w

    path = tmp_path / "p.toml"
    path.write_text(tomli_w.dumps(data()))
    settings = ["codec.size=7", "refiners.0.size = 2", "codec.checkpoint=weights.safetensors"]
    config = load_config(path, REGISTRY, settings)
    assert config.codec == BoxConfig(size=7, checkpoint="weights.safetensors")
    assert config.refiners[0] == BoxConfig(size=2)
    assert config.base_dir == tmp_path


def test_missing_and_broken_files(tmp_path):
    with pytest.raises(ConfigError, match="cannot read .*none.toml"):
        load_config(tmp_path / "none.toml", REGISTRY)
    (tmp_path / "broken.toml").write_text("a = [")
    with pytest.raises(ConfigError, match="broken.toml is not a valid TOML file"):
        load_config(tmp_path / "broken.toml", REGISTRY)
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigError, match="latin.toml is not a valid TOML file"):
        load_config(tmp_path / "latin.toml", REGISTRY)


def test_settings_take_toml_values_and_indices():
    tree = {"a": {"b": 1}, "list": [{"c": 1}, 2]}
    for setting in ["a.b=2.5", "a.new.deep=true", "list.0.c=[1, 2]", "list.1='x'", "a.s=plain"]:
        apply_override(tree, setting)
    assert tree == {
        "a": {"b": 2.5, "new": {"deep": True}, "s": "plain"},
        "list": [{"c": [1, 2]}, "x"],
    }


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("novalue", "expected section.key=value"),
        ("=1", "expected section.key=value"),
        ("a..b=1", "expected section.key=value"),
        ("list.2=1", "list of 2"),
        ("list.x=1", "list of 2"),
        ("a.b.c=1", "a.b is not a table"),
    ],
)
def test_settings_that_lead_nowhere_are_refused(setting, words):
    with pytest.raises(ConfigError, match=words):
        apply_override({"a": {"b": 1}, "list": [1, 2]}, setting)


def test_replacing_a_component_takes_its_defaults_unless_it_is_that_type():
    tree = data()
    replace_component(tree, "codec", "box")
    assert tree["codec"] == {"type": "box", "size": 5}
    replace_component(tree, "codec", "other")
    assert tree["codec"] == {"type": "other"}
    replace_component(tree, "sources.drums.prior", "other")
    assert tree["sources"]["drums"] == {"gain": 0.25, "prior": {"type": "other"}}


def test_a_plugins_faulty_settings_are_named_when_they_are_used():
    class FaultyConfig(ComponentConfig):
        type: str = "faulty"
        value: "NoSuchType" = 0  # type: ignore[name-defined]  # noqa: F821

    class Faulty:
        @hookimpl
        def lqsep_components(self):
            yield ComponentSpec(
                kind=Kind.SAMPLER,
                name="faulty",
                config=FaultyConfig,
                factory="nowhere:nothing",
                summary="for tests",
                api_version=1,
            )

    registry = Registry.from_plugins(lqsep=Plugin(), other=Faulty())
    assert registry.problems == ()
    with pytest.raises(ConfigError, match="sampler: the settings of sampler 'faulty' are faulty"):
        parse_config({**data(), "sampler": {"type": "faulty"}}, registry)


@pytest.mark.parametrize(
    "text",
    ["x = " + "[" * 5000, "x = " + "9" * 5000, "x = " + "{a=" * 3000],
    ids=["brackets", "digits", "tables"],
)
def test_toml_that_defeats_the_parser_is_one_line(tmp_path, text):
    path = tmp_path / "pipeline.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="is not a valid TOML file") as caught:
        read_toml(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000])
def test_settings_that_defeat_the_parser_are_one_line(value):
    with pytest.raises(ConfigError, match="cannot read the value") as caught:
        apply_override({}, f"sampler.n={value}")
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("gain", ["inf", "nan", "1e30", "0", "-1"])
def test_absurd_gains_are_refused(gain):
    wrong = data()
    apply_override(wrong, f"sources.drums.gain={gain}")
    with pytest.raises(ConfigError, match="sources.drums.gain"):
        parse_config(wrong, REGISTRY)


def test_another_type_drops_the_fields_of_the_one_before():
    found = data()
    found["sampler"] = {"type": "box", "size": 7}
    # Whatever the order, the other settings are the new component's.
    apply_overrides(found, ["sampler.checkpoint=a", "sampler.type=other"])
    assert found["sampler"] == {"type": "other", "checkpoint": "a"}
    apply_overrides(found, ["sampler.type=lqsep:other", "refiners.0.type=other"])
    assert found["sampler"] == {"type": "lqsep:other", "checkpoint": "a"}  # the same component
    assert found["refiners"][0] == {"type": "other"}


def test_a_setting_that_is_wrong_is_not_the_files_fault(tmp_path):
    import tomli_w

    path = tmp_path / "p.toml"
    path.write_text(tomli_w.dumps(data()))
    with pytest.raises(ConfigError, match=r"p.toml, as changed by sampler.type=boxx: sampler.type"):
        load_config(path, REGISTRY, ["sampler.type=boxx"])
