"""The kinds by name; each a function of a random generator, a new folder and the material.

It yields what is wrong, a text each.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.soak.kinds import (
    arrays,
    audio,
    checkpoints,
    configs,
    disk,
    kills,
    midi,
    models,
    plugins,
    slakh,
)
from tests.soak.material import Material

Case = Callable[[random.Random, Path, Material], Iterator[str]]

KINDS: dict[str, Case] = {
    "kills": kills.case,
    "disk": disk.case,
    "audio": audio.case,
    "configs": configs.case,
    "models": models.case,
    "midi": midi.case,
    "slakh": slakh.case,
    "checkpoints": checkpoints.case,
    "plugins": plugins.case,
    "arrays": arrays.case,
}
