"""Where the figures of a training run go."""

import json
from pathlib import Path

import pytest
import torch

from lqsep.core.errors import ConfigError, LqsepError
from lqsep.core.training.events import say_nothing
from lqsep.core.training.metrics_log import MetricsLog, _start_trackers


def open_log(folder: Path, *, after_step: int = 0, trackers: tuple[str, ...] = ()) -> MetricsLog:
    return MetricsLog(folder, "run", after_step=after_step, report=say_nothing, trackers=trackers)


def test_json_lines_always(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        log.write(1, {"loss": 2.5})
    assert [path.name for path in tmp_path.iterdir()] == ["run.jsonl"]
    assert json.loads((tmp_path / "run.jsonl").read_text()) == {"step": 1, "loss": 2.5}


def test_tensorboard_by_name(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with open_log(tmp_path, trackers=("tensorboard",)) as log:
        log.write(1, {"loss": 2.5})
    assert len(list((tmp_path / "run").iterdir())) == 1


def test_sounds_go_to_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with open_log(tmp_path / "without") as log:
        assert not log.takes_sounds
    with open_log(tmp_path, trackers=("tensorboard",)) as log:
        assert log.takes_sounds
        log.write_sounds(3, {"bass/decoded": 2 * torch.ones(1000)}, 8000)
    (events,) = (tmp_path / "run").iterdir()
    content = events.read_bytes()
    assert b"bass/decoded" in content and b"RIFF" in content
    assert b"\xff\x7f" * 900 in content  # clipped to the largest value of 16 bits


def test_a_resumed_run_replaces_what_came_later(tmp_path: Path) -> None:
    with open_log(tmp_path) as log:
        for step in (1, 2, 3):
            log.write(step, {"loss": float(step)})
    path = tmp_path / "run.jsonl"
    path.write_text(path.read_text() + '{"step": 4, "lo')
    with open_log(tmp_path, after_step=2) as log:
        log.write(3, {"loss": 7.0})
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in found] == [(1, 1.0), (2, 2.0), (3, 7.0)]


def test_trackers_of_accelerate(tmp_path: Path) -> None:
    # The only one that is installed here; by its own name it takes a shorter way.
    pytest.importorskip("accelerate")
    pytest.importorskip("tensorboard")
    (tracker,) = _start_trackers(["tensorboard"], tmp_path, "run")
    with open_log(tmp_path) as log:
        log._trackers = [tracker]
        log.write(1, {"loss": 2.5})
    (events,) = (tmp_path / "run").glob("events*")
    assert b"loss" in events.read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [("tensorbored", "there is no 'tensorbored'.*wandb"), ("clearml", "'clearml' is not inst")],
)
def test_trackers_that_are_not_there(tmp_path: Path, name: str, message: str) -> None:
    pytest.importorskip("accelerate")
    with pytest.raises(ConfigError, match=message):
        open_log(tmp_path, trackers=(name,))


def test_a_full_disk_is_an_error_of_one_line(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    (tmp_path / "run.jsonl").symlink_to("/dev/full")
    with pytest.raises(LqsepError, match=r"cannot write .*run\.jsonl: No space left.*--resume"):
        with open_log(tmp_path) as log:
            log.write(1, {"loss": 2.5})
