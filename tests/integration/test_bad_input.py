"""``lqsep separate`` on one folder's worth of good, odd and broken files in one run."""

import json

import numpy as np
import pytest
import soundfile

from lqsep.cli.main import run
from lqsep.core.audio.files import audio_info, read_audio

pytestmark = pytest.mark.integration

RATE = 8000
SEGMENT_S = 0.1
TRACK = ["bass.wav", "drums.wav", "lqsep.json"]

# What the one line about a file must say.
BROKEN = {
    "nan.wav": ("sample 10 ", "nan", "expected finite values"),
    "late_nan.wav": ("sample 3900 ", "nan", "expected finite values"),
    "inf.wav": ("sample 10 ", "inf", "expected finite values"),
    "late_inf.wav": ("sample 3900 ", "-inf", "channel 2", "expected finite values"),
    "text.wav": ("not a readable audio file",),
    "empty.wav": ("not a readable audio file",),
    "cut.wav": ("cut short",),
    "cut.flac": ("cut short",),
    "no_samples.wav": ("no samples",),
    "missing.wav": ("no such file",),
}
GOOD = {"silence": 2000, "one_sample": 1, "good": 2000}


def noise(n_samples, channels=1):
    generator = np.random.default_rng(0)
    return (generator.normal(size=(n_samples, channels)) * 0.1).astype(np.float32)


def spoilt(at, value, channel=0):
    """Stereo noise of several segments with one bad value."""
    wave = noise(4000, 2)
    wave[at, channel] = value
    return wave


@pytest.fixture
def folder(tmp_path):
    """Every file of `BROKEN` and `GOOD`, below ``in``."""
    inputs = tmp_path / "in"
    inputs.mkdir()

    def write(name, wave):
        soundfile.write(inputs / name, wave, RATE, subtype="FLOAT")

    write("nan.wav", spoilt(10, np.nan))
    write("late_nan.wav", spoilt(3900, np.nan))
    write("inf.wav", spoilt(10, np.inf))
    write("late_inf.wav", spoilt(3900, -np.inf, channel=1))
    (inputs / "text.wav").write_text("this is no audio")
    (inputs / "empty.wav").touch()
    write("no_samples.wav", np.zeros((0, 1)))
    write("silence.wav", np.zeros((2000, 1)))
    write("one_sample.wav", noise(1))
    write("good.wav", noise(2000))
    (inputs / "cut.wav").write_bytes((inputs / "good.wav").read_bytes()[:1000])
    soundfile.write(inputs / "whole.flac", noise(20000), RATE)
    (inputs / "cut.flac").write_bytes((inputs / "whole.flac").read_bytes()[:20000])
    (inputs / "whole.flac").unlink()
    return tmp_path


def test_broken_files_fail_with_a_line_each_and_the_others_are_done(tiny_model, folder, capsys):
    names = [*BROKEN, *(f"{name}.wav" for name in GOOD)]
    names.sort(key=lambda name: name[::-1])  # good ones among broken ones
    out = folder / "out"
    arguments = ["separate", "-n", str(tiny_model), "-o", str(out), "--device", "cpu", "--json"]
    arguments += ["--segment", str(SEGMENT_S)]
    code = run([*arguments, *(str(folder / "in" / name) for name in names)])
    stdout, stderr = capsys.readouterr()
    assert code == 1, stderr
    assert "Traceback" not in stderr

    *lines, summary = stderr.splitlines()
    assert summary.startswith(f"lqsep: error: {len(BROKEN)} of {len(names)} inputs failed: ")
    assert len(lines) == len(BROKEN)
    for name, words in BROKEN.items():
        (line,) = [line for line in lines if str(folder / "in" / name) in line]
        for word in words:
            assert word in line
        assert name in summary

    document = json.loads(stdout)
    assert document["counts"] == {"done": len(GOOD), "skipped": 0, "failed": len(BROKEN)}
    # Nothing but the good ones' results: no half-written file, no empty folder.
    results = out / tiny_model.name
    found = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert found == sorted(f"{tiny_model.name}/{name}/{file}" for name in GOOD for file in TRACK)
    assert sorted(path.name for path in results.iterdir()) == sorted(GOOD)
    for name, n_samples in GOOD.items():
        for stem in ("drums", "bass"):
            info = audio_info(results / name / f"{stem}.wav")
            assert (info.n_samples, info.sample_rate, info.channels) == (n_samples, RATE, 1)


def test_silence_gives_silent_stems_in_sum(tiny_model, folder):
    """The last refiner makes the stems sum to the mixture: here, to nothing."""
    out = folder / "out"
    path = folder / "in" / "silence.wav"
    arguments = ["-n", str(tiny_model), "-o", str(out), "--device", "cpu", "--float32"]
    assert run(["separate", str(path), *arguments]) == 0
    stems = [
        read_audio(out / tiny_model.name / "silence" / f"{stem}.wav")[0]
        for stem in ("drums", "bass")
    ]
    assert all(np.isfinite(stem).all() for stem in stems)
    assert np.abs(np.sum(stems, 0)).max() < 1e-6  # float32 sums of numbers below 1
