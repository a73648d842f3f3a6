"""Tasks are done alike here and in worker processes."""

import importlib
import os
import sys
import textwrap

import pytest

from lqsep.cli.jobs.run import run_tasks
from lqsep.cli.options import GlobalOptions
from lqsep.cli.pipeline.changes import PipelineSource
from lqsep.core.errors import ConfigError, LqsepError

# Workers import what they unpickle.
MODULE = """
    import os
    from dataclasses import dataclass

    from lqsep.cli.jobs.setup import WorkerSetup
    from lqsep.core.errors import ConfigError


    @dataclass(frozen=True)
    class Squares(WorkerSetup):
        '''Squares of numbers; 7 cannot be squared, nor anything else after it.'''

        started: str = ""

        def start(self):
            with open(self.started, "a") as file:
                file.write(f"{os.getpid()}\\n")

            def work(task, report):
                if task == 7:
                    raise ConfigError("7 is not for squaring")
                report(task, 10)
                return task, task**2, os.getpid()

            return work

        def failed(self, task, error):
            return task, error, None
    """


@pytest.fixture
def squares(tmp_path, monkeypatch):
    (tmp_path / "squares_for_jobs.py").write_text(textwrap.dedent(MODULE))
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("squares_for_jobs")
    pipeline = PipelineSource({}, tmp_path, "nowhere", "none")
    yield module.Squares(pipeline, "cpu", GlobalOptions(), str(tmp_path / "started"))
    del sys.modules["squares_for_jobs"]


def done(setup, tasks, jobs):
    results, progress = [], []
    run_tasks(tasks, jobs, setup, lambda *call: progress.append(call), results.append)
    return results, progress


@pytest.mark.parametrize("jobs", [1, 2, 5])
def test_results_do_not_depend_on_the_jobs(squares, jobs, tmp_path):
    results, progress = done(squares, [1, 2, 3], jobs)
    assert sorted(result[:2] for result in results) == [(1, 1), (2, 4), (3, 9)]
    here = {pid == os.getpid() for _, _, pid in results}
    assert here == {jobs == 1}
    assert {(task, task, 10) for task, *_ in progress} == set(progress) != set()
    assert len((tmp_path / "started").read_text().split()) == min(jobs, 3)


def test_a_single_task_is_done_here_and_none_loads_nothing(squares, tmp_path):
    assert done(squares, [], 4) == ([], [])
    assert not (tmp_path / "started").exists()
    assert done(squares, [3], 4) == ([(3, 9, os.getpid())], [(3, 3, 10)])


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_wrong_with_the_pipeline_ends_all(squares, jobs):
    with pytest.raises(LqsepError, match="7 is not for squaring") as caught:
        done(squares, [7, 7, 7], jobs)
    assert caught.value.exit_code == ConfigError.exit_code
