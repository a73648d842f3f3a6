"""``lqsep doctor``: what is installed here, what works, what is missing."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import platform
import re
import shutil
import subprocess
from typing import Any

import click

from lqsep.cli.console.tables import print_table
from lqsep.core.errors import LqsepError

# What extras are for, and some of their packages by themselves.
_USES = {
    "train": "training",
    "eval": "evaluation",
    "tensorboard": "training curves",
    "mido": "rendering data from MIDI files",
    "pyyaml": "reading Slakh2100",
    "matplotlib": "plots",
    "av": "formats that libsndfile does not read, such as m4a",
}

# Extras of those who work on lqsep itself.
_OWN_EXTRAS = {"test", "dev"}

_PROGRAMS = {
    "fluidsynth": ("rendering data with a sound font", "--version"),
    "ffmpeg": ("the same where the package av (PyAV) is not installed", "-version"),
}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.pass_context
def doctor(context: click.Context, as_json: bool) -> None:
    """Check this installation: versions, devices, audio formats, plugins and shipped models.

    Exits with 1 when something that lqsep needs does not work, with 0 otherwise; optional parts
    and faulty plugins of others are only listed.
    """
    found = examine(context.find_root().command)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    else:
        _print(found)
    context.exit(0 if found["ok"] else 1)


def examine(root: click.Command) -> dict[str, Any]:
    """Everything that ``lqsep doctor`` reports of the command line ``root``, as plain values."""
    from lqsep import __version__

    required, optional_names = requirements()
    packages = [_package(name) for name in required]
    optional = [
        {**_package(name, do_import=False), "for": use} for name, use in optional_names.items()
    ]
    plugins = _plugins(root)
    models = _models()
    ok = (
        all(p["error"] is None for p in packages)
        and all(m["error"] is None for m in models)
        and not any(p["distribution"] == "lqsep" for p in plugins["problems"])
        and bool(plugins["components"])
    )
    return {
        "ok": ok,
        "lqsep": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": packages,
        "optional_packages": optional,
        "programs": [_program(name, use, flag) for name, (use, flag) in _PROGRAMS.items()],
        "devices": _devices(),
        "audio_formats": _audio_formats(),
        "plugins": plugins,
        "models": models,
    }


def requirements() -> tuple[list[str], dict[str, str]]:
    """Packages that lqsep requires, and those of its extras with what they are for."""
    try:
        lines = importlib.metadata.requires("lqsep") or []
    except importlib.metadata.PackageNotFoundError:  # nor are there any plugins: told with them
        lines = []
    required, optional = [], {}
    for line in lines:
        name = re.split(r"[^\w.-]", line)[0]
        extra = re.search(r"extra *== *[\"'](.+?)[\"']", line)
        if extra is None:
            required.append(name)
        elif extra[1] not in _OWN_EXTRAS:
            optional[name] = _USES.get(name.lower()) or _USES.get(extra[1], extra[1])
    return required, optional


def _package(name: str, *, do_import: bool = True) -> dict[str, Any]:
    """Version of a package, and why it cannot be used."""
    try:
        version: str | None = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return {"name": name, "version": None, "error": "not installed"}
    error = None
    if do_import:
        try:
            if name == "torchaudio":
                from lqsep.core.audio._torchaudio import import_torchaudio

                import_torchaudio()
            else:
                importlib.import_module(name.replace("-", "_"))
        except Exception as problem:  # a broken binary package raises anything
            error = f"{type(problem).__name__}: {problem}"
    return {"name": name, "version": version, "error": error}


def _program(name: str, use: str, flag: str) -> dict[str, Any]:
    path = shutil.which(name)
    version = None
    if path is not None:
        try:
            result = subprocess.run(
                [path, flag], capture_output=True, text=True, timeout=10, errors="replace"
            )
            lines = (result.stdout or result.stderr).strip().splitlines()
            version = lines[0] if lines else None
        except (OSError, subprocess.TimeoutExpired):
            version = None
    return {"name": name, "path": path, "version": version, "for": use}


def _devices() -> list[dict[str, Any]]:
    try:
        import torch
    except Exception:  # reported with the package
        return []
    devices: list[dict[str, Any]] = [
        {"name": "cpu", "detail": f"{torch.get_num_threads()} threads"}
    ]
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        memory = properties.total_memory / 2**30
        devices.append({"name": f"cuda:{index}", "detail": f"{properties.name}, {memory:.1f} GiB"})
    return devices


def _audio_formats() -> list[str]:
    try:
        import soundfile
    except Exception:  # reported with the package
        return []
    formats = [name.lower() for name in soundfile.available_formats()]
    if "MPEG_LAYER_III" in soundfile.available_subtypes():
        formats.append("mp3")
    if "OPUS" in soundfile.available_subtypes("OGG"):
        formats.append("opus")
    return sorted(set(formats))


def _plugins(root: click.Command) -> dict[str, Any]:
    from lqsep.cli.config.shadowed_commands import shadowed_commands
    from lqsep.core.components.registry import Registry

    registry = Registry.discover()
    problems = (*registry.problems, *shadowed_commands(registry, root))
    counts: dict[str, int] = {}
    for component in registry.components():
        provider = f"{component.distribution} {component.version}"
        counts[provider] = counts.get(provider, 0) + 1
    return {
        "components": counts,
        "problems": [
            {"plugin": p.plugin, "distribution": p.distribution, "stage": p.stage, "error": p.error}
            for p in problems
        ],
    }


def _models() -> list[dict[str, Any]]:
    """The shipped models, each checked against its sha256 sums."""
    try:
        from lqsep.core.store.model_directory import shipped_models, verify_model
    except ImportError:  # reported with the package
        return []
    models = []
    for name, directory in shipped_models().items():
        error = None
        try:
            verify_model(directory)
        except LqsepError as problem:
            error = str(problem)
        models.append({"name": name, "directory": str(directory), "error": error})
    return models


def _print(found: dict[str, Any]) -> None:
    click.echo(f"lqsep {found['lqsep']}, Python {found['python']}, {found['platform']}")
    sections: list[tuple[tuple[str, ...], list[tuple[object, ...]]]] = [
        (
            ("package", "version", "state"),
            [(p["name"], p["version"], p["error"] or "ok") for p in found["packages"]],
        ),
        (
            ("optional package", "version", "for"),
            [(p["name"], p["version"] or "missing", p["for"]) for p in found["optional_packages"]],
        ),
        (
            ("optional program", "version", "for"),
            [
                (p["name"], (p["version"] or "found") if p["path"] else "missing", p["for"])
                for p in found["programs"]
            ],
        ),
        (("device", "detail"), [(d["name"], d["detail"]) for d in found["devices"]]),
        (("audio formats",), [(", ".join(found["audio_formats"]),)]),
        (("plugins of", "components"), list(found["plugins"]["components"].items())),
        (
            ("problem with", "distribution", "stage", "error"),
            [
                (p["plugin"], p["distribution"], p["stage"], p["error"])
                for p in found["plugins"]["problems"]
            ],
        ),
        (
            ("shipped model", "state"),
            [(m["name"], m["error"] or "files verified") for m in found["models"]],
        ),
    ]
    for headers, rows in sections:
        if rows:
            click.echo()
            print_table(headers, rows)
    click.echo()
    click.echo(
        "everything that lqsep needs works" if found["ok"] else "something is wrong: see above"
    )
