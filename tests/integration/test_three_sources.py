"""Three sources are refused for now: one clear line, before anything is loaded or computed."""

import numpy as np
import pytest

from lqsep import Registry, Separator, load_config
from lqsep.cli.main import run
from lqsep.core.audio.files import write_audio
from lqsep.core.errors import IncompatibleComponentsError

pytestmark = pytest.mark.integration

PIPELINE = """
version = 1

[codec]
type = "lq-vae"
checkpoint = "codec.safetensors"

[sources.drums]
prior = { type = "ngram" }

[sources.bass]
prior = { type = "ngram" }

[sources.piano]
prior = { type = "ngram" }

[likelihood]
type = "codebook-sum"

[sampler]
type = "ancestral"

[selector]
type = "mean"
"""

SAYS = "separation works on 2 sources, got 3 (drums, bass, piano)"


@pytest.fixture
def config(tmp_path):
    """No weights beside it: a message about them would show that they were looked for."""
    path = tmp_path / "trio.toml"
    path.write_text(PIPELINE)
    return path


@pytest.mark.parametrize("command", ["separate", "evaluate", "config check"])
def test_command_line(config, command, tmp_path, capsys):
    write_audio(tmp_path / "mix.wav", np.zeros((1, 8000), np.float32), 8000)
    arguments = ["config", "check", str(config)]
    if command == "separate":
        arguments = ["separate", str(tmp_path / "mix.wav"), "--config", str(config)]
        arguments += ["-o", str(tmp_path / "out")]
    if command == "evaluate":
        arguments = ["evaluate", str(tmp_path), "--config", str(config), "--protocol", "si-sdr"]
        arguments += ["-o", str(tmp_path / "out")]
    assert run(arguments) == 2
    stderr = capsys.readouterr().err
    assert stderr.count("\n") == 1 and SAYS in stderr and str(config) in stderr
    assert not (tmp_path / "out").exists()


def test_export(config, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["models", "export", "jukebox", str(config), "-o", str(out)]) == 2
    stderr = capsys.readouterr().err
    assert "LQVAE-separation knows 2 sources, the model has 3 (drums, bass, piano)" in stderr
    assert stderr.count("\n") == 1 and not out.exists()


def test_python(config):
    registry = Registry.discover()
    with pytest.raises(IncompatibleComponentsError, match="trio: separation works on 2 sources"):
        Separator.from_pretrained(config, registry=registry, device="cpu")
    with pytest.raises(IncompatibleComponentsError, match="got 3"):
        Separator.from_config(load_config(config, registry), registry=registry, device="cpu")
    with pytest.raises(IncompatibleComponentsError, match="got 1"):
        Separator(
            codec=None, priors={"drums": None}, likelihood=None, sampler=None, selector=None,
            gains=(1.0,),
        )  # fmt: skip
