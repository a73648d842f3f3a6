"""torchaudio, also where its compiled extension does not load.

torchaudio's wheels are linked against CUDA and fail to import beside a CPU-only torch, although
nothing that lqsep uses (resampling, spectra) needs the extension. When the plain import fails, a
stand-in for the module that loads the extension says that there is none, and the rest of
torchaudio is imported as usual.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any


def import_torchaudio() -> Any:
    """The torchaudio package, with a stand-in for its extension where that does not load."""
    try:
        return importlib.import_module("torchaudio")
    except OSError:
        pass
    forget_torchaudio()
    extension = ModuleType("torchaudio._extension")
    extension._IS_TORCHAUDIO_EXT_AVAILABLE = False  # type: ignore[attr-defined]
    extension._IS_ALIGN_AVAILABLE = False  # type: ignore[attr-defined]
    extension.fail_if_no_align = _without_extension  # type: ignore[attr-defined]
    sys.modules["torchaudio._extension"] = extension
    return importlib.import_module("torchaudio")


def forget_torchaudio() -> None:
    """Drop every half-imported torchaudio module."""
    for name in [n for n in sys.modules if n == "torchaudio" or n.startswith("torchaudio.")]:
        del sys.modules[name]


def _without_extension(function: Any) -> Any:
    """Decorator in place of torchaudio's: forced alignment needs the compiled extension."""

    def unavailable(*args: object, **kwargs: object) -> None:
        raise RuntimeError("this torchaudio function needs its compiled extension")

    return unavailable
