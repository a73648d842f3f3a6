"""Components that give what they must not, or try to end the program, are named in one line."""

import copy
import sys

import pytest
import torch

from lqsep.core.errors import ComponentError, DeviceMemoryError, ShapeError
from lqsep.core.interfaces.candidates import Selection
from lqsep.core.interfaces.refiner import Refiner
from lqsep.core.interfaces.selector import Selector
from lqsep.core.likelihoods.dense import DenseLikelihood
from lqsep.core.separation.references import codec_round_trip
from lqsep.core.separation.separator import Separator
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.samplers.forward_backward import ForwardBackwardSampler
from lqsep.testing.toys import AddingCodec, AddingLikelihood, DenseBound, MarkovPrior

RATE, N_CODES = 8000, 3


def replaced(found, **fields):
    """A copy with other values, whatever the annotations of its class say."""
    found = copy.copy(found)
    for name, value in fields.items():
        object.__setattr__(found, name, value)
    return found


class Codec(AddingCodec):
    analysed = coded = decoded = staticmethod(lambda found: found)

    def analyse(self, wave):
        return self.analysed(super().analyse(wave))

    def encode(self, wave, source=None):
        return self.coded(super().encode(wave, source))

    def decode(self, codes, n_samples, source=None, mixture=None):
        return self.decoded(super().decode(codes, n_samples, source, mixture))


class Prior(MarkovPrior):
    stepped = matrix = staticmethod(lambda found: found)

    def step(self, state, codes):
        return self.stepped(super().step(state, codes))

    def transition_matrix(self):
        return self.matrix(super().transition_matrix())


class Frame(DenseLikelihood):
    summed = of_rows = of_pairs = staticmethod(lambda found: found)

    def row_logsum(self, log_p0, log_p1):
        return self.summed(super().row_logsum(log_p0, log_p1))

    def rows(self, n, i):
        return self.of_rows(super().rows(n, i))

    def at(self, n, codes):
        return self.of_pairs(super().at(n, codes))


class Bound(DenseBound):
    listed = staticmethod(lambda found: found)
    frame = Frame

    def at(self, frame, history):
        return self.frame(self.log_likelihood[frame])

    def frames(self, start, stop):
        return self.listed(super().frames(start, stop))


class Likelihood(AddingLikelihood):
    bound = Bound
    cut = staticmethod(lambda found: found)

    def bind(self, encoded, gains):
        return self.bound(self.cut(super().bind(encoded, gains).log_likelihood))


class Sampler(AncestralSampler):
    change = staticmethod(lambda found: found)

    def sample(self, posterior, **options):
        return self.change(super().sample(posterior, **options))


class First(Selector):
    change = staticmethod(lambda found: found)

    def select(self, decoded, mixture):
        weights = torch.zeros(decoded.waves.shape[:2])
        weights[:, 0] = 1
        return self.change(Selection(weights))


class Same(Refiner):
    change = staticmethod(lambda found: found)

    def refine(self, stems, context):
        return self.change(stems)


def changed(base, **attributes):
    """A class that differs from another in these."""
    methods = {k: v if isinstance(v, type) else staticmethod(v) for k, v in attributes.items()}
    return type(base.__name__, (base,), {**methods, "__module__": base.__module__})


def separator(faulty, sampler=None):
    """Of the components above, one of them replaced by a class like it."""
    parts = [Codec, Prior, Likelihood, Sampler, First, Same]
    parts = [faulty if faulty is not None and issubclass(faulty, part) else part for part in parts]
    codec = parts[0]((0.0, 0.1, 0.35))
    table = torch.full((N_CODES, N_CODES), 1 / N_CODES).log()
    return Separator(
        codec=codec,
        priors={name: parts[1](table[0], table) for name in ("drums", "bass")},
        likelihood=parts[2](codec, sigma=0.1),
        sampler=sampler or parts[3](n_candidates=2),
        selector=parts[4](),
        refiners=[parts[5]()],
        gains=(0.5, 0.5),
        segment_s=0.05,
        name="toy",
    )


def separate(faulty=None, sampler=None):
    wave = torch.rand(1, 1000, generator=torch.Generator().manual_seed(0)) * 0.3
    return separator(faulty, sampler).separate((wave.numpy(), RATE))


def exits(found):
    sys.exit(0)


class Leaving(BaseException):
    """As some frameworks end a program."""


def leaves(found):
    raise Leaving("now")


def with_nan(found):
    found = found.clone()
    found[..., 0] = torch.nan
    return found


FAULTS = {
    "latents": (
        changed(Codec, analysed=lambda e: replaced(e, latents=e.latents[1:])),
        r"codec .*\.Codec: analyse gave latents as float32 of shape \(99, 1\); expected floats, "
        r"100 frames x 1 dimensions",
    ),
    "mixture codes": (
        changed(Codec, analysed=lambda e: replaced(e, codes=e.codes.float())),
        "analyse gave codes as float32 of shape .*; expected int64, 100 frames",
    ),
    "no encoding": (changed(Codec, analysed=lambda e: None), "gave a NoneType; expected a Encoded"),
    "long sound": (
        changed(Codec, decoded=lambda w: torch.cat([w, w], -1)),
        r"codec .*: decode gave sound as float32 of shape .*800\); expected floats, .*400 samples",
    ),
    "no channels": (changed(Codec, decoded=lambda w: w[:, 0]), "codec .*: decode gave sound"),
    "short table": (
        changed(Prior, stepped=lambda found: (found[0][:, :2], found[1])),
        "prior .*: step gave log-probabilities as float32 of shape .*, 2.; expected .* 3 codes",
    ),
    "no state": (changed(Prior, stepped=lambda found: found[0]), "prior .*: step gave a Tensor"),
    "frames": (
        changed(Likelihood, cut=lambda table: table[1:]),
        "likelihood .*: bind gave 99 frames; expected 100",
    ),
    "sums": (
        changed(Likelihood, bound=changed(Bound, frame=changed(Frame, summed=lambda s: s[:, :1]))),
        "row_logsum gave sums as float64 of shape .2, 1.; expected floats, 2 hypotheses x 3 codes",
    ),
    "rows": (
        changed(Likelihood, bound=changed(Bound, frame=changed(Frame, of_rows=lambda r: r.T))),
        "rows gave log-likelihood as float64 of shape .3, 2.",
    ),
    "pairs": (
        changed(Likelihood, bound=changed(Bound, frame=changed(Frame, of_pairs=lambda p: p[None]))),
        "at gave log-likelihood as float64 of shape .1, 2.",
    ),
    "no frame": (
        changed(Likelihood, bound=changed(Bound, frame=changed(Frame, __new__=lambda *_: 3))),
        "likelihood .*: at gave a int; expected a FrameLikelihood",
    ),
    "one source": (
        changed(Sampler, change=lambda found: replaced(found, codes=found.codes[:1])),
        "sampler .*: sample gave codes as int64 of shape .*; expected int64, 2 sources x 2 cand",
    ),
    "scores": (
        changed(Sampler, change=lambda found: replaced(found, log_prior=found.log_prior.T[:1])),
        "sampler .*: sample gave log_prior as",
    ),
    "high codes": (
        changed(Sampler, change=lambda found: replaced(found, codes=found.codes + 1)),
        "sampler .*: sample gave codes from 1 to 3; expected 0 to 2",
    ),
    "weights": (
        changed(First, change=lambda found: replaced(found, weights=found.weights[:, :1])),
        "selector .*: select gave weights as .*2, 1.; expected floats, 2 sources x 2 candidates",
    ),
    "stems": (
        changed(Same, change=lambda stems: stems[..., 1:]),
        "refiner .*: refine gave stems as .*399.; expected floats, .* 400 samples",
    ),
    "arrays": (changed(Same, change=lambda stems: stems.numpy()), "refine gave stems as a ndarray"),
    "NaN": (changed(Same, change=with_nan), "refiner .*: refine gave stems with values that are N"),
    "exit": (
        changed(Codec, decoded=exits),
        r"codec .*\.Codec: decode tried to end the program by sys\.exit\(0\)",
    ),
    "exits while sampling": (changed(Prior, stepped=exits), "prior .*: step tried to end"),
    "leaves": (changed(Same, change=leaves), "refine tried to end the program by Leaving: now"),
    "generator": (
        changed(First, change=lambda found: (_ for _ in ()).throw(GeneratorExit)),
        "selector .*: select tried to end the program by GeneratorExit",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_told_with_the_component_that_it_is_of(name):
    faulty, says = FAULTS[name]
    with pytest.raises(ComponentError, match=says):
        separate(faulty)


def test_the_components_themselves_are_right():
    assert separate().stems["drums"].shape == (1, 1000)


MARKOV_FAULTS = {
    "matrix": (
        changed(Prior, matrix=lambda found: (found[0], found[1][:2])),
        "prior .*: transition_matrix gave log_transition as .*2, 3.; expected floats, 3 codes x 3",
    ),
    "listed": (
        changed(Likelihood, bound=changed(Bound, listed=lambda values: values[:, :2])),
        "frames gave log-likelihood as .*; expected floats, .* 3 rows x 3 columns",
    ),
}


@pytest.mark.parametrize("name", MARKOV_FAULTS)
def test_tables_of_whole_sequences_are_looked_at(name):
    faulty, says = MARKOV_FAULTS[name]
    with pytest.raises(ComponentError, match=says):
        separate(faulty, ForwardBackwardSampler(n_candidates=2))


def test_a_beam_meets_the_same_tables():
    with pytest.raises(ComponentError, match="row_logsum gave sums as float64 of shape .1, 1."):
        separate(FAULTS["sums"][0], BeamSampler(beam_width=2))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda codes: codes[:, 1:], "encode gave codes as int64 of shape .*; expected int64, 1"),
        (lambda codes: codes.int(), "encode gave codes as int32"),
        (lambda codes: codes - 1, "encode gave codes from -1 to .*; expected 0 to 2"),
    ],
)
def test_codes_of_recordings_are_looked_at(change, says):
    codec = changed(Codec, coded=change)((0.0, 0.1, 0.35))
    wave = torch.tensor([0.0, 0.1, 0.35]).repeat_interleave(4)[None]
    with pytest.raises(ComponentError, match=says):
        codec_round_trip(codec, wave, wave, RATE, 0, 1.0)


def test_the_users_interruption_is_no_fault():
    def interrupts(found):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        separate(changed(Same, change=interrupts))


def test_what_a_component_prints_goes_to_stderr(capsys):
    def prints(found):
        print("printed")
        return found

    separate(changed(Same, change=prints))
    print("results")
    assert capsys.readouterr().out == "results\n"


class Unspeakable(Exception):
    def __str__(self):
        return 1 / 0


def raises(error):
    def method(found):
        raise error

    return method


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RecursionError(), "RecursionError"),
        (KeyError("x"), "KeyError: 'x'"),
        (RuntimeError("size mismatch:\n  3, 4"), "RuntimeError: size mismatch: 3, 4"),
        (Unspeakable(), "Unspeakable"),
    ],
)
def test_whatever_a_component_raises_goes_by_its_name(error, told):
    for part, method, words in (
        (Codec, "analysed", "codec tests?.*Codec: analyse"),
        (Prior, "stepped", "prior .*Prior: step"),
        (Same, "change", "refiner .*Same: refine"),
    ):
        with pytest.raises(ComponentError, match=f"{words} failed: {told}$") as caught:
            separate(changed(part, **{method: raises(error)}))
        assert caught.value.__cause__ is error


def test_what_the_callers_own_function_raises_is_the_callers():
    class Cancelled(Exception):
        pass

    def on_progress(done_s, total_s):
        raise Cancelled

    with pytest.raises(Cancelled):
        separator(None).separate((torch.zeros(1, 1000).numpy(), RATE), on_progress=on_progress)


def test_lqseps_own_errors_and_memory_are_told_as_ever():
    with pytest.raises(ShapeError, match="as it is"):
        separate(changed(Codec, analysed=raises(ShapeError("as it is"))))
    with pytest.raises(DeviceMemoryError):
        separate(changed(Codec, analysed=raises(MemoryError())))
