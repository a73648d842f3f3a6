"""Plugins that end the program, print, or need more memory than there is: one track's fault."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ToyRun
