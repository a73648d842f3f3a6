"""Freed memory goes back to the system, whatever stays between the pieces."""

import subprocess
import sys
import sysconfig

import pytest

# Large pieces, and behind each of them something small that stays when they are freed. The first
# one is what makes glibc change its ways.
_WORK = """
import resource
import numpy as np
{start}
large = np.ones(30 << 20, np.uint8)
del large
def now():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
before, large, kept = now(), [], []
for _ in range(10):
    large.append(np.ones(17 << 20, np.uint8))
    kept.append(np.ones(1 << 16, np.uint8))
del large
print((now() - before) >> 20)
"""


def grown(start: str) -> int:
    """MB that a process has after the work and had not before."""
    found = subprocess.run(
        [sys.executable, "-c", _WORK.format(start=start)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return int(found.stdout)


@pytest.mark.skipif(
    not (sysconfig.get_config_var("MULTIARCH") or "").endswith("linux-gnu"),
    reason="the setting is glibc's",
)
def test_large_pieces_leave_no_holes() -> None:
    start = "from lqsep.cli.jobs.heap import give_back_what_is_freed as f; f()"
    assert grown("") > 100  # or the work shows nothing
    assert grown(start) < 20
