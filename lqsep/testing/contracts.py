"""What every component of a kind must fulfil: subclass, give ``make``, and let pytest run it.

::

    from lqsep.testing.contracts import PriorContract

    class TestMyPrior(PriorContract):
        def make(self):
            return MyPrior(codebook_size=5)

``make`` is called for every check; it must give the same component each time. Further attributes
of a class say how large the checked examples are. Tolerances are those of float32 arithmetic
summed in another order.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import numpy as np
import torch
from torch import Tensor

from lqsep.core.data import Candidates, DecodedCandidates, EncodedMixture, Mixture, Selection
from lqsep.core.errors import EmptySupportError, ShapeError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.interfaces.likelihood import Likelihood
from lqsep.core.interfaces.prior import Prior
from lqsep.core.interfaces.refiner import RefineContext, Refiner
from lqsep.core.interfaces.sampler import Sampler
from lqsep.core.interfaces.selector import Selector
from lqsep.core.posterior import SequencePosterior
from lqsep.testing.dense import dense_values
from lqsep.testing.toys import AddingCodec, DenseBound, enumerate_posterior, random_posterior

_TOLERANCE = 1e-4


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
            assert table.logsumexp(1).abs().max() < _TOLERANCE

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


class CodecContract:
    """A codec: lengths for every remainder, ranges of codes, repeatable results."""

    n_sources = 2
    n_residues = 64
    """How many remainders of ``samples % hop_length`` are tried at most."""

    @abstractmethod
    def make(self) -> Codec:
        """The codec to check."""

    def wave(self, codec: Codec, n_samples: int, batch: int = 1) -> Tensor:
        """Noise; override for a codec that refuses it."""
        generator = torch.Generator().manual_seed(n_samples)
        shape = (batch, codec.info.channels, n_samples)
        return (torch.rand(shape, generator=generator) - 0.5).to(device_of(codec))

    def lengths(self, codec: Codec) -> list[int]:
        """One sample, and two hops plus every remainder."""
        hop = codec.info.hop_length
        step = max(1, math.ceil(hop / self.n_residues))
        residues = sorted({*range(0, hop, step), min(1, hop - 1), hop - 1})
        return [1, *(2 * hop + residue for residue in residues)]

    def test_info(self) -> None:
        codec = self.make()
        info = codec.info
        assert min(info.sample_rate, info.channels, info.hop_length, info.embedding_dim) >= 1
        assert all(codec.codebook_size(source) >= 1 for source in range(self.n_sources))

    def test_fingerprint_is_stable(self) -> None:
        first, second = self.make().fingerprint, self.make().fingerprint
        assert first == second
        assert len(first) == 64 and set(first) <= set("0123456789abcdef")

    def test_lengths(self) -> None:
        codec = self.make()
        for n_samples in self.lengths(codec):
            wave = self.wave(codec, n_samples)
            n_frames = math.ceil(n_samples / codec.info.hop_length)
            encoded = codec.analyse(wave)
            assert encoded.latents.shape == (n_frames, codec.info.embedding_dim)
            assert encoded.n_samples == n_samples
            for source in range(self.n_sources):
                codes = codec.encode(wave, source)
                assert codes.shape == (1, n_frames)
                decoded = codec.decode(codes, n_samples, source, wave[0])
                assert decoded.shape == wave.shape
                assert decoded.is_floating_point() and decoded.isfinite().all()

    def test_analysis(self) -> None:
        codec = self.make()
        encoded = codec.analyse(self.wave(codec, 3 * codec.info.hop_length + 1))
        assert encoded.latents.is_floating_point() and encoded.latents.isfinite().all()
        assert math.isfinite(encoded.scale) and encoded.scale > 0
        if encoded.codes is not None:
            assert encoded.codes.dtype == torch.int64 and encoded.codes.min() >= 0
            assert encoded.codes.shape == (encoded.n_frames,)

    def test_silence(self) -> None:
        codec = self.make()
        silence = torch.zeros_like(self.wave(codec, 2 * codec.info.hop_length))
        encoded = codec.analyse(silence)
        assert encoded.latents.isfinite().all() and math.isfinite(encoded.scale)

    def test_codes(self) -> None:
        codec = self.make()
        wave = self.wave(codec, 4 * codec.info.hop_length, batch=2)
        for source in range(self.n_sources):
            codes = codec.encode(wave, source)
            assert codes.dtype == torch.int64
            assert codes.min() >= 0 and codes.max() < codec.codebook_size(source)
            assert torch.equal(codes, codec.encode(wave, source))
            latents = codec.embed(codes, source)
            assert latents.shape == (*codes.shape, codec.info.embedding_dim)
            assert latents.isfinite().all()

    def test_decoding_is_deterministic_and_by_row(self) -> None:
        codec = self.make()
        n_samples = 4 * codec.info.hop_length
        wave = self.wave(codec, n_samples)
        for source in range(self.n_sources):
            codes = torch.arange(8, device=wave.device).view(2, 4) % codec.codebook_size(source)
            both = codec.decode(codes, n_samples, source, wave[0])
            assert_close(both, codec.decode(codes, n_samples, source, wave[0]))
            assert_close(both[1:], codec.decode(codes[1:], n_samples, source, wave[0]))

    def test_power(self) -> None:
        codec = self.make()
        codes = torch.zeros(2, 4, dtype=torch.int64, device=device_of(codec))
        for source in range(self.n_sources):
            power = codec.power(codes, source)
            if power is not None:
                assert power.ndim == 3 and power.shape[0] == 2
                assert power.isfinite().all() and power.min() >= 0

    def test_refuses_wrong_channels(self) -> None:
        codec = self.make()
        wave = self.wave(codec, 2 * codec.info.hop_length)
        for wrong in (torch.cat([wave, wave], 1), torch.cat([wave, wave], 0)):
            assert_raises(ShapeError, lambda wrong=wrong: codec.analyse(wrong))


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

    def history(self, n_codes: tuple[int, int], n_frames: int, device: torch.device) -> Tensor:
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

    def _check_sums(self, likelihood, dense, generator) -> None:  # type: ignore[no-untyped-def]
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
            assert distance.max() < _TOLERANCE

    def _check_pairs(self, likelihood, dense) -> None:  # type: ignore[no-untyped-def]
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

    def test_is_deterministic(self) -> None:
        values = []
        for _ in range(2):
            encoded = self.make_encoded()
            bound = self.make().bind(encoded, self.gains)
            empty = torch.zeros(1, 2, 0, dtype=torch.int64, device=encoded.latents.device)
            values.append(dense_values(bound.at(0, empty), 1, encoded.latents.device))
        assert_close(values[0], values[1])


class SamplerContract:
    """A sampler: shapes, true scores, repeatable for one seed, progress to the end."""

    seeds = (0, 1, 2)

    @abstractmethod
    def make(self) -> Sampler:
        """The sampler to check."""

    def posterior(self, seed: int) -> SequencePosterior:
        """A small posterior with codebooks of different sizes; its priors are Markov chains."""
        return random_posterior(seed, n_codes=(3, 4), n_frames=3)

    def run(self, seed: int) -> Candidates:
        """Sample one posterior."""
        generator = torch.Generator().manual_seed(seed)
        return self.make().sample(self.posterior(seed), generator=generator)

    def test_shapes_and_ranges(self) -> None:
        for seed in self.seeds:
            found, posterior = self.run(seed), self.posterior(seed)
            n = found.n_candidates
            assert n >= 1 and found.codes.shape == (2, n, posterior.n_frames)
            assert found.codes.dtype == torch.int64 and found.codes.min() >= 0
            assert found.log_prior.shape == (2, n)
            for values in (found.log_likelihood, found.log_evidence, found.log_proposal):
                assert values is None or (values.shape == (n,) and values.isfinite().all())
            for source, prior in enumerate(posterior.priors):
                assert found.codes[source].max() < prior.info.codebook_size

    def test_scores_are_those_of_the_codes(self) -> None:
        for seed in self.seeds:
            found, exact = self.run(seed), enumerate_posterior(self.posterior(seed))
            for candidate in range(found.n_candidates):
                same = (exact.codes == found.codes[:, candidate]).all(2).all(1)
                assert_close(found.log_prior[:, candidate], exact.log_prior[:, same][:, 0])
                assert_close(found.log_likelihood[candidate], exact.log_likelihood[same][0])

    def test_marginals(self) -> None:
        for seed in self.seeds:
            marginals = self.run(seed).marginals
            if marginals is None:
                continue
            exact, posterior = enumerate_posterior(self.posterior(seed)), self.posterior(seed)
            for source, prior in enumerate(posterior.priors):
                expected = exact.marginals(source, prior.info.codebook_size)
                assert_close(marginals[source].double(), expected)

    def test_same_seed_same_candidates(self) -> None:
        for seed in self.seeds:
            first, second = self.run(seed), self.run(seed)
            assert torch.equal(first.codes, second.codes)
            assert torch.equal(first.log_prior, second.log_prior)

    def test_global_random_state_is_left_alone(self) -> None:
        torch.manual_seed(7)
        before = torch.get_rng_state()
        self.run(0)
        assert torch.equal(before, torch.get_rng_state())

    def test_progress_reaches_the_end(self) -> None:
        calls: list[tuple[int, int]] = []
        self.make().sample(
            self.posterior(0),
            generator=torch.Generator().manual_seed(0),
            on_frame=lambda done, total: calls.append((done, total)),
        )
        done = [call[0] for call in calls]
        assert calls and done == sorted(done) and done[0] >= 0
        assert done[-1] == calls[-1][1]

    def test_impossible_frames_are_an_error(self) -> None:
        posterior = self.posterior(0)
        values = torch.zeros(posterior.n_frames, 3, 4)
        values[1] = -math.inf
        empty = SequencePosterior(posterior.priors, DenseBound(values))
        generator = torch.Generator().manual_seed(0)
        assert_raises(EmptySupportError, lambda: self.make().sample(empty, generator=generator))


class SelectorContract:
    """A selector: weights of every source sum to one."""

    @abstractmethod
    def make(self) -> Selector:
        """The selector to check."""

    def test_weights(self) -> None:
        for n_candidates in (1, 2, 7):
            context = make_context(n_candidates)
            wave = context.mixture.wave.mean(0, keepdim=True)
            selection = self.make().select(context.decoded, wave)
            again = self.make().select(context.decoded, wave)
            assert selection.weights.shape == (2, n_candidates)
            assert selection.weights.isfinite().all() and selection.weights.min() >= 0
            assert_close(selection.weights.sum(1).double(), torch.ones(2, dtype=torch.float64))
            assert torch.equal(selection.weights, again.weights)
            assert all(math.isfinite(score) for score in selection.scores.values())


class RefinerContract:
    """A refiner: same shape, finite, repeatable; for mono, stereo, odd lengths and silence."""

    @abstractmethod
    def make(self) -> Refiner:
        """The refiner to check."""

    def test_shape_is_kept(self) -> None:
        for n_channels in (1, 2):
            for n_samples in (1, 999, 4000):
                context = make_context(3, n_samples=n_samples, n_channels=n_channels)
                stems = make_stems(context)
                before = stems.clone()
                refined = self.make().refine(stems, context)
                assert refined.shape == stems.shape and refined.dtype == stems.dtype
                assert refined.isfinite().all()
                assert torch.equal(stems, before), "the given stems were changed"
                assert_close(refined, self.make().refine(stems, context))

    def test_silence(self) -> None:
        context = make_context(2, silent=True)
        refined = self.make().refine(torch.zeros_like(make_stems(context)), context)
        assert refined.isfinite().all() and refined.abs().max() < _TOLERANCE


class DatasetContract:
    """A data set: tracks of the announced sources, lengths, and reading a part of one stem."""

    @abstractmethod
    def make(self) -> Dataset:
        """The data set to check; with at least one track."""

    def test_tracks(self) -> None:
        dataset = self.make()
        assert len(dataset) >= 1 and len(dataset.sources) == len(set(dataset.sources)) >= 1
        for index in range(len(dataset)):
            track = dataset[index]
            assert track.name and track.sample_rate >= 1
            assert set(track.stems) <= set(dataset.sources)
            shapes = {stem.shape for stem in track.stems.values()}
            waves = [*track.stems.values()]
            if track.mixture is not None:
                shapes.add(track.mixture.shape)
                waves.append(track.mixture)
            assert len(shapes) == 1
            for wave in waves:
                assert wave.dtype == np.float32 and wave.ndim == 2
                assert wave.shape[1] >= 1 and np.isfinite(wave).all()

    def test_reading_twice_gives_the_same(self) -> None:
        dataset = self.make()
        first, second = dataset[0], dataset[0]
        assert first.name == second.name
        for source, stem in first.stems.items():
            assert np.array_equal(stem, second.stems[source])

    def test_info_equals_the_track(self) -> None:
        dataset = self.make()
        for index in range(len(dataset)):
            info, track = dataset.info(index), dataset[index]
            stem = next(iter(track.stems.values()))
            assert (info.name, info.sample_rate) == (track.name, track.sample_rate)
            assert info.n_samples == stem.shape[-1]

    def test_part_of_a_stem(self) -> None:
        dataset = self.make()
        for source, stem in dataset[0].stems.items():
            length = stem.shape[-1]
            start, stop = length // 4, length // 2
            part = dataset.stem(0, source, start, stop)
            assert list(part.stems) == [source]
            assert np.array_equal(part.stems[source], stem[:, start:stop])
            assert np.array_equal(dataset.stem(0, source).stems[source], stem)

    def test_no_track_after_the_last(self) -> None:
        dataset = self.make()
        assert_raises(IndexError, lambda: dataset[len(dataset)])


def run_prior(prior: Prior, codes: Tensor, prompt: Tensor | None = None) -> Tensor:
    """Tables ``frames rows codebook_size`` that predict each of the codes, one step at a time."""
    state = prior.start(len(codes), prompt)
    previous, tables = None, []
    for frame in range(codes.shape[1]):
        table, state = prior.step(state, previous)
        tables.append(table.clone())
        previous = codes[:, frame]
    return torch.stack(tables)


def make_context(
    n_candidates: int, *, n_samples: int = 4000, n_channels: int = 2, silent: bool = False
) -> RefineContext:
    """A decoded and selected segment of the toy codec, with random candidates."""
    codec = AddingCodec((0.0,) if silent else (0.0, 0.2, -0.3), hop_length=16)
    generator = torch.Generator().manual_seed(n_samples)
    n_frames = math.ceil(n_samples / codec.info.hop_length)
    shape = (2, n_candidates, n_frames)
    codes = torch.randint(len(codec.levels), shape, generator=generator)
    waves = torch.stack([codec.decode(row, n_samples) for row in codes])
    gains = (0.5, 0.5)
    wave = sum(gain * waves[source, 0] for source, gain in enumerate(gains))
    assert isinstance(wave, Tensor)
    noise = torch.rand(n_channels, n_samples, generator=generator) - 0.5
    mixture = Mixture(wave + (0 if silent else 0.01) * noise, codec.info.sample_rate)
    encoded = codec.analyse(mixture.wave.mean(0, keepdim=True)[None])
    scores = -10 * torch.rand(4, n_candidates, generator=generator, dtype=torch.float64)
    candidates = Candidates(codes, scores[:2], scores[2], scores[3])
    decoded = DecodedCandidates(candidates, waves, wave, gains)
    weights = torch.full((2, n_candidates), 1 / n_candidates)
    return RefineContext(mixture, encoded, candidates, decoded, Selection(weights), codec, gains)


def make_stems(context: RefineContext) -> Tensor:
    """The selected stems of a context, ``sources channels samples``, as in the mixture."""
    gains = torch.tensor(context.gains)[:, None, None]
    stems = torch.einsum("sk,skcn->scn", context.selection.weights, context.decoded.waves) * gains
    return stems.expand(-1, context.mixture.wave.shape[0], -1).contiguous()


def device_of(codec: Codec) -> torch.device:
    """Where the codec's vectors live."""
    return codec.embed(torch.zeros(1, 1, dtype=torch.int64), 0).device


def assert_close(found: Tensor, expected: Tensor) -> None:
    """Equal up to rounding, relative to the size of the values."""
    torch.testing.assert_close(
        found.detach(), expected.detach(), atol=_TOLERANCE, rtol=_TOLERANCE, check_dtype=False
    )


def assert_raises(error: type[Exception], call) -> None:  # type: ignore[no-untyped-def]
    """``call()`` raises ``error``."""
    try:
        call()
    except error:
        return
    raise AssertionError(f"expected a {error.__name__}")
