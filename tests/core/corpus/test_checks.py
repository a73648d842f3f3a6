import numpy as np
import pytest

from lqsep.core.audio.files import write_audio
from lqsep.core.corpus.checks import (
    CLIPPED_RUN,
    SILENT_RMS,
    DataFile,
    DataListing,
    DataProblem,
    check_data,
    examine_file,
)
from lqsep.core.errors import AudioError

NOISE = np.random.default_rng(0)
# Blocks of `AudioReader.blocks`.
BLOCK = 1 << 16


def noise(n_samples=1000, channels=1):
    return (0.1 * NOISE.standard_normal((channels, n_samples))).astype(np.float32)


def put(path, wave, rate=22_050, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, wave, rate, **options)
    return path


def check(root, *names, problems=(), **options):
    """Check files named ``split/track/source.ext``."""
    files = []
    for name in names:
        split, track, file = name.split("/")
        files.append(DataFile(split, track, file.partition(".")[0], root / name))
    listing = DataListing(root, "track-folders", ("drums", "bass"), tuple(files), tuple(problems))
    return check_data(listing, **options)


def kinds(report):
    return [(problem.level, problem.kind, problem.where) for problem in report.problems]


def test_facts_of_a_file(tmp_path):
    wave = np.array([[0.5, -0.75], [0.25, 0.0]], np.float32)
    facts = examine_file(put(tmp_path / "a.wav", wave, 8000))
    assert (facts.sample_rate, facts.channels, facts.n_samples) == (8000, 2, 2)
    assert facts.peak == 0.75
    assert facts.rms == pytest.approx(((0.25 + 0.5625 + 0.0625) / 4) ** 0.5, rel=1e-12)
    assert not facts.is_silent and facts.n_clipped == 0


def test_the_digest_is_of_the_sound(tmp_path):
    wave = noise(100_000, 2)
    first = examine_file(put(tmp_path / "a.wav", wave))
    assert examine_file(put(tmp_path / "b.flac", wave)).digest == first.digest
    wave[1, -1] += 0.01
    assert examine_file(put(tmp_path / "c.wav", wave)).digest != first.digest


@pytest.mark.parametrize(("level", "is_silent"), [(0.9, True), (1.1, False)])
def test_the_threshold_of_silence(tmp_path, level, is_silent):
    wave = np.full((1, 100), level * SILENT_RMS, np.float32)
    assert examine_file(put(tmp_path / "a.wav", wave, subtype="FLOAT")).is_silent == is_silent


@pytest.mark.parametrize(
    ("runs", "n_clipped"),  # each run by its first sample and its length
    [
        ([(100, CLIPPED_RUN - 1)], 0),
        ([(100, CLIPPED_RUN)], 1),
        ([(0, CLIPPED_RUN), (50, 3), (60, 100)], 2),
        ([(BLOCK - 2, CLIPPED_RUN)], 1),  # over the border of two blocks
        ([(BLOCK - 2, CLIPPED_RUN - 1)], 0),
        ([(BLOCK - CLIPPED_RUN, CLIPPED_RUN)], 1),  # up to the border
        ([(BLOCK, CLIPPED_RUN)], 1),
        ([(BLOCK - 10, BLOCK + 20)], 1),  # a whole block
        ([(2 * BLOCK + 100 - CLIPPED_RUN, CLIPPED_RUN)], 1),  # the last samples
    ],
)
def test_clipped_peaks_are_counted_once(tmp_path, runs, n_clipped):
    wave = noise(2 * BLOCK + 100, 2)
    for start, length in runs:
        wave[1, start : start + length] = -1.0 if start % 3 else 1.0
    assert examine_file(put(tmp_path / "a.wav", wave)).n_clipped == n_clipped
    assert examine_file(put(tmp_path / "b.wav", wave, subtype="FLOAT")).n_clipped == n_clipped


def test_a_sine_that_touches_full_scale_is_not_clipped(tmp_path):
    wave = np.sin(2 * np.pi * 40 * np.arange(44_100) / 44_100)[None].astype(np.float32)
    assert examine_file(put(tmp_path / "a.wav", wave, 44_100)).n_clipped == 0
    assert examine_file(put(tmp_path / "b.wav", 1.1 * wave, 44_100)).n_clipped == 80


def test_an_empty_file_is_an_error(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    with pytest.raises(AudioError, match="not a readable audio file"):
        examine_file(tmp_path / "a.wav")


def test_groups(tmp_path):
    names = []
    for split, track, rate in [("train", "a", 8000), ("train", "b", 16_000), ("test", "c", 8000)]:
        for source in ("drums", "bass"):
            names.append(f"{split}/{track}/{source}.wav")
            put(tmp_path / names[-1], noise(rate * 9), rate)
    seen = []
    report = check(tmp_path, *names, jobs=3, on_file=lambda done, total: seen.append((done, total)))
    assert seen == [(number, 6) for number in range(1, 7)]
    assert (report.problems, report.n_tracks) == ((), 3)
    first = report.groups[0]
    assert (first.split, first.source, first.n_files) == ("train", "drums", 2)
    assert first.hours == 18 / 3600
    assert (first.sample_rates, first.channels) == ((8000, 16_000), (1,))
    assert [(group.split, group.source) for group in report.groups[1:]] == [
        ("train", "bass"),
        ("test", "drums"),
        ("test", "bass"),
    ]


def test_unreadable_files_do_not_stop_the_check(tmp_path):
    names = [f"train/{track}/drums.wav" for track in "abcde"]
    for name in names:
        put(tmp_path / name, noise(), subtype="FLOAT")
    (tmp_path / names[0]).write_text("this is text")
    cut = (tmp_path / names[1]).read_bytes()[:1000]
    (tmp_path / names[1]).write_bytes(cut)
    content = bytearray((tmp_path / names[2]).read_bytes())
    content[-4:] = np.float32(np.inf).tobytes()
    (tmp_path / names[2]).write_bytes(content)
    (tmp_path / names[3]).unlink()
    report = check(tmp_path, *names)
    assert kinds(report) == [("error", "unreadable", name) for name in names[:4]]
    texts = [problem.text for problem in report.problems]
    for text, expected in zip(
        texts, ["not a readable", "cut short", "is inf", "no such file"], strict=True
    ):
        assert expected in text and str(tmp_path) not in text
    assert (report.groups[0].n_files, report.groups[0].n_unreadable) == (5, 4)
    assert report.groups[0].hours == pytest.approx(1000 / 22_050 / 3600)


def test_silent_and_clipped_files_are_warnings(tmp_path):
    put(tmp_path / "train/a/drums.wav", np.zeros((1, 50), np.float32))
    put(tmp_path / "train/b/drums.wav", np.zeros((1, 50), np.float32))
    put(tmp_path / "train/c/drums.wav", np.ones((1, 50), np.float32))
    report = check(tmp_path, *(f"train/{track}/drums.wav" for track in "abc"))
    # two silent files are alike, but no copies of each other
    assert kinds(report) == [
        ("warning", "silent", "train/a/drums.wav"),
        ("warning", "silent", "train/b/drums.wav"),
        ("warning", "clipped", "train/c/drums.wav"),
    ]
    assert (report.groups[0].n_silent, report.groups[0].n_clipped, report.n_errors) == (2, 1, 0)


def test_differences_within_a_track(tmp_path):
    put(tmp_path / "train/a/drums.wav", noise())
    put(tmp_path / "train/a/bass.wav", noise(), 44_100)
    put(tmp_path / "train/b/drums.wav", noise())
    put(tmp_path / "train/b/bass.wav", noise(channels=2))
    put(tmp_path / "train/c/drums.wav", noise(22_050))
    put(tmp_path / "train/c/bass.wav", noise(11_025))
    put(tmp_path / "test/c/bass.wav", noise())  # another track of that name
    names = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.wav"))]
    report = check(tmp_path, *names)
    assert kinds(report) == [
        ("error", "form", "train/a"),
        ("error", "form", "train/b"),
        ("warning", "length", "train/c"),
    ]
    assert "bass has 44100 Hz, 1 channels; drums has 22050 Hz" in report.problems[0].text
    assert "bass has 0.500 s, drums 1.000 s" in report.problems[2].text


def test_copies_within_a_split_and_leaks_between_splits(tmp_path):
    one, other = noise(), noise()
    put(tmp_path / "train/a/drums.wav", one)
    put(tmp_path / "train/b/drums.wav", one)
    put(tmp_path / "train/c/drums.wav", other)
    put(tmp_path / "test/d/drums.flac", other)
    put(tmp_path / "test/e/drums.flac", noise())
    names = [path.relative_to(tmp_path).as_posix() for path in sorted(tmp_path.rglob("*.*"))]
    report = check(tmp_path, *names)
    assert kinds(report) == [
        ("error", "leak", "test/d/drums.flac"),
        ("warning", "copy", "train/a/drums.wav"),
    ]
    assert report.problems[0].text == "the same audio as train/c/drums.wav, in another split"
    assert report.problems[1].text == "the same audio as train/b/drums.wav"


def test_what_the_names_told_is_kept_and_errors_come_first(tmp_path):
    put(tmp_path / "train/a/drums.wav", np.zeros((1, 50), np.float32))
    known = [
        DataProblem("warning", "stray", "x.wav", "not where it should be"),
        DataProblem("error", "incomplete", "train/a", "no bass"),
    ]
    report = check(tmp_path, "train/a/drums.wav", problems=known)
    assert [problem.kind for problem in report.problems] == ["incomplete", "stray", "silent"]
    assert str(report.problems[0]) == "error: train/a: no bass"
    data = report.to_dict()
    assert (data["n_tracks"], data["n_errors"], data["n_warnings"]) == (1, 1, 2)
    assert data["groups"][0]["sample_rates"] == (22_050,)
    assert data["problems"][0] == {
        "level": "error",
        "kind": "incomplete",
        "where": "train/a",
        "text": "no bass",
    }
