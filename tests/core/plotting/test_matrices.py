"""Pictures of joint tables: drawn, whole or not at all, and showing what they should."""

import numpy as np
import pytest
import torch

from lqsep.core.errors import ConfigError
from lqsep.core.inference.step_scores import step_scores
from lqsep.core.plotting import matrices as plotting_matrices
from lqsep.core.plotting.matrices import plot_pairs, plot_step
from lqsep.testing.toys import random_posterior

matplotlib_image = pytest.importorskip("matplotlib.image")


@pytest.fixture
def figures(monkeypatch):
    """The figures as they are saved, to look into."""
    saved = []
    original = plotting_matrices.save_figure

    def save(figure, path):
        saved.append(figure)
        original(figure, path)

    monkeypatch.setattr(plotting_matrices, "save_figure", save)
    return saved


def panel(figure, title):
    (axis,) = [axis for axis in figure.axes if axis.get_title() == title]
    return axis


def n_colours(path):
    image = matplotlib_image.imread(path)
    return len(np.unique(image.reshape(-1, image.shape[2]), axis=0))


@pytest.mark.parametrize("sizes", [(3, 5), (2048, 300)])
def test_a_step(tmp_path, figures, sizes):
    posterior = random_posterior(n_codes=sizes, n_frames=2)
    scores = step_scores(posterior, torch.tensor([[0, 1], [1, 2]]), 1)
    path = tmp_path / "step.png"
    assert plot_step(scores, ("drums", "$bass"), path, time_s=1.5) == path
    assert [p.name for p in tmp_path.iterdir()] == ["step.png"]
    assert n_colours(path) > 100
    axis = panel(figures[0], "log posterior")
    shown = axis.images[0].get_array()
    assert np.allclose(shown, scores.log_posterior)
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("code of drums", "code of $bass")
    # The chosen pair is marked where it is.
    column, row = (float(values[0]) for values in axis.lines[0].get_data())
    assert scores.codes[0][int(row)] == 1 and scores.codes[1][int(column)] == 2
    assert "frame 1, 1.50 s: " in figures[0].get_suptitle()
    assert ("all codes" in figures[0].get_suptitle()) == (sizes == (3, 5))


def test_impossible_pairs_have_no_colour(tmp_path, figures):
    posterior = random_posterior(n_codes=(3, 3))
    posterior.bound.log_likelihood[0, 1, 1] = -torch.inf
    plot_step(
        step_scores(posterior, torch.tensor([[0], [0]]), 0), "ab", tmp_path / "a.png", time_s=0
    )
    mask = panel(figures[0], "log likelihood (unnormalised)").images[0].get_array().mask
    assert mask.sum() == 1 and mask[1, 1]


def test_pairs_are_in_the_order_of_their_marginals(tmp_path, figures):
    probability = torch.tensor([[0.05, 0.0, 0.15], [0.1, 0.2, 0.3], [0.05, 0.05, 0.1]])
    error = torch.arange(9.0).view(3, 3)
    for picks in ((1, 2), None):
        plot_pairs(
            error, error, probability.double().log(), picks, ("a", "b"), tmp_path / "pairs.png",
            numbers=[10, 11, 12], title="pairs",
        )  # fmt: skip
    axis = panel(figures[0], "squared distance to the mixture")
    # Marginals of a: 0.2, 0.6, 0.2 (ties keep their order); of b: 0.2, 0.25, 0.55.
    assert np.array_equal(axis.images[0].get_array(), error[[1, 0, 2]][:, [2, 1, 0]])
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["11", "10", "12"]
    assert [float(values[0]) for values in axis.lines[0].get_data()] == [0, 0]
    assert not panel(figures[1], "squared distance to the mixture").lines


def test_folder_that_cannot_be_made(tmp_path):
    scores = step_scores(random_posterior(), torch.zeros(2, 1, dtype=torch.int64), 0)
    (tmp_path / "nowhere").write_text("a file")
    with pytest.raises(ConfigError, match="cannot write .*: (File exists|Not a directory)"):
        plot_step(scores, "ab", tmp_path / "nowhere" / "a.png", time_s=0)
