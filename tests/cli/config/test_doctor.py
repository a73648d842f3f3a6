"""``lqsep doctor`` says what is installed and what does not work."""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

from lqsep import __version__
from lqsep.cli.config import doctor
from lqsep.cli.main import run


def document(capsys: pytest.CaptureFixture[str], code: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert run(["doctor", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert isinstance(found, dict)
    return found


def test_reports_versions_devices_and_formats(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys)
    assert found["ok"] is True
    assert found["lqsep"] == __version__
    assert found["python"] == platform.python_version()
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["torch"]["version"] == importlib.metadata.version("torch")
    assert all(package["error"] is None for package in packages.values())
    assert found["devices"][0]["name"] == "cpu"
    assert {"wav", "flac", "ogg", "mp3"} <= set(found["audio_formats"])
    assert found["plugins"]["components"][f"lqsep {__version__}"] > 5


def test_the_packages_are_those_of_the_distribution(capsys: pytest.CaptureFixture[str]) -> None:
    required: set[str] = set()
    optional: set[str] = set()
    for line in importlib.metadata.requires("lqsep") or []:
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None:
            required.add(requirement.name)
        elif any(marker.evaluate({"extra": extra}) for extra in ("train", "eval", "formats")):
            optional.add(requirement.name)
    found = document(capsys)
    assert {package["name"] for package in found["packages"]} == required
    uses = {package["name"]: package["for"] for package in found["optional_packages"]}
    assert uses.keys() == optional and "pyyaml" in uses
    # In words of its own or of its extra, and no words for what is not there.
    assert set(uses.values()) <= set(doctor._USES.values())
    assert doctor._USES.keys() <= {
        *uses,
        *importlib.metadata.metadata("lqsep").get_all("Provides-Extra"),
    }


def test_prints_tables_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"lqsep {__version__}, Python {platform.python_version()}")
    assert out.endswith("everything that lqsep needs works\n")
    for word in ("torch", "fluidsynth", "ffmpeg", "cpu", "flac"):
        assert word in out


def test_a_package_that_cannot_be_imported_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "brokenpackage-3.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brokenpackage\nVersion: 3.0\n")
    (tmp_path / "brokenpackage.py").write_text("raise OSError('libmissing.so')")
    monkeypatch.syspath_prepend(tmp_path)
    names = ["click", "brokenpackage", "notinstalledpackage"]
    monkeypatch.setattr(doctor, "requirements", lambda: (names, {}))
    found = document(capsys, code=1)
    assert found["ok"] is False
    packages = {package["name"]: package for package in found["packages"]}
    assert packages["click"]["error"] is None
    assert packages["brokenpackage"]["version"] == "3.0"
    assert packages["brokenpackage"]["error"] == "OSError: libmissing.so"
    assert packages["notinstalledpackage"]["error"] == "not installed"
    assert run(["doctor"]) == 1
    assert "something is wrong" in capsys.readouterr().out


def test_optional_parts_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        doctor, "requirements", lambda: (["click"], {"notinstalledpackage": "tests"})
    )
    monkeypatch.setattr(doctor, "_PROGRAMS", {"no-such-program": ("tests", "--version")})
    found = document(capsys)
    assert found["optional_packages"][0]["version"] is None
    assert found["programs"][0]["path"] is None
    assert run(["doctor"]) == 0
    assert capsys.readouterr().out.count("missing") == 2


def test_a_faulty_plugin_of_others_is_listed_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    info = tmp_path / "lqsep_toy-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lqsep-toy\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[lqsep]\ntoy = no_such_module_at_all\n")
    monkeypatch.syspath_prepend(tmp_path)
    problem = document(capsys)["plugins"]["problems"][0]
    assert (problem["plugin"], problem["distribution"], problem["stage"]) == (
        "toy",
        "lqsep-toy",
        "load",
    )


def test_a_damaged_shipped_model_is_a_failure(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "lqsep.core.store.model_directory.shipped_models", lambda: {"tiny": tiny_model}
    )
    model = document(capsys)["models"][0]
    assert (model["name"], model["error"]) == ("tiny", None)
    (tiny_model / "codec.safetensors").unlink()
    model = document(capsys, code=1)["models"][0]
    assert "codec.safetensors is missing" in model["error"]
