import pytest

from lqsep.core.inference.prior_windows import window_start


def windows_by_hand(total, max_frames):
    """Starts as the rule says them: 0, hop, 2 hop, ..., the last moved to end with the sequence."""
    hop = max(1, max_frames // 2)
    starts = [0]
    while starts[-1] + max_frames < total:
        starts.append(min(starts[-1] + hop, total - max_frames))
    return starts


@pytest.mark.parametrize("max_frames", range(1, 9))
@pytest.mark.parametrize("total", [1, 2, 5, 8, 9, 13, 24, 31])
def test_first_window_that_holds_the_position(total, max_frames):
    starts = windows_by_hand(total, max_frames)
    for position in range(total):
        expected = next(start for start in starts if position < start + max_frames)
        assert window_start(position, total, max_frames) == expected


def test_no_limit_no_windows():
    assert window_start(10**6, 10**7, None) == 0


@pytest.mark.parametrize("position", [0, 63])
def test_sequence_of_a_whole_context_has_one_window(position):
    assert window_start(position, 64, 64) == 0


def test_reference_example():
    # A context of 64 and 96 frames: one window, then one from 32 on.
    assert [window_start(p, 96, 64) for p in (0, 63, 64, 95)] == [0, 0, 32, 32]
