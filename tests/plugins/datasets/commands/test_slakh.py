"""``lqsep data slakh`` as a user calls it."""

import numpy as np
import pytest

from lqsep.cli.main import run
from lqsep.core.audio.files import audio_info, write_audio
from lqsep.plugins.datasets.layouts import find_stem_folders

ENTRY = "  {stem}: {{inst_class: {name}, is_drum: {drum}, program_num: 1, audio_rendered: true}}\n"


def make_track(folder, *classes, value=0.25):
    """Stems of these classes, constant; one second at 44,100 Hz."""
    (folder / "stems").mkdir(parents=True)
    text = "stems:\n"
    for number, name in enumerate(classes):
        text += ENTRY.format(stem=f"S{number:02d}", name=name, drum=str(name == "Drums").lower())
        wave = np.full((1, 44_100), value, np.float32)
        write_audio(folder / "stems" / f"S{number:02d}.flac", wave, 44_100)
    (folder / "metadata.yaml").write_text(text)


@pytest.fixture
def slakh(tmp_path):
    root = tmp_path / "slakh"
    for number, split in [(1, "train"), (2, "train"), (3, "validation"), (4, "omitted")]:
        make_track(root / split / f"Track{number:05d}", "Drums", "Bass", "Drums", "Piano")
    return root


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_writes_the_reference_layout_and_keeps_what_is_there(slakh, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(["data", "slakh", str(slakh), "-o", str(out), "-j", "2"]) == 0
    expected = f"{out}: 3 tracks, 0.00 h of each source (3 written, 0 kept)\n"
    assert tuple(capsys.readouterr()) == (expected, "")
    assert files(out) == [
        "bass/train/Track00001.wav",
        "bass/train/Track00002.wav",
        "bass/validation/Track00003.wav",
        "drums/train/Track00001.wav",
        "drums/train/Track00002.wav",
        "drums/validation/Track00003.wav",
    ]
    info = audio_info(out / "drums/train/Track00001.wav")
    assert (info.sample_rate, info.channels, info.n_samples) == (22_050, 1, 22_050)
    assert info.subtype == "PCM_16"
    assert len(find_stem_folders(out, "train", ["drums", "bass"])) == 2
    assert run(["data", "slakh", str(slakh), "-o", str(out)]) == 0
    assert "(0 written, 3 kept)" in capsys.readouterr().out


def test_what_is_wrong_is_told_and_the_others_are_written(slakh, tmp_path, capsys):
    make_track(slakh / "train/Track00010", "Drums", "Oboe")
    flac = slakh / "train/Track00002/stems/S01.flac"
    flac.write_bytes(flac.read_bytes()[:100])
    assert run(["data", "slakh", str(slakh), "-o", str(tmp_path / "out")]) == 1
    out, err = capsys.readouterr()
    assert out.endswith(
        ": 2 tracks, 0.00 h of each source (2 written, 0 kept, 1 left out, 1 failed)\n"
    )
    warnings = err.splitlines()
    assert warnings[0].startswith(
        "lqsep: warning: slakh: Track00010: S01: unknown inst_class 'Oboe'"
    )
    assert "left out 1 of 3 tracks, which lack a source: Track00010 has no bass" in warnings[1]
    assert warnings[2].startswith("lqsep: error: train/Track00002: ") and str(flac) in warnings[2]
    assert len(warnings) == 3
    assert len(files(tmp_path / "out")) == 4
    assert run(["data", "slakh", str(slakh), "-o", str(tmp_path / "out"), "-q"]) == 1
    assert capsys.readouterr().err.count("warning") == 0


def test_sums_beyond_full_scale(tmp_path, capsys):
    make_track(tmp_path / "in/Track00001", "Drums", "Drums", value=0.75)
    command = ["data", "slakh", str(tmp_path / "in"), "--sources", "drums", "-o"]
    assert run([*command, str(tmp_path / "int")]) == 0
    out, err = capsys.readouterr()
    assert "(1 written, 0 kept, 1 clipped)" in out
    assert "Track00001: drums has 22050 values beyond full scale" in err and "--float32" in err
    assert run([*command, str(tmp_path / "float"), "--float32"]) == 0
    assert capsys.readouterr().err == ""
    # without splits there is no folder of one
    assert audio_info(tmp_path / "float/drums/Track00001.wav").subtype == "FLOAT"


def test_splits_sources_and_classes(slakh, tmp_path):
    out = tmp_path / "out"
    arguments = ["--split", "omitted", "--sources", "keys, bass", "--sample-rate", "16000"]
    arguments += ["--class", "keys=Piano", "--class", "keys=Organ"]
    assert run(["data", "slakh", str(slakh), "-o", str(out), *arguments]) == 0
    assert files(out) == ["bass/omitted/Track00004.wav", "keys/omitted/Track00004.wav"]
    assert audio_info(out / "keys/omitted/Track00004.wav").n_samples == 16_000


@pytest.mark.parametrize(
    ("root", "arguments", "code", "message"),
    [
        ("nowhere", [], 2, "expected a folder as root"),
        (".", [], 1, "no tracks found"),
        ("slakh", ["--split", "x"], 2, "no split 'x'"),
        ("slakh", ["--sources", "voice"], 2, "source 'voice' is no instrument class"),
        ("slakh", ["--sources", ","], 2, "--sources names no source"),
        ("slakh", ["--sources", "organ"], 2, "no track has organ"),
        (
            "slakh",
            ["--sources", "piano", "--class", "piano=Pianoo"],
            2,
            "no track has a stem of class 'pianoo' (piano); did you mean 'Piano'?",
        ),
        ("slakh", ["--sources", "../x", "--class", "../x=Bass"], 2, "the name of a folder"),
        ("slakh", ["--class", "bass"], 2, "is not of the form SOURCE=VALUE"),
        ("slakh", ["--sample-rate", "0"], 2, "1000<=x<=192000"),
        ("slakh", ["-j", "0"], 2, "0 is not in the range"),
    ],
)
def test_mistakes_are_one_line(slakh, tmp_path, root, arguments, code, message, capsys):
    out = tmp_path / "out"
    command = ["data", "slakh", str(tmp_path / root), "-o", str(out), "-q", *arguments]
    assert run(command) == code
    stdout, err = capsys.readouterr()
    assert (stdout, err.count("\n")) == ("", 1) and message in err
    assert not out.exists()


def test_a_class_that_occurs_nowhere_is_told(slakh, tmp_path, capsys):
    """Beside another class of the source, with which it is complete."""
    command = ["data", "slakh", str(slakh), "-o", str(tmp_path / "out"), "--sources", "keys"]
    assert run([*command, "--class", "keys=Piano", "--class", "keys=Orgen"]) == 0
    assert capsys.readouterr().err == (
        f"lqsep: warning: {slakh}: no track has a stem of class 'orgen' (keys); "
        "did you mean 'Organ'?\n"
    )


def test_only_the_omitted_split(slakh, tmp_path, capsys):
    for split in ("train", "validation"):
        (slakh / split).rename(tmp_path / split)
    assert run(["data", "slakh", str(slakh), "-o", str(tmp_path / "out")]) == 2
    assert "choose with --split: omitted" in capsys.readouterr().err


def test_without_pyyaml(slakh, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    assert run(["data", "slakh", str(slakh), "-o", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1 and "pip install 'lqsep[train]'" in err
