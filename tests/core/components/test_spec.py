"""A component's declaration refuses what could only fail later."""

from typing import Any

import pytest
from pydantic import ValidationError

from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.spec import CommandSpec, ComponentSpec, Kind


class ConstantConfig(ComponentConfig):
    type: str = "constant"
    value: int = 0


def make_spec(**changes: Any) -> ComponentSpec:
    fields: dict[str, Any] = {
        "kind": Kind.PRIOR,
        "name": "constant",
        "config": ConstantConfig,
        "factory": "package.constant:build_prior",
        "summary": "Always predicts one code",
        "api_version": 1,
    }
    return ComponentSpec(**{**fields, **changes})


def test_a_complete_spec_is_accepted() -> None:
    spec = make_spec(trainer="package.train:train_prior", train_config=ConstantConfig)
    assert (spec.kind, spec.name, spec.api_version) == (Kind.PRIOR, "constant", 1)


def test_trainer_is_optional() -> None:
    assert make_spec().trainer is None


@pytest.mark.parametrize("name", ["a", "lq-vae", "vq2", "2-stage"])
def test_names_of_lower_case_letters_digits_and_hyphens(name: str) -> None:
    assert make_spec(name=name).name == name


@pytest.mark.parametrize(
    "name", ["", "LQ-VAE", "lq_vae", "-vae", "vae-", "lq--vae", "dist:name", "lq vae", "ä", 3, None]
)
def test_other_names_are_refused(name: object) -> None:
    with pytest.raises(ValueError, match="component name must be"):
        make_spec(name=name)


@pytest.mark.parametrize("kind", ["prior", "codec", None])
def test_the_kind_is_a_kind_not_its_name(kind: object) -> None:
    with pytest.raises(ValueError, match=r"kind must be a lqsep\.Kind"):
        make_spec(kind=kind)


@pytest.mark.parametrize("version", [True, "1", [1], 1.0, None])
def test_the_api_version_is_an_integer(version: object) -> None:
    with pytest.raises(ValueError, match="api_version must be an integer"):
        make_spec(api_version=version)


@pytest.mark.parametrize("field", ["factory", "trainer"])
@pytest.mark.parametrize(
    "target", ["module", "module:", ":build", "a module:build", "m:b:c", "", make_spec]
)
def test_targets_look_like_module_and_callable(field: str, target: object) -> None:
    with pytest.raises(ValueError, match=f"{field} must look like"):
        make_spec(**{field: target})


def test_a_factory_is_required() -> None:
    with pytest.raises(ValueError, match="factory must look like"):
        make_spec(factory=None)


@pytest.mark.parametrize("config", [dict, ConstantConfig(), None])
def test_the_config_is_a_model_class(config: object) -> None:
    with pytest.raises(ValueError, match="must be a subclass of ComponentConfig"):
        make_spec(config=config)


@pytest.mark.parametrize("summary", ["", "two\nlines"])
def test_the_summary_is_one_line(summary: str) -> None:
    with pytest.raises(ValueError, match="must be one line"):
        make_spec(summary=summary)


def test_configs_refuse_unknown_fields_and_changes() -> None:
    with pytest.raises(ValidationError, match="valeu"):
        ConstantConfig.model_validate({"type": "constant", "valeu": 1})
    config = ConstantConfig(value=2)
    with pytest.raises(ValidationError, match="frozen"):
        config.value = 3  # type: ignore[misc]


# Commands


@pytest.mark.parametrize("path", ["data render", ("data", "render"), " data  render "])
def test_the_path_of_a_command_is_words(path: str | tuple[str, ...]) -> None:
    spec = CommandSpec(path, "package.commands:render", "Render.")
    assert spec.words == ("data", "render")


@pytest.mark.parametrize(
    "path",
    ["", " ", (), ("",), ("data render",), "Data", "data_render", "--help", ["data"], 3, None],
)
def test_other_paths_are_refused(path: Any) -> None:
    with pytest.raises(ValueError, match="path must be"):
        CommandSpec(path, "package.commands:render", "Render.")


@pytest.mark.parametrize("target", ["package.commands", "package:", ":render", "a b:c", 3, None])
def test_other_targets_are_refused(target: Any) -> None:
    with pytest.raises(ValueError, match="target must look like 'module:object'"):
        CommandSpec("data render", target, "Render.")


@pytest.mark.parametrize("summary", ["", "two\nlines", None])
def test_the_summary_of_a_command_is_one_line(summary: Any) -> None:
    with pytest.raises(ValueError, match="summary of 'data render' must be one line"):
        CommandSpec("data render", "package.commands:render", summary)
