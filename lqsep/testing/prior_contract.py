"""What every prior must fulfil."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from lqsep.core.interfaces.prior import Prior
from lqsep.testing.comparing import TOLERANCE, assert_close


class PriorContract:
    """A prior: normalised tables, stepping, prompting and selecting agree with each other."""

    n_rows = 3
    n_frames = 7
    """Checked length; cut to the prior's context."""

    @abstractmethod
    def make(self) -> Prior:
        """The prior to check."""

    def codes(self, prior: Prior) -> Tensor:
        """Random codes, ``n_rows`` times at most ``n_frames``."""
        generator = torch.Generator().manual_seed(1)
        n_frames = min(self.n_frames, prior.info.max_frames or self.n_frames)
        size = (self.n_rows, n_frames)
        codes = torch.randint(prior.info.codebook_size, size, generator=generator)
        return codes.to(prior.device)

    def test_info(self) -> None:
        info = self.make().info
        assert info.codebook_size >= 1
        assert info.max_frames is None or info.max_frames >= 1

    def test_tables_are_normalised(self) -> None:
        prior = self.make()
        codes = self.codes(prior)
        for table in run_prior(prior, codes):
            assert table.shape == (self.n_rows, prior.info.codebook_size)
            assert table.is_floating_point() and table.device.type == prior.device.type
            assert not table.isnan().any()
            assert table.logsumexp(1).abs().max() < TOLERANCE

    def test_is_deterministic(self) -> None:
        prior = self.make()
        codes = self.codes(prior)
        assert_close(run_prior(prior, codes), run_prior(prior, codes))

    def test_rows_are_independent(self) -> None:
        prior = self.make()
        codes = self.codes(prior)
        together = run_prior(prior, codes)
        for row in range(self.n_rows):
            assert_close(run_prior(prior, codes[row : row + 1]), together[:, row : row + 1])

    def test_log_prob_equals_steps(self) -> None:
        prior = self.make()
        codes = self.codes(prior)
        stepwise = run_prior(prior, codes).gather(2, codes.T[:, :, None])[:, :, 0].T
        whole = prior.log_prob(codes)
        assert whole.shape == codes.shape
        assert_close(whole, stepwise)

    def test_prompt_equals_steps(self) -> None:
        prior = self.make()
        codes = self.codes(prior)
        stepwise = run_prior(prior, codes)
        for n_prompt in range(codes.shape[1]):
            rest = run_prior(prior, codes[:, n_prompt:], codes[:, :n_prompt])
            assert_close(rest, stepwise[n_prompt:])

    def test_select_equals_running_the_kept_prefixes(self) -> None:
        prior = self.make()
        codes = self.codes(prior)
        n_before = codes.shape[1] // 2
        rows = torch.tensor([2, 0, 0, 1], device=codes.device) % self.n_rows
        kept = codes[rows]
        expected = run_prior(prior, kept)[n_before:]
        for n_prompt in (0, n_before - 1):
            if n_prompt < 0 or n_before < 1:
                continue
            prompt = codes[:, :n_prompt] if n_prompt else None
            state = prior.start(self.n_rows, prompt)
            _, state = prior.step(state, None)
            for frame in range(n_prompt, n_before - 1):
                _, state = prior.step(state, codes[:, frame])
            state = prior.select(state, rows)
            for frame in range(n_before, codes.shape[1]):
                table, state = prior.step(state, kept[:, frame - 1])
                assert_close(table, expected[frame - n_before])

    def test_transition_matrix_equals_steps(self) -> None:
        prior = self.make()
        chain = prior.transition_matrix()
        if chain is None:
            return
        codes = self.codes(prior)
        tables = run_prior(prior, codes)
        assert_close(tables[0], chain[0].expand_as(tables[0]))
        for frame in range(1, codes.shape[1]):
            assert_close(tables[frame], chain[1][codes[:, frame - 1]])


def run_prior(prior: Prior, codes: Tensor, prompt: Tensor | None = None) -> Tensor:
    """Tables ``frames rows codebook_size`` that predict each of the codes, one step at a time."""
    state = prior.start(len(codes), prompt)
    previous, tables = None, []
    for frame in range(codes.shape[1]):
        table, state = prior.step(state, previous)
        tables.append(table.clone())
        previous = codes[:, frame]
    return torch.stack(tables)
