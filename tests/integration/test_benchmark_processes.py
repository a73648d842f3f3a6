"""What the benchmarks of whole commands share: turns, figures of a process, ratios."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import _processes  # type: ignore[import-not-found]

    return _processes


def python(processes: ModuleType, program: str, **environment: str):  # type: ignore[no-untyped-def]
    return processes.Command((sys.executable, "-c", program), environment)


def test_every_way_has_its_turn_in_every_round(processes: ModuleType) -> None:
    order = []

    def run(way: str, number: int) -> dict[str, float]:
        order.append((number, way))
        return dict.fromkeys(processes.FIGURES, float(len(order)))

    found = processes.run_in_turn(["a", "b", "c"], 4, run)
    assert "".join(way for _, way in order) == "abcbcacababc"
    assert [number for number, _ in order] == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert [one["seconds"] for one in found["a"]] == [1, 6, 8, 10]


def test_medians_and_ratios(processes: ModuleType) -> None:
    runs = {
        "ours": [(2.0, 3.0, 100), (4.0, 1.0, 300), (9.0, 2.0, 200)],
        "other": [(8.0, 1.0, 100), (6.0, 1.0, 100)],
    }
    figures = {
        way: [dict(zip(processes.FIGURES, one, strict=True)) for one in found]
        for way, found in runs.items()
    }
    found = processes.medians(figures)
    assert found["ours"]["n"] == 3 and found["other"]["n"] == 2
    assert [found["ours"][name] for name in processes.FIGURES] == [4, 2, 200]
    assert found["other"]["runs"] == figures["other"]
    ratio = processes.times_of(found, "ours")
    assert [ratio["other"][name] for name in processes.FIGURES] == [7 / 4, 1 / 2, 1 / 2]
    assert set(ratio["ours"].values()) == {1}


def test_a_process_is_measured_alone(processes: ModuleType) -> None:
    """Not the process that measures, which is larger, nor its start."""
    held = bytearray(300_000_000)
    found = processes.measured(python(processes, "import time; time.sleep(0.2)"), 1)
    assert 0.2 <= found["seconds"] < 20
    assert 0 < found["processor_seconds"] < found["seconds"]
    assert 1e6 < found["peak_memory_bytes"] < len(held) / 2
    large = processes.measured(python(processes, "b'x' * 200_000_000"), 1)
    assert large["peak_memory_bytes"] > found["peak_memory_bytes"] + 150e6


def test_threads_environment_and_folder(processes: ModuleType, tmp_path: Path) -> None:
    program = "import os, pathlib; pathlib.Path('said').write_text(os.environ['WORD'] + ' ' + "
    program += "os.environ['OMP_NUM_THREADS'])"
    processes.measured(python(processes, program, WORD="a b"), 3, tmp_path)
    assert (tmp_path / "said").read_text() == "a b 3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((sys.executable, "-c", "print('on'); raise SystemExit('why')"), "exit code 1: why"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "exit code 3: without a word"),
        (("no-such-program",), "No such file or directory: 'no-such-program'"),
    ],
)
def test_a_command_that_fails(processes: ModuleType, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(processes.CommandError, match=message) as raised:
        processes.measured(processes.Command(words), 1)
    assert "\n" not in str(raised.value)
