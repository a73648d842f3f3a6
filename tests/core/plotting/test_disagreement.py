"""Picture of the disagreement over time: where the curve lies, and that it is drawn whole."""

import numpy as np
import pytest

from lqsep.core.errors import ConfigError
from lqsep.core.plotting import disagreement as plotting_disagreement
from lqsep.core.plotting.disagreement import joined_curve, plot_disagreement
from lqsep.core.separation.report import SegmentReport

matplotlib_image = pytest.importorskip("matplotlib.image")


def segment(start_s, stop_s, **disagreement):
    return SegmentReport(
        start_s=start_s,
        stop_s=stop_s,
        n_frames=10,
        n_candidates=4,
        log_prior={},
        log_likelihood=0.0,
        log_evidence=0.0,
        scores={},
        timings_s={},
        disagreement=disagreement,
    )


def test_segments_are_joined_where_the_next_one_starts():
    segments = [
        segment(0.0, 3.5, a=[0.1, 0.2, 0.3, 0.4]),
        segment(2.5, 5.0, a=[0.5, 0.6, 0.7]),
        segment(5.0, 6.0, a=[0.8, 0.9]),  # a sample more by rounding
    ]
    edges, values = joined_curve(segments, "a")
    assert edges == [0, 1, 2, 2.5, 3.5, 4.5, 5, 6]
    assert values == [0.1, 0.2, 0.3, 0.5, 0.6, 0.7, 0.8]


def test_a_curve_per_source_over_the_whole_time(tmp_path, monkeypatch):
    figures = []
    original = plotting_disagreement.save_figure

    def save(figure, path):
        figures.append(figure)
        original(figure, path)

    monkeypatch.setattr(plotting_disagreement, "save_figure", save)
    segments = [
        segment(0.0, 2.0, drums=[0.0, 1.0], **{"$bass": [0.2, 0.3]}),
        segment(2.0, 2.5, drums=[0.1], **{"$bass": [0.4]}),
    ]
    path = tmp_path / "disagreement.png"
    assert plot_disagreement(segments, path) == path
    assert [p.name for p in tmp_path.iterdir()] == ["disagreement.png"]
    image = matplotlib_image.imread(path)
    assert len(np.unique(image.reshape(-1, image.shape[2]), axis=0)) > 30
    (figure,) = figures
    assert [axis.get_title() for axis in figure.axes] == ["drums", "$bass"]
    # Full agreement is the end of the scale.
    for axis, expected in zip(figure.axes, ([0.001, 1.0, 0.1], [0.2, 0.3, 0.4]), strict=True):
        (curve,) = axis.patches
        assert curve.get_data().values.tolist() == expected
        assert curve.get_data().edges.tolist() == [0, 1, 2, 2.5]
        assert axis.get_xlim() == (0, 2.5)
        low, high = axis.get_ylim()
        assert low < 0.001 and high > 1


@pytest.mark.parametrize("seconds", [1 / 44_100, 36_000])
def test_the_shortest_and_the_longest_input(tmp_path, seconds):
    n_windows = int(np.ceil(seconds))
    plot_disagreement([segment(0.0, seconds, a=[0.5] * n_windows)], tmp_path / "a.png")
    assert (tmp_path / "a.png").exists()


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "nowhere").write_text("a file")
    with pytest.raises(ConfigError, match="cannot write .*: (File exists|Not a directory)"):
        plot_disagreement([segment(0.0, 1.0, a=[0.5])], tmp_path / "nowhere" / "a.png")
