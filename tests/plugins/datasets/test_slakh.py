import logging
import textwrap

import numpy as np
import pytest
import torch

from lqsep.core.audio.files import AudioReader, write_audio
from lqsep.core.components.assemble import BuildContext, build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import AudioError, ConfigError
from lqsep.plugins.datasets import plugin
from lqsep.plugins.datasets.slakh import SlakhDataset, find_slakh_tracks, slakh_splits
from lqsep.plugins.datasets.slakh_metadata import read_slakh_folder
from lqsep.testing.contracts import DatasetContract

DRUMS = {"inst_class": "Drums", "is_drum": "true", "program_num": 128}
BASS = {"inst_class": "Bass", "is_drum": "false", "program_num": 33}
PIANO = {"inst_class": "Piano", "is_drum": "false", "program_num": 0}
SILENT = {"audio_rendered": "false"}


def entry(*facts, **changes):
    """One stem's metadata; None removes a key."""
    merged = {"audio_rendered": "true", "plugin_name": "some.nkm"}
    for more in (*facts, changes):
        merged |= more
    return {key: value for key, value in merged.items() if value is not None}


def make_track(folder, stems, *, files=None, n_samples=100):
    """Stem ``Sxx`` is the constant ``(xx + 1) / 64``, exact in 16 bits; ``mix.flac`` their sum."""
    (folder / "stems").mkdir(parents=True)
    lines = ["UUID: 1e5", "mix_dir: Track00001/mix.flac", "stems:"]
    for name, facts in stems.items():
        lines.append(f"  {name}:")
        lines += [f"    {key}: {value}" for key, value in facts.items()]
    (folder / "metadata.yaml").write_text("\n".join(lines) + "\n")
    for name in stems if files is None else files:
        if stems.get(name, {}).get("audio_rendered") != "false":
            put(folder / "stems" / f"{name}.flac", (int(name[1:]) + 1) / 64, n_samples)
    put(folder / "mix.flac", 0.5, n_samples)
    return folder


def put(path, value, n_samples=100, rate=44_100):
    write_audio(path, np.full((1, n_samples), value, np.float32), rate)


BAND = {
    "S00": entry(PIANO),
    "S01": entry(DRUMS),
    "S02": entry(BASS, SILENT),
    "S03": entry(BASS),
    "S05": entry(DRUMS),
}


@pytest.fixture
def slakh(tmp_path):
    root = tmp_path / "slakh2100"
    make_track(root / "train" / "Track00002", BAND)
    make_track(root / "train" / "Track00001", BAND)
    make_track(root / "validation" / "Track01501", BAND)
    (root / "README.md").write_text("about")
    (root / "train" / ".Trash").mkdir()
    return root


class TestSlakh(DatasetContract):
    @pytest.fixture(autouse=True)
    def files(self, slakh):
        self.root = slakh

    def make(self):
        return SlakhDataset(find_slakh_tracks(self.root, "train"))


def problems_of(folder, stems, **options):
    return read_slakh_folder(make_track(folder, stems, **options))


def test_stems_are_summed_by_class(slakh):
    registered = Registry.from_plugins(lqsep=plugin).find(Kind.DATASET, "slakh")
    context = BuildContext(
        device=torch.device("cpu"), dtype=torch.float32, sources=(), gains=(), base_dir=slakh.parent
    )
    data = build(registered, registered.spec.config(root="slakh2100", split="train"), context)
    assert [track.name for track in data] == ["Track00001", "Track00002"]
    assert (data.sources, data.problems, data.left_out) == (("drums", "bass"), (), ())
    track = data[0]
    # S01 and S05 are drums, S03 is bass; S02 was not rendered; mix.flac has the piano too
    assert np.array_equal(track.stems["drums"], np.full((1, 100), (2 + 6) / 64, np.float32))
    assert np.array_equal(track.stems["bass"], np.full((1, 100), 4 / 64, np.float32))
    assert track.mixture is None


def test_sums_of_stems_are_not_clipped(tmp_path):
    folder = make_track(tmp_path / "Track00001", {"S00": entry(DRUMS), "S01": entry(DRUMS)})
    for stem in ("S00", "S01"):
        put(folder / "stems" / f"{stem}.flac", 0.75)
    data = SlakhDataset(find_slakh_tracks(tmp_path, sources=["drums"]))
    assert np.array_equal(data[0].stems["drums"], np.full((1, 100), 1.5, np.float32))


def test_only_what_is_asked_for_is_read(slakh, monkeypatch):
    read = []
    original = AudioReader.read
    monkeypatch.setattr(
        AudioReader,
        "read",
        lambda self, a, b: read.append((self.path.name, b - a)) or original(self, a, b),
    )
    data = SlakhDataset(find_slakh_tracks(slakh, "train"))
    assert data.info(0).n_samples == 100
    assert read == []
    part = data.stem(0, "drums", 10, 30)
    assert read == [("S01.flac", 20), ("S05.flac", 20)]
    assert part.stems["drums"].shape == (1, 20)


def test_splits_and_the_flat_form(slakh):
    assert slakh_splits(slakh) == ["train", "validation"]
    assert slakh_splits(slakh / "train") == []
    assert len(find_slakh_tracks(slakh / "train").tracks) == 2
    with pytest.raises(ConfigError, match="no split 'test' in .*; it has train, validation"):
        find_slakh_tracks(slakh, "test")
    with pytest.raises(AudioError, match=r"no tracks found; .* Set the split: train, validation\."):
        find_slakh_tracks(slakh)
    with pytest.raises(ConfigError, match="expected a folder as root"):
        find_slakh_tracks(slakh / "nowhere")


def test_classes_of_a_source(slakh):
    sources = ("rest", "bass")
    found = find_slakh_tracks(slakh, "train", sources, {"rest": ["piano", "Drums"]})
    data = SlakhDataset(found)
    assert data[0].stems["rest"][0, 0] == (1 + 2 + 6) / 64
    assert data.sources == sources


@pytest.mark.parametrize(
    ("sources", "classes", "message"),
    [
        (["voice"], {}, "source 'voice' is no instrument class; name its classes in classes.voice"),
        (["bass", "low"], {"low": ["Bass"]}, "class 'bass' belongs to both bass and low"),
        (["bass"], {"drums": ["Drums"]}, "classes of drums, but the sources are bass"),
        (["low"], {"low": []}, "no classes for low"),
    ],
)
def test_classes_that_cannot_be(slakh, sources, classes, message):
    with pytest.raises(ConfigError, match=message):
        find_slakh_tracks(slakh, "train", sources, classes)


@pytest.mark.parametrize(
    ("facts", "classes", "problems"),
    [
        (entry(BASS), ["bass"], []),
        (entry(BASS, inst_class="BASS"), ["bass"], []),
        (entry(BASS, SILENT), [], []),
        (entry(BASS, is_drum="true"), [], ["S00: inst_class is 'Bass', but is_drum is true"]),
        (entry(DRUMS, is_drum="false"), [], ["S00: inst_class is 'Drums', but is_drum is false"]),
        (entry(BASS, inst_class="Bas"), [], ["S00: unknown inst_class 'Bas'"]),
        (entry(BASS, inst_class=None), ["bass"], ["S00: no inst_class"]),
        (entry(DRUMS, inst_class=None), ["drums"], ["S00: no inst_class"]),
        (
            entry(DRUMS, inst_class=None, is_drum=None),
            ["drums"],
            ["S00: no is_drum", "S00: no inst_class"],
        ),
        (
            entry(inst_class="[1]", is_drum="false", program_num=128),
            [],
            ["S00: no inst_class"],
        ),
        (entry(BASS, is_drum="maybe"), ["bass"], ["S00: is_drum is 'maybe', expected true or"]),
        (entry(BASS, program_num="129"), ["bass"], ["S00: program_num is '129', expected 0 to"]),
        (entry(BASS, program_num="1" * 5000), ["bass"], ["S00: program_num is '1111"]),
        (entry(BASS, program_num=None), ["bass"], ["S00: no program_num"]),
        (entry(BASS, audio_rendered=None), ["bass"], ["S00: no audio_rendered"]),
        (entry(BASS, audio_rendered="{a: b}"), ["bass"], ["S00: audio_rendered is {'a': 'b'}"]),
    ],
)
def test_what_an_entry_says(tmp_path, facts, classes, problems):
    track = problems_of(tmp_path / "Track00001", {"S00": facts})
    assert list(track.classes) == classes
    assert len(track.problems) == len(problems)
    for got, expected in zip(track.problems, problems, strict=True):
        assert got.startswith(expected)


def test_entries_and_files_that_do_not_meet(tmp_path):
    folder = make_track(
        tmp_path / "Track00001",
        {"S00": entry(BASS), "S01": entry(BASS), "S02": entry(DRUMS, SILENT)},
        files=["S01"],
    )
    put(folder / "stems" / "S02.flac", 0)
    put(folder / "stems" / "S09.flac", 0)
    (folder / "stems" / "S10.flac.dur").write_text("1")
    track = read_slakh_folder(folder)
    assert [path.name for path in track.classes["bass"]] == ["S01.flac"]
    assert track.problems == (
        "S00: no audio file in stems/",
        "S02: S02.flac is there, but audio_rendered is false",
        "S09: S09.flac has no entry in metadata.yaml",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"stems: [", "not valid YAML (line 2"),
        (b"\x00\x01", "not valid YAML ("),
        (b"\xff\xfe\x00", "not valid YAML ("),
        (b"", "expected a table 'stems'"),
        (b"- S00", "expected a table 'stems'"),
        (b"stems: S00", "expected a table 'stems'"),
        (b"stems: {}", "expected a table 'stems'"),
        (b"[" * 500_000, "nested more than 16 deep"),
        (b"a: {" * 200_000, "nested more than 16 deep"),
        (b"- " * 200_000, "nested more than 16 deep"),
        (b"[" * 17 + b"]" * 17, "nested more than 16 deep"),
        (b"[" * 16 + b"]" * 17, "not valid YAML (line 1"),
        (b"stems:\n" + b"#" * (1 << 20), "larger than 1 MiB"),
        (b"&a stems: {S00: *b}", "not valid YAML (line 1"),
    ],
)
def test_metadata_that_cannot_be_read(tmp_path, content, problem):
    folder = make_track(tmp_path / "Track00001", {"S00": entry(BASS)})
    (folder / "metadata.yaml").write_bytes(content)
    track = read_slakh_folder(folder)
    assert track.classes == {}
    assert len(track.problems) == 1 and track.problems[0].startswith(f"metadata.yaml: {problem}")


def test_a_bomb_of_references_stays_small(tmp_path):
    folder = make_track(tmp_path / "Track00001", {"S00": entry(BASS)})
    lines = ["a0: &a0 {inst_class: Bass}"]
    lines += [f"a{i}: &a{i} {{<<: [{', '.join(9 * [f'*a{i - 1}'])}]}}" for i in range(1, 30)]
    (folder / "metadata.yaml").write_text("\n".join([*lines, "stems: {S00: *a29}"]))
    assert read_slakh_folder(folder).classes == {}


def test_tags_in_metadata_run_nothing(tmp_path):
    folder = make_track(tmp_path / "Track00001", {"S00": entry(BASS)})
    (folder / "metadata.yaml").write_text(
        textwrap.dedent(
            f"""
            stems:
              S00: {{inst_class: Bass, is_drum: !!bool x, audio_rendered: !!int ""}}
              S01: !!python/object/apply:os.mkdir ["{tmp_path}/made"]
            """
        )
    )
    track = read_slakh_folder(folder)
    assert list(track.classes) == ["bass"]
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("gone", ["metadata.yaml", "stems"])
def test_half_of_a_track_is_missing(slakh, gone):
    (slakh / "train" / "Track00001" / gone).rename(slakh / gone)
    data = SlakhDataset(find_slakh_tracks(slakh, "train"))
    assert (len(data), data.left_out) == (1, ("Track00001",))
    assert {problem.track for problem in data.problems} == {"Track00001"}


def test_two_files_of_one_stem(slakh):
    put(slakh / "train/Track00001/stems/S01.wav", 0)
    data = SlakhDataset(find_slakh_tracks(slakh, "train"))
    assert data.left_out == ("Track00001",)
    assert any("both S01.flac and S01.wav" in problem.text for problem in data.problems)


def test_wrong_and_incomplete_tracks_are_reported_once_and_left_out(slakh, caplog):
    train = slakh / "train"
    for number in (3, 4, 5, 6):
        make_track(train / f"Track{number:05d}", {"S00": entry(DRUMS)})
    make_track(
        train / "Track00007", {"S00": entry(DRUMS, is_drum="no"), "S01": entry(BASS), "S02": {}}
    )
    with caplog.at_level(logging.WARNING, "lqsep"):
        data = SlakhDataset(find_slakh_tracks(slakh, "train"))
    assert len(data) == 2
    assert data.left_out == tuple(f"Track{number:05d}" for number in (3, 4, 5, 6, 7))
    first, second = [record.getMessage() for record in caplog.records]
    assert first.startswith("slakh: Track00007: S00: inst_class is 'Drums', but is_drum is false;")
    assert "S02: expected a table" in first
    assert second == (
        "slakh: left out 5 of 7 tracks, which lack a source: Track00003 has no bass; "
        "Track00004 has no bass; Track00005 has no bass and 2 more"
    )
    assert len(SlakhDataset(find_slakh_tracks(slakh, "train", ["drums"]))) == 6
    with pytest.raises(AudioError, match="none of 7 tracks has organ: .* stem of class 'Organ'"):
        SlakhDataset(find_slakh_tracks(slakh, "train", ["organ"]))


def test_stems_of_different_lengths_and_rates(slakh):
    stems = slakh / "train/Track00001/stems"
    put(stems / "S05.flac", 6 / 64, n_samples=60)
    data = SlakhDataset(find_slakh_tracks(slakh, "train"))
    assert data[0].stems["drums"][0, [59, 60]].tolist() == [8 / 64, 2 / 64]
    put(stems / "S05.flac", 6 / 64, rate=22_050)
    data = SlakhDataset(find_slakh_tracks(slakh, "train"))
    with pytest.raises(AudioError, match="files of track 'Track00001' differ: .*S05.flac 22050"):
        data.info(0)
