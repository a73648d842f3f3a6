"""Factories and trainers that end the program, fail or print."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from pydantic import BaseModel

from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.component_config import ComponentConfig
from lqsep.core.components.registry import RegisteredComponent, Registry
from lqsep.core.components.spec import ComponentSpec, Kind, hookimpl
from lqsep.core.components.trainers import train
from lqsep.core.errors import PluginError
from lqsep.core.interfaces.calls import who
from lqsep.plugins.selectors.mean import MeanSelector


class Config(ComponentConfig):
    type: str = "toy"
    what: str = "exit"


class Settings(BaseModel):
    pass


class Stop(BaseException):
    """As some frameworks end a program."""


def make(config: Config, *_: object) -> MeanSelector:
    if config.what == "exit":
        sys.exit(0)
    if config.what == "stop":
        raise Stop
    if config.what == "interrupt":
        raise KeyboardInterrupt
    print("printed by the factory")
    return MeanSelector()


@pytest.fixture
def component(monkeypatch: pytest.MonkeyPatch) -> RegisteredComponent:
    monkeypatch.setitem(sys.modules, "toys_of_assemble", SimpleNamespace(make=make))  # type: ignore[arg-type]
    spec = ComponentSpec(
        kind=Kind.SELECTOR,
        name="toy",
        config=Config,
        factory="toys_of_assemble:make",
        trainer="toys_of_assemble:make",
        train_config=Settings,
        summary="Toy",
        api_version=1,
    )
    plugin = SimpleNamespace(lqsep_components=hookimpl(lambda: [spec], specname="lqsep_components"))
    return Registry.from_plugins(toys=plugin).find(Kind.SELECTOR, "toy")


def context() -> BuildContext:
    return BuildContext(
        device=torch.device("cpu"),
        dtype=torch.float32,
        sources=("a", "b"),
        gains=(1.0, 1.0),
        base_dir=Path(),
    )


@pytest.mark.parametrize(("what", "says"), [("exit", r"sys\.exit\(0\)"), ("stop", "Stop")])
def test_no_factory_and_no_trainer_ends_the_program(
    component: RegisteredComponent, what: str, says: str
) -> None:
    config = Config(what=what)
    with pytest.raises(
        PluginError,
        match=f"building selector 'toys:toy' failed: tried to end the program by {says}$",
    ):
        build(component, config, context())
    with pytest.raises(PluginError, match=f"training selector 'toys:toy' failed: .* by {says}$"):
        train(component, config, Settings(), context())  # type: ignore[arg-type]


def test_the_users_interruption_is_no_fault(component: RegisteredComponent) -> None:
    with pytest.raises(KeyboardInterrupt):
        build(component, Config(what="interrupt"), context())


def test_what_is_built_bears_its_name_and_printed_nothing(
    component: RegisteredComponent, capsys: pytest.CaptureFixture[str]
) -> None:
    built = build(component, Config(what="print"), context())
    assert who(built) == "selector 'toys:toy'"
    assert who(MeanSelector()) == "selector lqsep.plugins.selectors.mean.MeanSelector"
    assert capsys.readouterr() == ("", "printed by the factory\n")
