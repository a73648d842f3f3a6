import subprocess
import sys

import numpy as np
import pytest
import torch

from lqsep.core.errors import ConfigError, ShapeError
from lqsep.core.plotting.spectrograms import _band_edges, _log_spectrum, plot_spectrograms

matplotlib_image = pytest.importorskip("matplotlib.image")
RATE = 8000


def tone(hz, seconds=1.0):
    return np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)[None].astype("f")


def test_a_picture_is_drawn(tmp_path):
    low, high = tone(200), tone(2000)
    sizes = []
    for references in (None, {"bass": low}):
        path = tmp_path / "spectra.png"
        stems = {"bass": low, "drums": torch.from_numpy(high)}
        assert plot_spectrograms(low + high, stems, RATE, path, references) == path
        assert [p.name for p in tmp_path.iterdir()] == ["spectra.png"]
        image = matplotlib_image.imread(path)
        sizes.append(image.shape[:2])
        assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 100
    # three rows; a second column for the reference
    assert sizes[0][0] == sizes[1][0] and sizes[1][1] > 1.5 * sizes[0][1]


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("hz", [100, 440, 3000])
def test_a_tone_is_where_it_belongs(hz, channels):
    wave = np.tile(tone(hz), (channels, 1))
    spectrum = _log_spectrum(wave, RATE)
    band = int(spectrum.mean(1).argmax())
    edges = _band_edges(RATE)
    resolution = RATE / 4096
    assert edges[band] - resolution <= hz <= edges[band + 1] + resolution
    assert np.allclose(spectrum, _log_spectrum(tone(hz), RATE), rtol=1e-4)


@pytest.mark.parametrize("n_samples", [1, 3000, 1_000_000])
def test_any_length(tmp_path, n_samples):
    wave = torch.randn(1, n_samples)
    assert _log_spectrum(wave, RATE).shape[1] <= 1001
    if n_samples < 10_000:
        plot_spectrograms(wave, {"a": wave}, RATE, tmp_path / "a.png")


def test_silence(tmp_path):
    plot_spectrograms(np.zeros((2, 100)), {"a": np.zeros((2, 100))}, RATE, tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_wrong_shape(tmp_path):
    with pytest.raises(ShapeError, match=r"plotting: expected a wave \(channels, samples\)"):
        plot_spectrograms(np.zeros((1, 0)), {}, RATE, tmp_path / "a.png")


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write .*: File exists"):
        plot_spectrograms(tone(200), {}, RATE, tmp_path / "file" / "a.png")


def test_without_matplotlib(tmp_path, monkeypatch):
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"pip install 'lqsep\[eval\]'"):
        plot_spectrograms(tone(200), {}, RATE, tmp_path / "a.png")


def test_matplotlib_is_imported_on_use_only():
    code = "import sys, lqsep.core.plotting.spectrograms; print('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.stdout == "False\n", done.stderr
