"""What the settings of all components are derived from, and how a prior's file is called."""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict


class ComponentConfig(BaseModel):
    """Base of every component's configuration: ``type`` names the component, the rest is its own.

    Unknown fields, infinities and NaN are errors, and values are frozen. Bound the sizes: a
    configuration with absurd ones is then refused before anything is built.
    """

    # Deferred: `lqsep components` lists dozens of configurations and validates none of them.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)

    type: str


def prior_file(source: str) -> str:
    """The weights file of a source's prior, where a configuration names none."""
    return f"prior.{source}.safetensors"


def is_plain_name(name: str) -> bool:
    """Whether weights of this name lie in the model directory itself and are no description."""
    plain = name == os.path.basename(name) and name not in {"", ".", ".."} and "\0" not in name
    return plain and not name.endswith(".toml")
