"""The versions that pyproject.toml allows, and those that constraints.txt pins."""

import re
import tomllib
from functools import cache
from importlib.metadata import distribution, version
from pathlib import Path
from typing import Any

import pytest
from lowest_versions import lowest, requirements
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent


@cache
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def published() -> list[Requirement]:
    """Everything that lqsep, its extras and its build ask for."""
    project = pyproject()["project"]
    lines = [*requirements(project, ["dev"]), *pyproject()["build-system"]["requires"]]
    return [Requirement(line) for line in lines]


@cache
def lock() -> dict[str, str]:
    """Versions by normalised name."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("==") for line in lines if not line.startswith("#")]
    assert all(separator and re.fullmatch(r"[\w.]+", pin) for _, separator, pin in pins)
    return {canonicalize_name(name): pin for name, _, pin in pins}


def test_the_lock_has_every_requirement_at_a_version_that_is_allowed() -> None:
    wrong = [
        str(requirement)
        for requirement in published()
        if not requirement.specifier.contains(lock().get(canonicalize_name(requirement.name), "0"))
    ]
    assert wrong == []


def test_the_lock_has_what_the_requirements_ask_for_in_turn() -> None:
    direct = {canonicalize_name(requirement.name) for requirement in published()}
    if any(version(name).partition("+")[0] != lock().get(name) for name in direct):
        pytest.skip("this environment is not the lock's")
    waiting = [Requirement("lqsep[dev]"), *published()]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        extras = ["", *requirement.extras]
        for line in distribution(requirement.name).requires or ():
            needed = Requirement(line)
            if not needed.marker or any(needed.marker.evaluate({"extra": e}) for e in extras):
                waiting.append(needed)
    names = {canonicalize_name(Requirement(line).name) for line in seen}
    assert names - lock().keys() == {"lqsep"}


def test_the_lowest_versions_are_of_every_requirement() -> None:
    project = {
        "name": "own",
        "dependencies": ["torch>=2.6"],
        "optional-dependencies": {
            "a": ["scipy>=1.11"],
            "b": ["own[a,c]", "pytest>=8.2"],
            "c": ["tomli-w>=1.0"],
            "d": ["ruff>=0.6"],
        },
    }
    found = [lowest(line) for line in requirements(project, ["b"])]
    assert sorted(found) == ["pytest==8.2", "scipy==1.11", "tomli-w==1.0", "torch==2.6"]
    assert [lowest(line) for line in requirements(project, [])] == ["torch==2.6"]


@pytest.mark.parametrize("requirement", ["numpy", "numpy<3", "numpy>=1,<3", "numpy>=1; x == 'y'"])
def test_a_requirement_has_a_lowest_version(requirement: str) -> None:
    with pytest.raises(ValueError, match="expected name>=version"):
        lowest(requirement)


def test_every_published_requirement_has_a_lowest_version() -> None:
    assert all(lowest(str(requirement)) for requirement in published())
