"""Public names: ``__all__`` is sorted, and everything in it can be imported."""

import importlib
import pkgutil

import pytest

import lqsep


def modules() -> list[str]:
    return [
        module.name
        for module in pkgutil.walk_packages(lqsep.__path__, "lqsep.")
        if module.name != "lqsep.__main__"
    ]


def test_the_exported_names_are_sorted() -> None:
    assert lqsep.__all__ == sorted(lqsep.__all__)


@pytest.mark.parametrize("name", lqsep.__all__)
def test_every_exported_name_can_be_imported(name: str) -> None:
    assert getattr(lqsep, name) is not None
    assert name in dir(lqsep)


def test_every_lazy_name_is_exported() -> None:
    assert {*lqsep._LAZY, "__version__"} == set(lqsep.__all__)


def test_plugin_authors_have_every_interface_and_its_facts() -> None:
    """Whatever the interfaces name in their signatures, but for what is private to a module."""
    for kind in lqsep.Kind:
        module = importlib.import_module(f"lqsep.core.interfaces.{kind}")
        classes = [name for name, value in vars(module).items() if isinstance(value, type)]
        own = [name for name in classes if getattr(module, name).__module__ == module.__name__]
        assert own and set(own) <= set(lqsep.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'separator'"):
        lqsep.separator  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", modules())
def test_every_module_can_be_imported_and_keeps_its_promise(name: str) -> None:
    module = importlib.import_module(name)
    for exported in getattr(module, "__all__", ()):
        assert hasattr(module, exported), f"{name}.__all__ names {exported}"


def test_a_star_import_gives_exactly_the_exported_names() -> None:
    names: dict[str, object] = {}
    exec("from lqsep import *", names)
    assert set(names) - {"__builtins__"} == set(lqsep.__all__)
