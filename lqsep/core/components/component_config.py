"""What the settings of all components are derived from."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class ComponentConfig(BaseModel):
    """Base of every component's configuration: ``type`` names the component, the rest is its own.

    Unknown fields are errors and values are frozen.
    """

    # Deferred: `lqsep components` lists dozens of configurations and validates none of them.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    type: str
