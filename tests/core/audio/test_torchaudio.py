"""Each case in an interpreter of its own: an import happens once."""

import subprocess
import sys

import pytest

USE = """
import torch
functional = import_torchaudio().functional
short = functional.resample(torch.ones(1, 800), 2, 1)
assert short.shape == (1, 400)
assert abs(short[0, 200] - 1) < 0.01
print("used")
"""

LOADS = """
import sys, types
# The extension's module as it is where nothing has to be loaded.
extension = types.ModuleType("torchaudio._extension")
extension._IS_TORCHAUDIO_EXT_AVAILABLE = False
extension._IS_ALIGN_AVAILABLE = False
extension.fail_if_no_align = lambda function: function
sys.modules["torchaudio._extension"] = extension
from lqsep.core.audio._torchaudio import import_torchaudio
import_torchaudio()
assert sys.modules["torchaudio._extension"] is extension
"""

FAILS = """
import importlib.abc, importlib.machinery, sys
class Broken(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    tried = 0
    def find_spec(self, name, path=None, target=None):
        if name == "torchaudio._extension":
            return importlib.machinery.ModuleSpec(name, self)
    def exec_module(self, module):
        Broken.tried += 1
        raise OSError("libcudart.so.13: cannot open shared object file")
sys.meta_path.insert(0, Broken())
from lqsep.core.audio._torchaudio import import_torchaudio
import_torchaudio()
assert Broken.tried == 1
import torchaudio
assert torchaudio._extension.__spec__ is None
try:
    torchaudio.functional.forced_align(None, None)
except RuntimeError as error:
    assert "compiled extension" in str(error)
else:
    raise AssertionError("forced_align needs the extension")
"""

MISSING = """
import sys
sys.modules["torchaudio"] = None
from lqsep.core.audio._torchaudio import import_torchaudio
try:
    import_torchaudio()
except ImportError:
    print("used")
"""


def run(code):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=600
    )


@pytest.mark.parametrize("before", [LOADS, FAILS], ids=["loads", "fails"])
def test_resampling_works(before):
    done = run(before + USE)
    assert (done.returncode, done.stdout, done.stderr) == (0, "used\n", "")


def test_a_missing_package_stays_an_import_error():
    done = run(MISSING)
    assert (done.returncode, done.stdout, done.stderr) == (0, "used\n", "")
