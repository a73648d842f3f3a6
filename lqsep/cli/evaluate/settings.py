"""``evaluation.json``: what a folder's results were made with, so that others never join them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.cli.evaluate.run import EXAMPLES, ITEMS
from lqsep.core.errors import ConfigError

if TYPE_CHECKING:
    from lqsep.core.components.config import PipelineConfig
    from lqsep.core.components.registry import Registry
    from lqsep.core.evaluation.baselines_of import Baselines

SETTINGS_FILE = "evaluation.json"
TABLE_FILE = "summary.md"
SUMMARY_FILES = ("summary.csv", TABLE_FILE, "report.html")
SCHEMA_VERSION = 2

# What was found by computing, not chosen: kept, not compared.
_FITTED = "fitted_baselines"

# So many differences are named in an error.
_SHOWN = 4


def read_settings(out: Path) -> dict[str, Any] | None:
    """The settings of the results in a folder; None where there are no results.

    Raises:
        ConfigError: There are results, but no settings that can be read.
    """
    path = out / SETTINGS_FILE
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if next((out / ITEMS).glob("*.json"), None) is None:
            return None
        raise ConfigError(
            f"{out} holds results but no {SETTINGS_FILE}: nothing tells how they were made; "
            "choose another folder with --out"
        ) from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}; choose another folder") from error
    if not isinstance(settings, dict):
        raise ConfigError(f"{path} holds no settings; choose another folder with --out")
    return settings


def pipeline_settings(config: PipelineConfig, device: str, registry: Registry) -> dict[str, Any]:
    """What decides the stems: codec, configuration, kind of device, versions."""
    from lqsep.core.separation.report import versions
    from lqsep.core.store.model_directory import build_codec

    context = build_codec(config, registry, device)
    assert context.codec is not None
    values = config.to_dict()
    return {
        "codec_fingerprint": context.codec.fingerprint,
        "device": context.device.type,
        "config": {key: values[key] for key in values if key not in {"data", "train"}},
        "versions": versions(),
    }


def check_same(found: Mapping[str, Any], wanted: Mapping[str, Any], out: Path) -> None:
    """Refuse a folder whose results were made otherwise.

    Raises:
        ConfigError: Says which settings differ.
    """
    there, here = dict(_leaves(found)), dict(_leaves(wanted))
    differences = [
        f"{key} is {_text(there, key)} there and {_text(here, key)} here"
        for key in dict.fromkeys([*here, *there])
        if there.get(key) != here.get(key)
    ]
    if not differences:
        return
    shown = "; ".join(differences[:_SHOWN])
    if len(differences) > _SHOWN:
        shown += f"; and {len(differences) - _SHOWN} more"
    raise ConfigError(
        f"{out} holds results of other settings: {shown}; choose another folder with --out, or "
        "delete them and start over with --force"
    )


def delete_results(out: Path) -> None:
    """Delete what an earlier run of ``lqsep evaluate`` wrote into a folder, and nothing else."""
    if not (out / SETTINGS_FILE).is_file():
        return
    for folder in (ITEMS, EXAMPLES):
        shutil.rmtree(out / folder, ignore_errors=True)
    # Last: should this be interrupted, the folder still tells what it holds.
    for name in (*SUMMARY_FILES, SETTINGS_FILE):
        (out / name).unlink(missing_ok=True)


def with_baselines(settings: Mapping[str, Any], baselines: Baselines | None) -> dict[str, Any]:
    """The settings and what was fitted to the data, for further items to be scored alike."""
    from dataclasses import asdict

    return {**settings, _FITTED: asdict(baselines) if baselines is not None else None}


def known_baselines(settings: Mapping[str, Any] | None) -> Baselines | None:
    """What `with_baselines` kept."""
    from lqsep.core.evaluation.baselines import HpssSetting
    from lqsep.core.evaluation.baselines_of import Baselines

    fitted = (settings or {}).get(_FITTED)
    if fitted is None:
        return None
    hpss = fitted["hpss"]
    return Baselines(HpssSetting(**hpss) if hpss is not None else None, tuple(fitted["notes"]))


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path == _FITTED:
        return
    if isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value


def _text(leaves: Mapping[str, Any], key: str) -> str:
    return json.dumps(leaves[key]) if key in leaves else "not set"
