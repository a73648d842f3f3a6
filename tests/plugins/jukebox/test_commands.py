"""Checkpoints of the reference become a model, and a model its checkpoints, without any loss."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile as sf
import torch

from lqsep import load_model
from lqsep.cli.main import run
from lqsep.core.components.overrides import read_toml
from lqsep.core.store.model_directory import update_model_toml, verify_model
from lqsep.core.store.weights import read_header
from lqsep.plugins.codebook_sum.table import load_table
from lqsep.plugins.jukebox.codec_checkpoint import reference_codec
from lqsep.plugins.jukebox.prior_checkpoint import reference_prior
from lqsep.plugins.lqvae.codec import inference_tensors
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_model as build_codec_model
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model as build_prior_model

# Float32 sums of convolutions and of six layers in another order, as in the tests of the parts.
AUDIO, LOGITS = {"rtol": 1e-5, "atol": 2e-5}, {"rtol": 0, "atol": 1e-5}

RECORDED = {"codec": "lqvae", "prior.drums": "prior_0", "prior.bass": "prior_1"}

Import = Callable[..., int]


@pytest.fixture
def checkpoints(golden: Any) -> dict[str, dict[str, Any]]:
    """The recorded checkpoints, for a test to change."""
    return {name: load(golden.path(f"{file}.pth.tar")) for name, file in RECORDED.items()}


def load(path: Path) -> Any:
    return torch.load(path, weights_only=True, map_location="cpu")


def import_files(folder: Path, output: Path, *options: str, name: str = ".pth.tar") -> int:
    """Import a folder's ``codec``, ``prior.drums`` and ``prior.bass``."""
    codec, drums, bass = (folder / f"{part}{name}" for part in RECORDED)
    priors = ["--prior", f"drums={drums}", "--prior", f"bass={bass}"]
    command = ["models", "import", "jukebox", "--codec", str(codec), *priors]
    return run([*command, *options, "-o", str(output)])


@pytest.fixture
def import_recorded(golden: Any, tmp_path: Path) -> Import:
    """Import the recorded files as they are."""

    def call(output: Path, *options: str) -> int:
        for part, file in RECORDED.items():
            link = tmp_path / f"{part}.pth.tar"
            if not link.exists():
                link.symlink_to(golden.path(f"{file}.pth.tar"))
        return import_files(tmp_path, output, *options)

    return call


@pytest.fixture
def import_changed(checkpoints: Any, tmp_path: Path) -> Import:
    """Import the checkpoints as the test has changed them."""

    def call(output: Path, *options: str, old: bool = False) -> int:
        for name, content in checkpoints.items():
            path = tmp_path / f"{name}.pth.tar"
            torch.save(content, path, _use_new_zipfile_serialization=not old)
        return import_files(tmp_path, output, *options)

    return call


@pytest.fixture
def imported(import_recorded: Import, golden: Any, tmp_path: Path) -> Path:
    """The recorded model with its table of sums."""
    output = tmp_path / "imported"
    assert import_recorded(output, "--sums", str(golden.path("codebook_sums.pt"))) == 0
    return output


def test_the_directory_is_a_model(imported: Path) -> None:
    assert sorted(verify_model(imported)) == [
        "codec.safetensors", "prior.bass.safetensors", "prior.drums.safetensors",
        "sums.safetensors",
    ]  # fmt: skip
    described = read_toml(imported / "model.toml")
    assert described["model"]["licence"] == "not stated"
    origin = described["model"]["imported_from"]
    assert origin["format"] == "jukebox"
    assert origin["priors"]["bass"]["file"] == "prior.bass.pth.tar"
    assert described["likelihood"]["sigma"] == 0.4
    fingerprint = load_model(imported).codec.fingerprint
    for source in ("drums", "bass"):
        header = read_header(imported / f"prior.{source}.safetensors")
        assert header.metadata["codec_fingerprint"] == fingerprint
    assert list(load_model(imported).priors) == ["drums", "bass"]


def test_it_codes_and_predicts_as_recorded(imported: Path, golden: Any) -> None:
    model, codec = load_model(imported), golden.npz("codec")
    wave = torch.from_numpy(codec["audio"])[:, None]
    codes = torch.from_numpy(codec["codes_l2"]).long()
    clear = torch.from_numpy(codec["margin_l2"]) > 1e-4
    assert torch.equal(model.codec.encode(wave)[clear], codes[clear])
    decoded = torch.from_numpy(codec["audio_dec_l2"])
    torch.testing.assert_close(model.codec.decode(codes, 4096)[:, 0], decoded, **AUDIO)
    recorded = golden.npz("prior")
    for index, prior in enumerate(model.priors.values()):
        tokens = torch.from_numpy(recorded[f"tokens_{index}"]).long()
        table = torch.from_numpy(recorded[f"logits_full_{index}"]).log_softmax(-1)
        expected = table.gather(2, tokens[..., None])[..., 0]
        torch.testing.assert_close(prior.log_prob(tokens), expected, **LOGITS)


def test_it_separates(imported: Path, golden: Any, tmp_path: Path) -> None:
    sf.write(tmp_path / "mix.wav", golden.npz("codec")["audio"][2], 22050)
    arguments = ["-n", str(imported), "--candidates", "2", "-o", str(tmp_path / "out")]
    assert run(["separate", str(tmp_path / "mix.wav"), *arguments, "-d", "cpu"]) == 0
    for source in ("drums", "bass"):
        stem, rate = sf.read(tmp_path / "out" / "imported" / "mix" / f"{source}.wav")
        assert (len(stem), rate) == (4096, 22050)
        assert np.abs(stem).max() > 0


def assert_same_checkpoint(found: Any, expected: Any) -> None:
    """Settings, names, their order, and every bit of the weights."""
    # The original loads what it finds under "opt" into its optimiser: nothing may stand there.
    assert list(found) == ["hps", "model", "step"]
    assert list(found["hps"].items()) == list(expected["hps"].items())
    assert found["step"] == expected["step"]
    assert list(found["model"]) == list(expected["model"])
    for name, tensor in expected["model"].items():
        assert found["model"][name].dtype == tensor.dtype
        assert torch.equal(found["model"][name], tensor), name


def test_an_export_is_what_was_imported(
    imported: Path,
    golden: Any,
    checkpoints: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    capsys.readouterr()
    out = tmp_path / "exported"
    assert run(["models", "export", "jukebox", str(imported), "-o", str(out)]) == 0
    files = [*(f"{name}.pth.tar" for name in RECORDED), "codebook_sums.pt"]
    assert capsys.readouterr().out.split() == [str(out / file) for file in files]
    assert sorted(os.listdir(out)) == sorted(files)
    for name, expected in checkpoints.items():
        assert_same_checkpoint(load(out / f"{name}.pth.tar"), expected)
    table = load(golden.path("codebook_sums.pt"))
    assert torch.equal(load(out / "codebook_sums.pt"), table)
    assert load(out / "codebook_sums.pt").dtype == torch.int64


def test_an_import_is_what_was_exported(tmp_path: Path, tiny_transformer: Path) -> None:
    """A model trained by lqsep itself, without the settings of any checkpoint."""
    out, back = tmp_path / "exported", tmp_path / "back"
    assert run(["models", "export", "jukebox", str(tiny_transformer), "-o", str(out)]) == 0
    assert import_files(out, back) == 0
    first, second = load_model(tiny_transformer), load_model(back)
    assert first.codec.fingerprint == second.codec.fingerprint
    assert first.config.codec == second.config.codec
    for source, prior in first.priors.items():
        expected, found = prior.model.state_dict(), second.priors[source].model.state_dict()
        assert list(found) == list(expected)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    again = tmp_path / "again"
    assert run(["models", "export", "jukebox", str(back), "-o", str(again)]) == 0
    for name in RECORDED:
        expected = load(out / f"{name}.pth.tar")
        assert_same_checkpoint(load(again / f"{name}.pth.tar"), expected)


def test_other_levels_and_the_largest_codebook(tmp_path: Path) -> None:
    """Two levels, 8192 codes: twice as many as the reference can sample from."""
    settings = LQVAEConfig(
        downs_t=(1, 2), strides_t=(4, 2), multipliers=(1, 2), width=2, depth=1,
        embedding_dim=3, codebook_size=8192,
    )  # fmt: skip
    codec = build_codec_model(settings)
    books = [torch.randn(8192, 3) for _ in range(2)]
    for level, book in enumerate(books):
        codec.quantizer(level).start(book)
    prior = TransformerConfig(width=8, depth=1, heads=1, max_frames=16, attention="dense")
    hps, state = reference_codec(settings, inference_tensors(codec), {})
    torch.save({"hps": hps, "model": state}, tmp_path / "codec.pth.tar")
    networks = build_prior_model(prior, books[-1])
    for part in ("prior.drums", "prior.bass"):
        hps, state = reference_prior(prior, networks.state_dict(), books, {})
        torch.save({"hps": hps, "model": state}, tmp_path / f"{part}.pth.tar")
    assert import_files(tmp_path, tmp_path / "out") == 0
    model = load_model(tmp_path / "out")
    assert model.codec.info.hop_length == 16
    assert torch.equal(model.codec.embed(torch.arange(8192)[None])[0], books[-1])
    assert model.priors["bass"].info.codebook_size == 8192


@pytest.fixture(scope="module")
def tiny_transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lqsep.testing.models import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("models") / "tiny-transformer")


# What a file may hold


def test_numpy_scalars_wrappers_and_the_old_format(
    import_changed: Import, checkpoints: Any, imported: Path, tmp_path: Path
) -> None:
    for checkpoint in checkpoints.values():
        checkpoint["hps"]["bandwidth"] = {"l2": np.float64(0.25), "l1": np.float32(0.5)}
        model = checkpoint["model"]
        checkpoint["model"] = {f"module.{name}": tensor for name, tensor in model.items()}
    for name in RECORDED:
        (tmp_path / f"{name}.pth.tar").unlink()
    assert import_changed(tmp_path / "out", old=True) == 0
    assert load_model(tmp_path / "out").codec.fingerprint == load_model(imported).codec.fingerprint
    assert run(["models", "export", "jukebox", str(tmp_path / "out"), "-o", f"{tmp_path}/ex"]) == 0
    assert load(tmp_path / "ex" / "codec.pth.tar")["hps"]["bandwidth"] == {"l2": 0.25, "l1": 0.5}


@pytest.mark.parametrize("halved", ["matrices of priors", "priors", "all"])
def test_half_precision(
    halved: str, import_changed: Import, checkpoints: Any, tmp_path: Path
) -> None:
    for part, checkpoint in checkpoints.items():
        if part == "codec" and halved != "all":
            continue
        checkpoint["model"] = {
            name: t.half() if name.endswith(".w") or halved != "matrices of priors" else t
            for name, t in checkpoint["model"].items()
        }
    assert import_changed(tmp_path / "out") == 0
    assert run(["models", "export", "jukebox", str(tmp_path / "out"), "-o", f"{tmp_path}/ex"]) == 0
    for part, checkpoint in checkpoints.items():
        found = load(tmp_path / "ex" / f"{part}.pth.tar")["model"]
        assert {tensor.dtype for tensor in found.values()} == {torch.float32}
        for name, tensor in checkpoint["model"].items():
            if "bottleneck" not in name or halved == "all":
                assert torch.equal(found[name], tensor.float())


# Orientation


def test_unequal_gains(
    import_recorded: Import, golden: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows of the table are codes of the first source, its gain the first one."""
    sums = ["--sums", str(golden.path("codebook_sums_a37.pt"))]
    good, wrong = tmp_path / "good", tmp_path / "wrong"
    assert import_recorded(good, *sums, "--gain", "drums=0.3", "--gain", "bass=0.7") == 0
    assert capsys.readouterr().out == f"{good}\n"
    stored = load_table(good / "sums.safetensors")
    assert stored.gains == (0.3, 0.7) == load_model(good).config.gains
    table = golden.npz("codebook_sums")["sums_a37"]
    assert np.array_equal(stored.table.numpy(), table)
    assert import_recorded(wrong, *sums, "--gain", "drums=0.7", "--gain", "bass=0.3") == 3
    message = capsys.readouterr().err
    assert "the gains the other way round" in message
    assert "give --gain drums=0.3 --gain bass=0.7" in message
    assert import_recorded(wrong, *sums) == 3
    assert "does not fit the codec at gains drums=0.5 and bass=0.5" in capsys.readouterr().err
    assert not wrong.exists()


# Mistakes


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("lqsep: error: ")
    return line


class Runs:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


@pytest.mark.parametrize("part", RECORDED)
def test_a_crafted_checkpoint_runs_nothing(
    part: str,
    import_changed: Import,
    checkpoints: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoints[part]["hps"]["name"] = Runs(tmp_path / "ran")
    assert import_changed(tmp_path / "out") == 3
    assert f"{part}.pth.tar is refused, and nothing in it was run" in one_line(capsys)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".*")) == []


def test_a_crafted_table_runs_nothing(
    import_recorded: Import, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save(Runs(tmp_path / "ran"), tmp_path / "t.pt")
    assert import_recorded(tmp_path / "out", "--sums", str(tmp_path / "t.pt")) == 3
    assert "nothing in it was run" in one_line(capsys)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("level", [0, 2])
def test_a_prior_of_another_codec_is_refused(
    level: int,
    import_changed: Import,
    checkpoints: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The reference loads its codebooks over the codec's and goes on."""
    codebook = checkpoints["prior.bass"]["model"][f"prior.bottleneck.level_blocks.{level}.k"]
    codebook[5, 3] = torch.nextafter(codebook[5, 3], torch.tensor(9.0))
    assert import_changed(tmp_path / "out") == 3
    line = one_line(capsys)
    assert "prior.bass.pth.tar was trained on another codec than" in line
    assert f"the codebook of level {level}" in line
    assert not (tmp_path / "out").exists()


def test_swapped_damaged_and_missing_files(
    golden: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    codec, drums, bass = (str(golden.path(f"{file}.pth.tar")) for file in RECORDED.values())
    cut = tmp_path / "cut.pth.tar"
    cut.write_bytes(Path(bass).read_bytes()[:200_000])
    for files, message in (
        ((drums, drums, bass), "is a prior's checkpoint, expected a codec's"),
        ((codec, codec, bass), "is a codec's checkpoint, expected a prior's"),
        ((codec, drums, str(cut)), "cut.pth.tar is not a readable checkpoint"),
        ((codec, drums, str(golden.path("codec.npz"))), "is not a readable checkpoint"),
        ((codec, drums, str(golden.path("codebook_sums.pt"))), "is not a checkpoint: expected a"),
        ((codec, drums, str(tmp_path / "none")), "no checkpoint at"),
    ):
        command = ["models", "import", "jukebox", "--codec", files[0]]
        command += ["--prior", f"drums={files[1]}", "--prior", f"bass={files[2]}"]
        assert run([*command, "-o", str(tmp_path / "out")]) == 3
        assert message in one_line(capsys)
        assert [path.name for path in tmp_path.iterdir()] == ["cut.pth.tar"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--prior", "piano=x"], "expected the priors of 2 sources, got 3 (drums, bass, piano)"),
        (["--gain", "drum=0.3"], "no source named 'drum'; did you mean 'drums'?"),
        (["--gain", "drums=0"], "expected a number above 0"),
        (["-d", "gpu", "--sums", "x"], "no checkpoint at x"),
    ],
)
def test_wrong_options(
    options: list[str],
    message: str,
    import_recorded: Import,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert import_recorded(tmp_path / "out", *options) == (3 if "--sums" in options else 2)
    assert message in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_the_sample_rate_where_the_settings_lack_it(
    import_changed: Import,
    checkpoints: Any,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    del checkpoints["codec"]["hps"]["sr"]
    assert import_changed(tmp_path / "out") == 3
    assert "its settings lack 'sr', the sample rate; give it with --sample-rate" in one_line(capsys)
    assert import_changed(tmp_path / "out", "--sample-rate", "16000") == 0
    assert load_model(tmp_path / "out").codec.info.sample_rate == 16000
    checkpoints["codec"]["hps"]["sr"] = 22050
    capsys.readouterr()
    assert import_changed(tmp_path / "other", "--sample-rate", "16000") == 3
    assert "its settings have sr = 22050, but --sample-rate is 16000" in one_line(capsys)
    assert not (tmp_path / "other").exists()
    assert import_changed(tmp_path / "other", "--sample-rate", "22050") == 0


@pytest.mark.parametrize("names", [("drums",), ("drums", "drums"), ("drums", "a/../b")])
def test_wrong_sources(
    names: tuple[str, ...], golden: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [golden.path(f"{RECORDED[part]}.pth.tar") for part in RECORDED]
    command = ["models", "import", "jukebox", "--codec", str(files[0])]
    for name, file in zip(names, files[1:], strict=False):
        command += ["--prior", f"{name}={file}"]
    assert run([*command, "-o", str(tmp_path / "out")]) == 2
    line = one_line(capsys)
    assert "2 sources" in line or "'a/../b' cannot be a source" in line
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_stays(
    imported: Path, import_recorded: Import, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    before = {path.name: path.read_bytes() for path in imported.iterdir()}
    assert import_recorded(imported) == 3
    assert "already holds files" in one_line(capsys)
    assert run(["models", "export", "jukebox", str(imported), "-o", str(imported)]) == 3
    assert "already holds files" in one_line(capsys)
    assert {path.name: path.read_bytes() for path in imported.iterdir()} == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codec": {"type": "spectral-vq"}}, "has the codec 'lq-vae' only, the model's is 'spec"),
        ({"sources.drums.prior": {"type": "ngram"}}, "the prior of 'drums' is 'ngram'"),
        ({"sources.piano.prior": {"type": "ngram"}}, "knows 2 sources, the model has 3 (drums,"),
    ],
)
def test_models_of_other_parts_are_not_exported(
    changes: dict[str, Any],
    message: str,
    tiny_transformer: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = Path(shutil.copytree(tiny_transformer, tmp_path / "model"))
    update_model_toml(model, changes=changes)
    assert run(["models", "export", "jukebox", str(model), "-o", str(tmp_path / "out")]) == 2
    assert message in one_line(capsys)
    assert not (tmp_path / "out").exists()


def test_an_unknown_model_is_not_exported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["models", "export", "jukebox", "no-such-model", "-o", str(tmp_path / "out")]) == 3
    assert "no model named 'no-such-model'" in one_line(capsys)
