"""The posterior over joint code sequences: priors and likelihood together, frame by frame.

`lqsep.core.inference.frame_distribution` draws and searches among the joint codes of one frame;
here the hypotheses, their scores and the priors' states run along the sequence.

Reference: Mancusi et al. 2021, arXiv:2110.05313, section 3.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from lqsep.core.errors import EmptySupportError, IncompatibleComponentsError, ShapeError
from lqsep.core.inference.filters import Filters
from lqsep.core.inference.frame_distribution import FrameDistribution
from lqsep.core.inference.model_calls import (
    frame_likelihood,
    listed_pairs,
    prior_step,
    transition_matrix,
)
from lqsep.core.inference.prior_windows import window_start
from lqsep.core.inference.state import Draw, MarkovPosterior, PosteriorState
from lqsep.core.interfaces.calls import ask, pass_name
from lqsep.core.interfaces.candidates import Candidates
from lqsep.core.interfaces.likelihood import BoundLikelihood
from lqsep.core.interfaces.prior import Prior

__all__ = ["Draw", "MarkovPosterior", "PosteriorState", "SequencePosterior"]

NO_FILTERS = Filters()


class SequencePosterior:
    """The sources' priors and a likelihood bound to a mixture.

    A state holds parallel hypotheses. `draw`, `top` and `chosen` give joint codes for its next
    frame, `extend` goes on with them. Joint codes are pairs so far: it works on two sources.

    Where a prior's context is shorter than prompt and frames together, it sees windows: they start
    at 0, hop, 2 hop, ... with half a context as hop, the last one moved back to end with the
    sequence. A prior whose window is full starts again with the codes already known inside the
    next one. Scores run on, and the likelihood's frames stay those of the whole sequence.

    Args:
        priors: One per source.
        bound: The likelihood of this mixture.
        prompt: Codes that precede frame 0 and condition the priors only; hypothesis ``n`` starts
            from row ``n`` modulo the number of rows.

    Raises:
        IncompatibleComponentsError: There are not two priors.
        ShapeError: The prompt is not ``rows sources frames`` with at least one row.
    """

    def __init__(
        self,
        priors: Sequence[Prior],
        bound: BoundLikelihood,
        *,
        prompt: Int64[Tensor, "rows sources frames"] | None = None,
    ) -> None:
        if len(priors) != 2:
            raise IncompatibleComponentsError(
                f"joint inference works on 2 sources, got {len(priors)} priors"
            )
        self.priors = tuple(priors)
        self.bound = bound
        self.prompt = None if prompt is None else self._checked(prompt)

    @property
    def n_sources(self) -> int:
        """How many codes a joint code has."""
        return len(self.priors)

    @property
    def n_frames(self) -> int:
        """Frames of the mixture."""
        return self.bound.n_frames

    @property
    def device(self) -> torch.device:
        """Where codes and tables live."""
        return self.priors[0].device

    def start(
        self, n_rows: int, prompt: Int64[Tensor, "rows sources frames"] | None = None
    ) -> PosteriorState:
        """``n_rows`` hypotheses before frame 0.

        Args:
            n_rows: Number of hypotheses.
            prompt: Instead of the posterior's own.

        Raises:
            IncompatibleComponentsError: Priors and likelihood have different numbers of codes.
            ShapeError: As for the posterior's own prompt.
        """
        prompt = self.prompt if prompt is None else self._checked(prompt)
        n_prompt = 0 if prompt is None else int(prompt.shape[2])
        n_sources = self.n_sources
        codes = torch.zeros(
            n_rows, n_sources, n_prompt + self.n_frames, dtype=torch.int64, device=self.device
        )
        if prompt is not None:
            rows = torch.arange(n_rows, device=self.device) % len(prompt)
            codes[:, :, :n_prompt] = prompt[rows]
        zeros = torch.zeros(n_rows, dtype=torch.float64, device=self.device)
        state = PosteriorState(
            frame=0,
            codes=codes,
            n_prompt=n_prompt,
            tables=(),
            likelihood=None,
            log_prior=zeros.repeat(n_sources, 1),
            log_likelihood=zeros,
            log_evidence=zeros,
            log_proposal=zeros,
            score=zeros,
            _prior_states=[None] * n_sources,
            _windows=[-1] * n_sources,
        )
        self._advance(state, None)
        return state

    def log_evidence(
        self, state: PosteriorState, filters: Filters = NO_FILTERS
    ) -> Float64[Tensor, " rows"]:
        """``log Z`` of the next frame per hypothesis, as in `Draw`; -inf where none is possible.

        It depends on the past codes alone, so that a sampler may choose among the hypotheses
        before it draws.
        """
        return self._distribution(state, filters).log_evidence

    def draw(
        self,
        state: PosteriorState,
        generator: torch.Generator | None = None,
        filters: Filters = NO_FILTERS,
        *,
        rows: Int64[Tensor, " draws"] | None = None,
        uniform: Float64[Tensor, "draws sources"] | None = None,
    ) -> Draw:
        """Draw joint codes of the next frame, one per hypothesis, exactly.

        Args:
            state: Not changed.
            generator: On the CPU; gives one row of uniform numbers per draw.
            filters: What may be drawn.
            rows: Hypotheses to draw for, which may repeat or leave out some; None: all, in order.
            uniform: Numbers in [0, 1) to use instead of the generator's; a sampler that works in
                batches draws them beforehand, so that the batches do not matter.

        Raises:
            EmptySupportError: All joint codes are impossible for a hypothesis.
        """
        frame = self._distribution(state, filters)
        parents = self._parents(state, rows)
        if bool((frame.log_evidence[parents] == float("-inf")).any()):
            raise _empty_support(state.frame)
        if uniform is None:
            shape = (len(parents), self.n_sources)
            uniform = torch.rand(shape, dtype=torch.float64, generator=generator)
        codes = frame.draw(uniform.to(self.device), parents)
        return self._accounted(state, frame, rows, codes)

    def top(self, state: PosteriorState, k: int, filters: Filters = NO_FILTERS) -> Draw:
        """The ``k`` best continuations by one frame over all hypotheses, best first.

        They are ranked by ``state.score`` plus the filtered priors and the likelihood of the next
        frame. The search is exact, see `lqsep.core.inference.joint_search`.

        Returns:
            Fewer than ``k`` when fewer are possible.

        Raises:
            EmptySupportError: No hypothesis has a possible continuation.
            ValueError: ``k`` is below 1.
        """
        if k < 1:
            raise ValueError(f"the number of continuations must be 1 or more, got {k}")
        frame = self._distribution(state, filters)
        rows, codes = frame.best(state.score, k)
        if not len(rows):
            raise _empty_support(state.frame)
        return self._accounted(state, frame, rows, codes)

    def chosen(
        self,
        state: PosteriorState,
        codes: Int64[Tensor, "chosen sources"],
        filters: Filters = NO_FILTERS,
        *,
        rows: Int64[Tensor, " chosen"] | None = None,
    ) -> Draw:
        """Given joint codes of the next frame, as if they had been drawn.

        Args:
            state: Not changed.
            codes: One joint code per row.
            filters: Under which evidence, proposal and score are counted.
            rows: The hypothesis that each continues; None: all, in order.

        Raises:
            ShapeError: There is not one joint code per row.
        """
        n_rows = state.n_rows if rows is None else len(rows)
        if codes.shape != (n_rows, self.n_sources):
            raise ShapeError(
                f"extending {n_rows} hypotheses at frame {state.frame}: expected codes of shape "
                f"{(n_rows, self.n_sources)}, got {tuple(codes.shape)}"
            )
        return self._accounted(state, self._distribution(state, filters), rows, codes)

    def extend(self, state: PosteriorState, draw: Draw) -> PosteriorState:
        """Go on with what `draw`, `top` or `chosen` gave for this state.

        This is the one place where histories, scores and prior states are re-indexed.

        Args:
            state: Consumed: not to be used again.
            draw: Of this state.

        Returns:
            The state before the next frame, priors already advanced.
        """
        rows, parents = draw.rows, self._parents(state, draw.rows)
        all_codes = state.codes if rows is None else state.codes[rows]
        all_codes[:, :, state.n_prompt + state.frame] = draw.codes
        new = PosteriorState(
            frame=state.frame + 1,
            codes=all_codes,
            n_prompt=state.n_prompt,
            tables=(),
            likelihood=None,
            log_prior=state.log_prior[:, parents] + draw.log_prior,
            log_likelihood=state.log_likelihood[parents] + draw.log_likelihood,
            log_evidence=state.log_evidence[parents] + draw.log_evidence,
            log_proposal=state.log_proposal[parents] + draw.log_proposal,
            score=state.score[parents] + draw.score,
            _prior_states=state._prior_states,
            _windows=state._windows,
        )
        self._advance(new, rows)
        return new

    def candidates(
        self, state: PosteriorState, order: Int64[Tensor, " candidates"] | None = None
    ) -> Candidates:
        """The finished hypotheses, in the given order of rows."""
        if order is None:
            order = torch.arange(state.n_rows, device=self.device)
        return Candidates(
            codes=state.history[order].transpose(0, 1).contiguous(),
            log_prior=state.log_prior[:, order],
            log_likelihood=state.log_likelihood[order],
            log_evidence=state.log_evidence[order],
            log_proposal=state.log_proposal[order],
        )

    def log_upper(self) -> float:
        """Bound of the sum of log Z along any path, and of any importance weight.

        Infinite, that is no bound, where the likelihood depends on the history.
        """
        if self.bound.uses_history:
            return float("inf")
        total = 0.0
        for frame in range(self.n_frames):
            history = torch.zeros(1, self.n_sources, frame, dtype=torch.int64, device=self.device)
            total += float(self.bound.at(frame, history).upper.max())
        return total

    def markov(self) -> MarkovPosterior | None:
        """The same posterior for exact forward-backward sums.

        None unless every prior is a first-order Markov chain and the likelihood's pairs can be
        listed. A context of one frame starts over at every frame and is no chain. With a prompt
        of several rows the first row counts.
        """
        chains = [transition_matrix(prior) for prior in self.priors]
        if self.bound.uses_history or self.bound.frames(0, min(1, self.n_frames)) is None:
            return None
        log_initial, log_transition = [], []
        for source, chain in enumerate(chains):
            if chain is None or self.priors[source].info.max_frames == 1:
                return None
            initial, transition = chain
            if self.prompt is not None and self.prompt.shape[2]:
                initial = transition[self.prompt[0, source, -1]]
            log_initial.append(initial)
            log_transition.append(transition)

        def log_likelihood(start: int, stop: int) -> Tensor:
            return listed_pairs(self.bound, start, stop, self.priors)

        return MarkovPosterior(
            self.n_frames, tuple(log_initial), tuple(log_transition), log_likelihood
        )

    def adapt(
        self,
        marginals: Sequence[Float[Tensor, "chosen _codebook_size"]],
        frames: Int64[Tensor, " chosen"] | None = None,
    ) -> SequencePosterior | None:
        """This posterior with a likelihood fitted to the marginals; None if it cannot be.

        Args:
            marginals: Per source.
            frames: Which frames' they are, rising; None: all of them.
        """
        bound = ask(self.bound.adapt, marginals, frames)
        if bound is None:
            return None
        pass_name(self.bound, bound)
        return SequencePosterior(self.priors, bound, prompt=self.prompt)

    def _advance(self, state: PosteriorState, rows: Tensor | None) -> None:
        """Fill in what the next frame needs; nothing after the last one."""
        if state.frame == self.n_frames:
            state._prior_states = []
            return
        position, total = state.n_prompt + state.frame, state.codes.shape[2]
        tables = []
        for source, prior in enumerate(self.priors):
            window = window_start(position, total, prior.info.max_frames)
            if window != state._windows[source]:
                state._prior_states[source] = None  # A full cache goes before a new one comes.
                known = state.codes[:, source, window:position] if position > window else None
                prior_state = ask(prior.start, state.n_rows, known)
                table, prior_state = prior_step(prior, prior_state, None, state.n_rows)
            else:
                prior_state = state._prior_states[source]
                if rows is not None:
                    prior_state = ask(prior.select, prior_state, rows)
                codes = state.codes[:, source, position - 1]
                table, prior_state = prior_step(prior, prior_state, codes, state.n_rows)
            tables.append(table)
            state._prior_states[source] = prior_state
            state._windows[source] = window
        state.tables = tuple(tables)
        state.likelihood = frame_likelihood(self.bound, state.frame, state.history)
        if state.likelihood.n_codes != tuple(table.shape[1] for table in tables):
            raise IncompatibleComponentsError(
                f"the likelihood is for {state.likelihood.n_codes} codes, the priors predict "
                f"{tuple(table.shape[1] for table in tables)}"
            )

    def _parents(
        self, state: PosteriorState, rows: Int64[Tensor, " chosen"] | None
    ) -> Int64[Tensor, " chosen"]:
        return torch.arange(state.n_rows, device=self.device) if rows is None else rows

    def _accounted(
        self,
        state: PosteriorState,
        frame: FrameDistribution,
        rows: Int64[Tensor, " chosen"] | None,
        codes: Int64[Tensor, "chosen sources"],
    ) -> Draw:
        """What it means to go on with these codes."""
        parents = self._parents(state, rows)
        score, log_likelihood = frame.score(parents, codes)
        log_prior = torch.stack(
            [table[parents, codes[:, source]] for source, table in enumerate(state.tables)]
        )
        return Draw(
            rows=rows,
            codes=codes,
            log_prior=log_prior.double(),
            log_likelihood=log_likelihood,
            log_evidence=frame.log_evidence[parents],
            log_proposal=frame.log_proposal(parents, score),
            score=score,
        )

    def _distribution(self, state: PosteriorState, filters: Filters) -> FrameDistribution:
        """Of the next frame, remembered in the state."""
        found = state._distribution
        if found is None or found.filters != filters:
            assert state.likelihood is not None, "all frames are done"
            found = FrameDistribution(state.likelihood, state.tables, filters)
            state._distribution = found
        return found

    def _checked(self, prompt: Tensor) -> Tensor:
        if prompt.ndim != 3 or prompt.shape[1] != self.n_sources or not len(prompt):
            raise ShapeError(
                f"prompt of the posterior: expected rows x {self.n_sources} sources x frames "
                f"with a row or more, got shape {tuple(prompt.shape)}"
            )
        return prompt.to(self.device)


def _empty_support(frame: int) -> EmptySupportError:
    return EmptySupportError(
        f"no joint code is possible at frame {frame}: the priors, their filters and the "
        f"likelihood exclude all of them. Loosen top-k/top-p, or use a likelihood with a floor."
    )
