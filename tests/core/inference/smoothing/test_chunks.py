"""Likelihoods that are computed ahead, in a thread of their own."""

import threading

import pytest
import torch

from lqsep.core.inference.smoothing.chunks import Chunks
from lqsep.core.inference.state import MarkovPosterior


def likelihood(start, stop):
    return torch.arange(start, stop).float()[:, None, None].expand(-1, 2, 3).contiguous()


def markov(log_likelihood, n_frames=50):
    return MarkovPosterior(n_frames, (torch.zeros(2), torch.zeros(3)), (), log_likelihood)


def test_a_chunk_that_is_expected_is_computed_beside_the_caller():
    asked, is_asked, may_answer = [], threading.Event(), threading.Event()

    def slow(start, stop):
        asked.append((start, stop, threading.current_thread()))
        is_asked.set()
        assert may_answer.wait(60)
        return likelihood(start, stop)

    with Chunks(markov(slow), 20) as chunks:
        chunks.expect(2)
        # We are not waiting for it.
        assert is_asked.wait(60)
        may_answer.set()
        assert chunks.chunk(2).values.shape == (10, 2, 3)
        chunks.expect(2)
        chunks.expect(3)  # There is none.
        assert chunks.head(1) is not None and chunks.head(2) is None
    assert [(start, stop) for start, stop, _ in asked] == [(40, 50)]
    assert asked[0][2] is not threading.current_thread()


def test_the_likelihood_is_asked_one_thing_at_a_time():
    busy = threading.Lock()

    def alone(start, stop):
        assert busy.acquire(blocking=False)
        result = likelihood(start, stop)
        busy.release()
        return result

    with Chunks(markov(alone), 20) as chunks:
        for number in range(3):
            chunks.expect(number)
        assert torch.equal(chunks.values(5, 9), likelihood(5, 9))
        assert chunks.chunk(1).values[:, 0, 0].tolist() == list(range(20, 40))


@pytest.mark.parametrize("for_inference", [False, True])
def test_modes_are_the_callers(for_inference):
    found = []

    def noting(start, stop):
        found.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        return likelihood(start, stop)

    with torch.inference_mode(for_inference), torch.set_grad_enabled(False):
        with Chunks(markov(noting), 50) as chunks:
            chunks.chunk(0)
            chunks.values(0, 2)
    assert found == [(for_inference, False)] * 2


def test_an_error_is_the_callers():
    def broken(start, stop):
        raise ZeroDivisionError("here")

    with Chunks(markov(broken), 20) as chunks:
        chunks.expect(0)
        for _ in range(2):
            with pytest.raises(ZeroDivisionError, match="here"):
                chunks.chunk(0)
