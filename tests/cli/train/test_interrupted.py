"""Commands that are stopped between new weights and the model.toml that describes them."""

from pathlib import Path

import pytest

import lqsep.core.store.model_directory as store
from lqsep import Separator
from lqsep.cli.main import run
from lqsep.core.errors import CheckpointError
from lqsep.core.store.model_directory import verify_model


def test_the_message_says_the_cure_and_the_cure_works(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ["sums", str(tiny_model), "-d", "cpu"]
    assert run(command) == 0
    with monkeypatch.context() as patched:
        patched.setattr(store, "update_model_toml", _stopped)
        # Other gains, another table.
        assert run([*command, "--gain", "bass=0.9"]) == 130
    with pytest.raises(CheckpointError, match="another sha256"):
        verify_model(tiny_model)
    with pytest.raises(CheckpointError, match=r"was stopped .* run it again") as caught:
        Separator.from_pretrained(str(tiny_model), device="cpu")
    assert "`sums`" in str(caught.value)
    assert run([*command, "--gain", "bass=0.9"]) == 0
    assert "sums.safetensors" in verify_model(tiny_model)
    Separator.from_pretrained(str(tiny_model), device="cpu")


def _stopped(*args: object, **options: object) -> None:
    raise KeyboardInterrupt
