"""``lqsep sums``: the table is right, is found again, and model.toml describes it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep import load_model
from lqsep.cli.main import run
from lqsep.core.audio.files import write_audio
from lqsep.core.components.assemble import build
from lqsep.core.components.overrides import read_toml
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.store.model_directory import update_model_toml, verify_model
from lqsep.plugins.codebook_sum.likelihood import CodebookSumLikelihood
from lqsep.plugins.codebook_sum.table import build_sum_table, load_table


def codebook(model: Path) -> torch.Tensor:
    return load_model(model).codec.embed(torch.arange(16)[None])[0]


def likelihood(model: Path) -> CodebookSumLikelihood:
    loaded = load_model(model)
    registered = Registry.discover().find(Kind.LIKELIHOOD, "codebook-sum")
    return build(registered, loaded.config.likelihood, loaded.context)


def test_the_table_is_stored_and_used(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["sums", str(tiny_model)]) == 0
    assert capsys.readouterr().out == f"{tiny_model / 'sums.safetensors'}\n"
    stored = load_table(tiny_model / "sums.safetensors")
    assert stored.gains == (0.5, 0.5)
    assert stored.codec_fingerprint == load_model(tiny_model).codec.fingerprint
    assert torch.equal(stored.table, build_sum_table(codebook(tiny_model), (0.5, 0.5)))

    described = read_toml(tiny_model / "model.toml")
    assert described["likelihood"] == {"type": "codebook-sum", "table": "sums.safetensors"}
    assert "gain" not in described["sources"]["drums"], "nothing else is changed"
    assert described["model"]["licence"] == "CC0-1.0"
    assert "sums.safetensors" in verify_model(tiny_model)

    built = likelihood(tiny_model)
    monkeypatch.setattr("lqsep.plugins.codebook_sum.likelihood.build_sum_table", None)
    mixture = load_model(tiny_model).codec.analyse(torch.zeros(1, 1, 100))
    built.bind(mixture, (0.5, 0.5))


def test_new_gains_are_the_models_own_from_then_on(tiny_model: Path) -> None:
    assert run(["sums", str(tiny_model)]) == 0
    assert run(["sums", str(tiny_model), "--gain", "bass=0.3", "--gain", "drums=0.7"]) == 0
    stored = load_table(tiny_model / "sums.safetensors")
    assert stored.gains == (0.7, 0.3)
    assert torch.equal(stored.table, build_sum_table(codebook(tiny_model), (0.7, 0.3)))
    assert load_model(tiny_model).config.gains == (0.7, 0.3)
    verify_model(tiny_model)
    mixture = load_model(tiny_model).codec.analyse(torch.zeros(1, 1, 100))
    assert not likelihood(tiny_model).bind(mixture, load_model(tiny_model).config.gains).warnings


def test_priors_are_not_needed(tiny_model: Path) -> None:
    (tiny_model / "prior.bass.safetensors").unlink()
    assert run(["sums", str(tiny_model)]) == 0


def test_a_table_of_another_codec_is_replaced(tiny_model: Path) -> None:
    """A table that no longer fits does not keep the command from making the right one."""
    assert run(["sums", str(tiny_model)]) == 0
    (tiny_model / "sums.safetensors").write_bytes(b"damaged")
    assert run(["sums", str(tiny_model)]) == 0
    verify_model(tiny_model)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--gain", "drum=0.3"], 2, "no source named 'drum'; did you mean 'drums'?"),
        (["--gain", "drums=0"], 2, "expected a number above 0"),
        (["-d", "gpu"], 2, "unknown device 'gpu'"),
    ],
)
def test_wrong_options(
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert run(["sums", str(tiny_model), *arguments]) == code
    assert message in capsys.readouterr().err
    assert not (tiny_model / "sums.safetensors").exists()


def test_wrong_models(
    tiny_model: Path, toy_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["sums", str(tmp_path / "none")]) == 3
    assert "no model.toml in" in capsys.readouterr().err
    assert run(["sums", str(toy_model)]) == 2
    assert "likelihood 'adding' reads no table" in capsys.readouterr().err
    update_model_toml(tiny_model, changes={"sources.piano.prior.type": "ngram"})
    (tiny_model / "codec.safetensors").unlink()
    assert run(["sums", str(tiny_model)]) == 2
    stderr = capsys.readouterr().err
    assert "model.toml: separation works on 2 sources, got 3" in stderr
    assert "another likelihood" not in stderr and stderr.count("\n") == 1


def test_a_changed_codec_is_refused(tiny_model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny_model / "codec.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert run(["sums", str(tiny_model)]) == 3
    assert "is not the file its model.toml describes" in capsys.readouterr().err


def test_another_likelihood_finds_the_table(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["sums", str(tiny_model)]) == 0
    monkeypatch.setattr("lqsep.plugins.codebook_sum.likelihood.build_sum_table", None)
    write_audio(tmp_path / "mix.wav", np.zeros((1, 800), np.float32), 8000)
    arguments = ["-n", str(tiny_model), "--likelihood", "delta", "-o", str(tmp_path / "out")]
    assert run(["separate", str(tmp_path / "mix.wav"), *arguments]) == 0
    report = json.loads((tmp_path / "out" / "tiny" / "mix" / "lqsep.json").read_text())
    assert report["config"]["likelihood"] == {"type": "delta", "mass": 0.9999}


@pytest.mark.parametrize("likelihood", ["codebook-sum", "delta"])
def test_a_table_of_other_gains_is_told_once(
    tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], likelihood: str
) -> None:
    """In the report, in the document and on stderr, however many segments there are."""
    assert run(["sums", str(tiny_model)]) == 0
    capsys.readouterr()
    write_audio(tmp_path / "mix.wav", np.zeros((1, 4000), np.float32), 8000)
    arguments = ["--gain", "drums=0.3", "--likelihood", likelihood, "-o", str(tmp_path / "out")]
    command = ["separate", str(tmp_path / "mix.wav"), "-n", str(tiny_model), *arguments]
    assert run([*command, "--json"]) == 0
    found = capsys.readouterr()
    (warning,) = json.loads(found.out)["tracks"][0]["warnings"]
    assert "is for gains 0.5 and 0.5 and was computed again for 0.3 and 0.5" in warning
    assert found.err.count("computed again") == 1
    report = json.loads((tmp_path / "out" / "tiny" / "mix" / "lqsep.json").read_text())
    assert len(report["segments"]) > 1
    assert [f"mix: {text}" for text in report["warnings"]] == [warning]


def test_the_table_cannot_be_written(
    tiny_model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told before anything is computed."""
    monkeypatch.setattr("lqsep.plugins.codebook_sum.table.build_sum_table", None)
    path = tiny_model / "sums.safetensors"
    path.mkdir()
    assert run(["sums", str(tiny_model)]) == 2
    assert capsys.readouterr().err == f"lqsep: error: cannot write {path}: Is a directory\n"
