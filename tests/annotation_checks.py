"""Shapes and kinds of arrays are checked while the tests run, as their annotations say.

By ``--jaxtyping-packages=PACKAGES,annotation_checks.check``. Other annotations are for mypy: at run
time wrong arguments are for the code itself to refuse, which the tests look at.
"""

from collections.abc import Callable
from typing import Any

from beartype import BeartypeConf, beartype
from beartype.roar import BeartypeDecorHintException

_ARRAYS = ("[Tensor,", "[np.ndarray,", "[numpy.ndarray,", "[ndarray,")

# Whole numbers are taken where floats are asked for, as everywhere in Python (PEP 484).
_CONF = BeartypeConf(is_pep484_tower=True)


def check(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, with its arrays checked whenever it is called."""
    annotations = getattr(function, "__annotations__", {})
    arrays = {name: hint for name, hint in annotations.items() if _is_of_arrays(hint)}
    if not arrays:
        return function
    function.__annotations__ = arrays
    try:
        return beartype(function, conf=_CONF)
    except BeartypeDecorHintException:
        # It says something of a class, which a function alone does not know.
        function.__annotations__ = annotations
        return function


def _is_of_arrays(hint: Any) -> bool:
    text = hint if isinstance(hint, str) else repr(hint)
    return any(word in text for word in _ARRAYS)
