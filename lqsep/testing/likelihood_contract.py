"""What every likelihood must fulfil."""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor

from lqsep.core.interfaces.data import EncodedMixture
from lqsep.core.interfaces.frame_likelihood import FrameLikelihood
from lqsep.core.interfaces.likelihood import Likelihood
from lqsep.testing.comparing import TOLERANCE, assert_close
from lqsep.testing.dense import dense_values


class LikelihoodContract:
    """A likelihood: rows, pairs, sums and bounds of every frame agree with each other.

    Use small codebooks: every pair is listed.
    """

    gains = (0.5, 0.5)
    n_hypotheses = 3

    @abstractmethod
    def make(self) -> Likelihood:
        """The likelihood to check."""

    @abstractmethod
    def make_encoded(self) -> EncodedMixture:
        """A mixture of a few frames that it can be bound to."""

    def history(self, n_codes: tuple[int, ...], n_frames: int, device: torch.device) -> Tensor:
        """Random codes of the frames before."""
        generator = torch.Generator().manual_seed(n_frames)
        shape = (self.n_hypotheses, n_frames)
        codes = [torch.randint(size, shape, generator=generator) for size in n_codes]
        return torch.stack(codes, 1).to(device)

    def test_frames_are_consistent(self) -> None:
        bound = self.make().bind(self.make_encoded(), self.gains)
        encoded = self.make_encoded()
        assert bound.n_frames == encoded.n_frames
        device = encoded.latents.device
        first = bound.at(0, torch.zeros(self.n_hypotheses, 2, 0, dtype=torch.int64, device=device))
        generator = torch.Generator().manual_seed(0)
        for frame in range(bound.n_frames):
            likelihood = bound.at(frame, self.history(first.n_codes, frame, device))
            n_rows = likelihood.n_rows
            assert likelihood.n_codes == first.n_codes and n_rows in (1, self.n_hypotheses)
            dense = dense_values(likelihood, self.n_hypotheses, device)
            assert dense.shape == (self.n_hypotheses, *likelihood.n_codes)
            assert not dense.isnan().any() and (dense < math.inf).all()
            assert (dense.flatten(1).amax(1) > -math.inf).all()
            # Sums in another order may pass a bound by a rounding error.
            slack = 1e-9 * (1 + dense[dense.isfinite()].abs().max())
            assert (dense.flatten(1).amax(1) <= likelihood.upper + slack).all()
            assert (dense.amax(2) <= likelihood.row_upper() + slack).all()
            codes = (dense[0] > -math.inf).nonzero()
            for n in range(self.n_hypotheses):
                rows = torch.full((len(codes),), n, device=device)
                assert_close(likelihood.at(rows, codes), dense[n, codes[:, 0], codes[:, 1]])
            self._check_sums(likelihood, dense, generator)
            self._check_pairs(likelihood, dense)

    def _check_sums(
        self, likelihood: FrameLikelihood, dense: Tensor, generator: torch.Generator
    ) -> None:
        for scale in (1.0, 30.0):
            tables = [
                (torch.randn(len(dense), size, generator=generator) * scale).log_softmax(1)
                for size in likelihood.n_codes
            ]
            log_p0, log_p1 = (table.to(dense.device).double() for table in tables)
            expected = log_p0 + (log_p1[:, None] + dense).logsumexp(2)
            found = log_p0 + likelihood.row_logsum(log_p0, log_p1)
            assert_close(found.logsumexp(1), expected.logsumexp(1))
            distance = (found.softmax(1) - expected.softmax(1)).abs().sum(1) / 2
            assert distance.max() < TOLERANCE

    def _check_pairs(self, likelihood: FrameLikelihood, dense: Tensor) -> None:
        for tau in (0.5, 10.0, 1e6):
            for n in range(likelihood.n_rows):
                i, j, values = likelihood.pairs(n, tau)
                assert likelihood.n_pairs(n, tau) == len(values)
                assert_close(values, dense[n, i, j])
                limit = float(likelihood.upper[n]) - tau
                slack = 1e-9 * (1 + abs(limit))
                listed = torch.zeros_like(dense[n], dtype=torch.bool)
                listed[i, j] = True
                assert int(listed.sum()) == len(values), "a pair is listed twice"
                assert (values >= limit - slack).all()
                missing = dense[n][~listed]
                assert (missing <= limit + slack).all() or (missing == -math.inf).all()

    def test_frames_equal_rows(self) -> None:
        bound = self.make().bind(self.make_encoded(), self.gains)
        listed = bound.frames(0, bound.n_frames)
        if listed is None:
            return
        assert not bound.uses_history
        empty = torch.zeros(1, 2, 0, dtype=torch.int64, device=listed.device)
        n_codes = bound.at(0, empty).n_codes
        assert listed.shape == (bound.n_frames, *n_codes)
        for frame in range(bound.n_frames):
            history = self.history(n_codes, frame, listed.device)
            dense = dense_values(bound.at(frame, history), 1, listed.device)
            assert_close(listed[frame].double(), dense[0])
        middle = bound.n_frames // 2
        assert torch.equal(bound.frames(middle, bound.n_frames), listed[middle:])  # type: ignore[arg-type]

    def test_given_is_a_row_or_a_column_of_the_pairs(self) -> None:
        encoded = self.make_encoded()
        bound, device = self.make().bind(encoded, self.gains), encoded.latents.device
        empty = torch.zeros(1, 2, 0, dtype=torch.int64, device=device)
        codes = self.history(bound.at(0, empty).n_codes, bound.n_frames, device)[0]
        for source in range(2):
            found = bound.given(source, codes)
            if found is None:
                continue
            assert not bound.uses_history
            for frame in range(bound.n_frames):
                dense = dense_values(bound.at(frame, codes[None, :, :frame]), 1, device)[0]
                other = int(codes[1 - source, frame])
                expected = dense[:, other] if source == 0 else dense[other]
                possible = expected > -math.inf
                assert torch.equal(found[frame] > -math.inf, possible)
                values, expected = found[frame].double()[possible], expected[possible]
                # A constant per frame is free.
                assert_close(values + (expected - values).mean(), expected)

    def test_is_deterministic(self) -> None:
        values = []
        for _ in range(2):
            encoded = self.make_encoded()
            bound = self.make().bind(encoded, self.gains)
            empty = torch.zeros(1, 2, 0, dtype=torch.int64, device=encoded.latents.device)
            values.append(dense_values(bound.at(0, empty), 1, encoded.latents.device))
        assert_close(values[0], values[1])
