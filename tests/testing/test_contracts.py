"""The toys and samplers fulfil the contracts, and the contracts notice broken components."""

import dataclasses

import numpy as np
import pytest
import torch

from lqsep.core.interfaces.candidates import Selection
from lqsep.core.interfaces.dataset import Dataset, Track
from lqsep.core.interfaces.prior import PriorInfo
from lqsep.core.interfaces.refiner import Refiner
from lqsep.core.interfaces.selector import Selector
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.testing.contracts import (
    CodecContract,
    DatasetContract,
    LikelihoodContract,
    PriorContract,
    RefinerContract,
    SamplerContract,
    SelectorContract,
)
from lqsep.testing.toys import (
    AddingCodec,
    AddingLikelihood,
    LongMemoryPrior,
    MarkovPrior,
    random_markov_prior,
)


class FirstSelector(Selector):
    def select(self, decoded, mixture):
        weights = torch.zeros(2, decoded.candidates.n_candidates)
        weights[:, 0] = 1
        return Selection(weights)


class HalvingRefiner(Refiner):
    def refine(self, stems, context):
        return stems / 2


class RampDataset(Dataset):
    sources = ("up", "down")

    def __len__(self):
        return 2

    def __getitem__(self, index):
        if index >= len(self):
            raise IndexError(index)
        ramp = np.linspace(0, 1, 10 + index, dtype=np.float32)[None]
        return Track(f"ramp {index}", 8000, ramp - ramp, {"up": ramp, "down": -ramp})


class TestAddingCodec(CodecContract):
    def make(self):
        return AddingCodec()


class TestMarkovPrior(PriorContract):
    def make(self):
        return random_markov_prior(4, torch.Generator().manual_seed(0))


class TestMarkovPriorWithShortContext(PriorContract):
    def make(self):
        return random_markov_prior(4, torch.Generator().manual_seed(0), max_frames=2)


class TestLongMemoryPrior(PriorContract):
    def make(self):
        return LongMemoryPrior(
            torch.randn(4, 4, generator=torch.Generator().manual_seed(0)), max_frames=5
        )


class TestAddingLikelihood(LikelihoodContract):
    def make(self):
        return AddingLikelihood(AddingCodec())

    def make_encoded(self):
        return AddingCodec().analyse(torch.linspace(0, 0.5, 14)[None, None])


class TestAncestralSampler(SamplerContract):
    def make(self):
        return AncestralSampler(5)


class TestFirstSelector(SelectorContract):
    def make(self):
        return FirstSelector()


class TestHalvingRefiner(RefinerContract):
    def make(self):
        return HalvingRefiner()


class TestRampDataset(DatasetContract):
    def make(self):
        return RampDataset()


def failures(contract) -> set[str]:
    """Names of the contract's checks that fail."""
    failed = set()
    for name in dir(contract):
        if name.startswith("test_"):
            try:
                getattr(contract, name)()
            except Exception:
                failed.add(name)
    return failed


class Unnormalised(MarkovPrior):
    def step(self, state, codes):
        table, state = super().step(state, codes)
        return table + 0.01, state


class DeafToPrompts(MarkovPrior):
    def start(self, n_rows, prompt=None):
        return super().start(n_rows, None)


class OffByOneLogProb(MarkovPrior):
    def log_prob(self, codes):
        return super().log_prob(codes).roll(1, 1)


class WrongChain(MarkovPrior):
    def transition_matrix(self):
        return self.log_initial, self.log_transition.T


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (Unnormalised, "test_tables_are_normalised"),
        (DeafToPrompts, "test_prompt_equals_steps"),
        (OffByOneLogProb, "test_log_prob_equals_steps"),
        (WrongChain, "test_transition_matrix_equals_steps"),
    ],
)
def test_prior_contract_notices(broken, check):
    class Contract(PriorContract):
        def make(self):
            good = random_markov_prior(4, torch.Generator().manual_seed(0))
            return broken(good.log_initial, good.log_transition)

    assert check in failures(Contract())


def test_prior_contract_notices_a_state_that_is_not_selected():
    class Forgetful(LongMemoryPrior):
        def select(self, state, rows):
            return [
                part[: len(rows)].repeat(2, *[1] * (part.ndim - 1))[: len(rows)] for part in state
            ]

    class Contract(PriorContract):
        def make(self):
            return Forgetful(torch.eye(4))

    assert failures(Contract()) == {"test_select_equals_running_the_kept_prefixes"}


def test_prior_contract_notices_wrong_facts():
    class Contract(PriorContract):
        def make(self):
            prior = random_markov_prior(4, torch.Generator().manual_seed(0))
            prior.info = PriorInfo(3)
            return prior

    assert failures(Contract())


class ShortDecode(AddingCodec):
    def decode(self, codes, n_samples, source=None, mixture=None):
        whole = n_samples // self.info.hop_length * self.info.hop_length
        return super().decode(codes, max(whole, 1), source, mixture)


class Float32Codes(AddingCodec):
    def encode(self, wave, source=None):
        return super().encode(wave, source).float()


class Careless(AddingCodec):
    def analyse(self, wave):
        return super().analyse(wave.mean((0, 1), keepdim=True))


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (ShortDecode, "test_lengths"),
        (Float32Codes, "test_codes"),
        (Careless, "test_refuses_wrong_channels"),
    ],
)
def test_codec_contract_notices(broken, check):
    class Contract(CodecContract):
        def make(self):
            return broken()

    assert check in failures(Contract())


@pytest.mark.parametrize("method", ["rows", "at", "row_upper", "row_logsum", "n_pairs", "pairs"])
def test_likelihood_contract_notices(method):
    class Skewed(AddingLikelihood):
        def bind(self, encoded, gains):
            bound = super().bind(encoded, gains)
            good = bound.at

            def at(frame, history):
                likelihood = good(frame, history)
                original = getattr(likelihood, method)

                def skewed(*args):
                    result = original(*args)
                    if method == "pairs":
                        return tuple(part[:-1] for part in result)
                    return result - 1

                setattr(likelihood, method, skewed)
                return likelihood

            bound.at = at
            return bound

    class Contract(TestAddingLikelihood):
        def make(self):
            return Skewed(AddingCodec())

    assert "test_frames_are_consistent" in failures(Contract())


def skew_scores(found):
    return dataclasses.replace(found, log_prior=found.log_prior.flip(0))


def skew_codes(found):
    return dataclasses.replace(found, codes=found.codes + 1)


@pytest.mark.parametrize(
    ("skew", "check"),
    [
        (skew_scores, "test_scores_are_those_of_the_codes"),
        (skew_codes, "test_shapes_and_ranges"),
    ],
)
def test_sampler_contract_notices(skew, check):
    class Skewed(AncestralSampler):
        def sample(self, posterior, *, generator, on_frame=None):
            return skew(super().sample(posterior, generator=generator))

    class Contract(SamplerContract):
        def make(self):
            return Skewed(5)

    assert failures(Contract()) >= {check, "test_progress_reaches_the_end"}


def test_sampler_contract_notices_other_randomness():
    class Skewed(AncestralSampler):
        def sample(self, posterior, *, generator, on_frame=None):
            generator.manual_seed(int(torch.randint(10**6, ())))
            return super().sample(posterior, generator=generator)

    class Contract(SamplerContract):
        def make(self):
            return Skewed(20)

    expected = {"test_same_seed_same_candidates", "test_global_random_state_is_left_alone"}
    assert failures(Contract()) >= expected


def test_selector_contract_notices():
    class Contract(SelectorContract):
        def make(self):
            selector = FirstSelector()
            selector.select = lambda decoded, mixture: Selection(
                torch.full((2, decoded.candidates.n_candidates), 0.5)
            )
            return selector

    assert "test_weights" in failures(Contract())


@pytest.mark.parametrize("broken", [torch.Tensor.mul_, lambda stems, _: stems[..., :1]])
def test_refiner_contract_notices(broken):
    class Contract(RefinerContract):
        def make(self):
            refiner = HalvingRefiner()
            refiner.refine = lambda stems, context: broken(stems, 0.5)
            return refiner

    assert "test_shape_is_kept" in failures(Contract())


def test_dataset_contract_notices():
    class Endless(RampDataset):
        def __getitem__(self, index):
            return super().__getitem__(index % 2)

    class Contract(DatasetContract):
        def make(self):
            return Endless()

    assert failures(Contract()) == {"test_no_track_after_the_last"}
