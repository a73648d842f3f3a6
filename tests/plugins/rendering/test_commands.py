"""``lqsep data render`` as a user calls it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from lqsep.cli.data.group import data
from lqsep.cli.options import GlobalOptions

SMALL_SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


def test_help_names_the_options() -> None:
    result = CliRunner().invoke(data, ["render", "--help"])
    assert result.exit_code == 0
    options = (
        "output tracks soundfont midi modelled hold-out-kits hold-out-programs hold-out-genres"
    )
    for option in (*options.split(), "jobs"):
        assert f"--{option}" in result.output


def test_renders_and_prints_one_line(tmp_path: Path) -> None:
    if not (shutil.which("fluidsynth") and SMALL_SOUNDFONT.is_file()):
        reason = "needs the Debian packages fluidsynth and timgm6mb-soundfont"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    arguments = ["render", "-o", str(tmp_path / "set"), "--tracks", "1", "--validation", "0"]
    arguments += ["--test", "1", "--duration", "1.5", "--mono", "--sample-rate", "16000"]
    arguments += ["--soundfont", str(SMALL_SOUNDFONT), "--hold-out-programs", "38, 39"]
    arguments += ["--modelled", "1", "--hold-out-genres", "soul, latin"]
    result = CliRunner().invoke(data, arguments)
    assert result.exit_code == 0, result.output
    expected = f"{tmp_path / 'set'}: 2 tracks, 3 s of audio (2 rendered, 0 kept)\n"
    assert result.stdout == expected
    assert result.stderr == ""  # progress is for terminals
    assert (tmp_path / "set/test/0000/bass.wav").is_file()
    facts = json.loads((tmp_path / "set/test/0000/track.json").read_text())
    assert facts["genre"] in ("soul", "latin")
    assert facts["bass"]["layers"][0]["soundfont"] == SMALL_SOUNDFONT.name
    facts = json.loads((tmp_path / "set/train/0000/track.json").read_text())
    assert facts["bass"]["layers"][0]["soundfont"] is None
    again = CliRunner().invoke(data, arguments, obj=GlobalOptions(verbosity=-1))
    assert again.stdout == expected.replace("2 rendered, 0 kept", "0 rendered, 2 kept")
    assert again.stderr == ""


@pytest.mark.parametrize("value", ["16;25", "-1", "200"])
def test_lists_of_programs_are_checked(value: str, tmp_path: Path) -> None:
    arguments = ["render", "-o", str(tmp_path), f"--hold-out-kits={value}"]
    result = CliRunner().invoke(data, arguments)
    assert result.exit_code == 2
    assert f"got '{value}'" in result.stderr


def test_importing_the_command_is_light() -> None:
    code = (
        "import sys, lqsep.plugins.rendering.commands;"
        "print({'numpy', 'torch', 'mido'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
