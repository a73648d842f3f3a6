"""The likelihood ``waveform``: values pair by pair, the reference's numbers, exact samplers."""

import math
from pathlib import Path

import pytest
import torch

from lqsep.cli.main import run
from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.components.assemble import build
from lqsep.core.components.config import parse_settings
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import ConfigError, IncompatibleComponentsError
from lqsep.core.inference.posterior import SequencePosterior
from lqsep.core.interfaces.data import EncodedMixture
from lqsep.plugins.jukebox.codec_names import from_reference
from lqsep.plugins.lqvae.codec import LQVAECodec
from lqsep.plugins.lqvae.model import LQVAE
from lqsep.plugins.samplers.ancestral import AncestralSampler
from lqsep.plugins.samplers.beam import BeamSampler
from lqsep.plugins.waveform import plugin
from lqsep.plugins.waveform.config import WaveformConfig
from lqsep.plugins.waveform.likelihood import WaveformLikelihood
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import LikelihoodContract
from lqsep.testing.dense import dense_values
from lqsep.testing.toys import LongMemoryPrior, enumerate_posterior

GAINS = (0.7, 0.3)

# The reference decodes and sums in float32, on values down to -8e2.
REFERENCE_TOLERANCE = 2e-3


def encoded(codes: list[int], n_samples: int | None = None, scale: float = 1.0) -> EncodedMixture:
    latents = torch.full((len(codes), 1), torch.nan)  # not to be looked at
    n_samples = 4 * len(codes) if n_samples is None else n_samples
    return EncodedMixture(torch.zeros(1, n_samples), latents, torch.tensor(codes), scale)


@pytest.fixture(autouse=True)
def _codec_for_contracts(request, make_codec) -> None:
    if request.instance is not None:
        request.instance.make_codec = make_codec


class TestConstant(LikelihoodContract):
    gains = GAINS

    def make(self) -> WaveformLikelihood:
        return WaveformLikelihood(self.make_codec(), sigma=0.1, context=2)

    def make_encoded(self) -> EncodedMixture:
        return encoded([3, 1, 0, 4, 2], n_samples=18)


class TestIncrementOfTwoDecoders(LikelihoodContract):
    gains = GAINS

    def make(self) -> WaveformLikelihood:
        codec = self.make_codec(own_decoders=True)
        return WaveformLikelihood(codec, sigma=0.02, context=3, window="increment")

    def make_encoded(self) -> EncodedMixture:
        return encoded([3, 1, 0, 4, 2])


def pair_by_pair(codec, likelihood, mixture, frame, history, starts) -> torch.Tensor:
    """The definition, with one decoding per hypothesis and code."""
    hop = codec.info.hop_length
    whole = codec.decode(mixture.codes[None], mixture.n_samples)[0].double()
    target = whole[:, frame * hop : (frame + 1) * hop]
    ends = torch.empty(2, len(history), 5, *target.shape, dtype=torch.float64)
    for source in (0, 1):
        for n, codes in enumerate(history[:, source, starts:frame].tolist()):
            for code in range(5):
                window = torch.tensor([[*codes, code]])
                wave = codec.decode(window, window.shape[1] * hop, source)[0]
                ends[source, n, code] = wave[:, -hop:][:, : target.shape[1]]
    sums = GAINS[0] * ends[0][:, :, None] + GAINS[1] * ends[1][:, None]
    return -(sums - target).square().sum((-1, -2)) / (2 * likelihood.sigma**2)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("own_decoders", [False, True])
@pytest.mark.parametrize(
    ("window", "starts"),
    [
        # By hand, for a context of three: the windows of the reference, its warm-up repaired.
        ("constant", [0, 0, 0, 0, 1, 2, 3]),
        ("increment", [0, 0, 0, 3, 3, 3, 6]),
    ],
)
def test_values(make_codec, window, starts, own_decoders, channels) -> None:
    codec = make_codec(own_decoders=own_decoders, channels=channels)
    likelihood = WaveformLikelihood(codec, sigma=0.15, context=3, window=window)
    mixture = encoded([3, 1, 0, 4, 2, 2, 1], n_samples=26)  # two samples of the last frame
    bound = likelihood.bind(mixture, GAINS)
    assert bound.n_frames == 7 and bound.uses_history and bound.frames(0, 1) is None
    generator = torch.Generator().manual_seed(0)
    history = torch.randint(5, (4, 2, 7), generator=generator)
    history[1, 0] = history[0, 0]
    for frame, start in enumerate(starts):
        past = history[:, :, :frame]
        found = dense_values(bound.at(frame, past), 4)
        expected = pair_by_pair(codec, likelihood, mixture, frame, past, start)
        # The decoder's float32, magnified by 1 / sigma^2.
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_hypotheses_of_one_history_share_a_row(make_codec) -> None:
    bound = WaveformLikelihood(make_codec(), context=2).bind(encoded([3, 1, 0, 4]), GAINS)
    history = torch.tensor([[[0, 1, 2], [1, 1, 2]], [[3, 1, 2], [0, 1, 2]]])
    assert bound.at(3, history).n_rows == 1, "they differ before the window only"
    assert bound.at(0, history[:, :, :0]).n_rows == 1
    history[1, 1, 2] = 0
    assert bound.at(3, history).n_rows == 2


def test_codes_stand_at_the_codecs_level(make_codec) -> None:
    """However loud the mixture was: its codes and those of the sources are at one level."""
    empty = torch.zeros(1, 2, 0, dtype=torch.int64)
    values = [
        dense_values(
            WaveformLikelihood(make_codec()).bind(encoded([3], scale=scale), GAINS).at(0, empty), 1
        )
        for scale in (1.0, 7.5)
    ]
    assert torch.equal(*values)


def posterior(codec, n_frames=3, **settings) -> SequencePosterior:
    generator = torch.Generator().manual_seed(3)
    priors = [LongMemoryPrior(torch.randn(3, 3, generator=generator)) for _ in range(2)]
    likelihood = WaveformLikelihood(codec, sigma=0.12, **settings)
    return SequencePosterior(priors, likelihood.bind(encoded([2, 0, 1][:n_frames]), GAINS))


@pytest.mark.parametrize(("window", "context"), [("constant", 1), ("increment", 2)])
def test_samplers_against_enumeration(make_codec, window, context) -> None:
    codec = make_codec((0.0, 0.3, 0.5), own_decoders=True)
    exact_posterior = posterior(codec, window=window, context=context)
    exact = enumerate_posterior(exact_posterior)
    generator = torch.Generator().manual_seed(0)
    beam = BeamSampler(9**2).sample(exact_posterior, generator=generator)
    assert torch.equal(beam.codes[:, 0], exact.best()[0])
    # Priors in float32.
    assert float(beam.log_posterior[0]) == pytest.approx(float(exact.log_joint.max()), abs=1e-5)
    drawn = AncestralSampler(2000).sample(exact_posterior, generator=generator)
    weights = (drawn.log_evidence - exact.log_evidence).exp()
    # The mean weight estimates the evidence; its standard error is reckoned from the draws.
    assert abs(float(weights.mean()) - 1) < 5 * float(weights.std()) / math.sqrt(2000)
    weight = drawn.log_posterior - drawn.log_proposal
    torch.testing.assert_close(weight, drawn.log_evidence, atol=1e-5, rtol=0)
    # The history matters: an exact posterior without it is another one.
    blind = enumerate_posterior(posterior(make_codec((0.0, 0.3, 0.5)), context=2))
    assert abs(blind.log_evidence - exact.log_evidence) > 1e-3


def golden_bound(golden, *, gains=(0.5, 0.5), window="constant"):
    recorded = golden.npz("posterior")
    model = LQVAE(embedding_dim=16, codebook_size=64, width=8, depth=2)
    weights = torch.load(golden.path("lqvae.pth.tar"), weights_only=True, map_location="cpu")
    model.load_state_dict(from_reference(weights["model"]))
    likelihood = WaveformLikelihood(
        LQVAECodec(model, sample_rate=22050),
        sigma=float(recorded["time_sigma"]),
        context=int(recorded["time_context"]),
        window=window,
    )
    codes = torch.from_numpy(recorded["mix_codes"][0]).long()
    mixture = EncodedMixture(torch.zeros(1, 4096), torch.full((64, 16), torch.nan), codes, 1.0)
    return likelihood.bind(mixture, gains)


def golden_values(golden, bound, step: int, chain: int = 0) -> torch.Tensor:
    """Laid out as the reference does: source 1 on the rows."""
    recorded = golden.npz("posterior")
    past = [torch.from_numpy(recorded[f"forced_{source}"][chain, :step]) for source in (0, 1)]
    return dense_values(bound.at(step, torch.stack(past)[None].long()), 1)[0].T


def close(found: torch.Tensor, expected) -> None:
    torch.testing.assert_close(
        found, torch.from_numpy(expected).double(), rtol=0, atol=REFERENCE_TOLERANCE
    )


def test_reference_constant(golden) -> None:
    """Where its window was right: for half a context, and once a context is full."""
    recorded = golden.npz("posterior")
    bound = golden_bound(golden)
    context, right = int(recorded["time_context"]), 0
    for place, step in enumerate(recorded["time_steps"].tolist()):
        found = golden_values(golden, bound, step)
        expected = recorded["time_constant_log_likelihood"][place]
        if step <= context // 2 or step >= context:
            close(found, expected)
            right += 1
        else:
            difference = (found - torch.from_numpy(expected)).abs().max()
            assert difference > 100 * REFERENCE_TOLERANCE, "the fault came back"
    assert right == 4


def test_reference_constant_with_its_warm_up_repaired(golden) -> None:
    recorded = golden.npz("posterior")
    bound = golden_bound(golden)
    for place, step in enumerate(recorded["time_fixed_steps"].tolist()):
        found = golden_values(golden, bound, step)
        close(found, recorded["time_constant_fixed_log_likelihood"][place])


def test_reference_increment(golden) -> None:
    recorded = golden.npz("posterior")
    bound = golden_bound(golden, window="increment")
    for place, step in enumerate(recorded["time_steps"].tolist()):
        found = golden_values(golden, bound, step)
        close(found, recorded["time_increment_log_likelihood"][place])


def test_reference_with_unequal_gains(golden) -> None:
    """The reference weighs source 0 by its second factor: alpha .3/.7 there is .7/.3 here."""
    recorded = golden.npz("posterior")
    step = int(recorded["time_asym_step"])
    expected = recorded["time_asym_log_likelihood_chain1"]
    close(golden_values(golden, golden_bound(golden, gains=GAINS), step, chain=1), expected)
    swapped = golden_values(golden, golden_bound(golden, gains=(0.3, 0.7)), step, chain=1)
    assert (swapped - torch.from_numpy(expected)).abs().max() > 1


def test_what_does_not_fit(make_codec) -> None:
    likelihood = WaveformLikelihood(make_codec())
    with pytest.raises(IncompatibleComponentsError, match="works on 2 sources, got 3"):
        likelihood.bind(encoded([0]), (0.3, 0.3, 0.4))
    with pytest.raises(IncompatibleComponentsError, match="no codes of the mixture"):
        likelihood.bind(EncodedMixture(torch.zeros(1, 4), torch.zeros(1, 1), None, 1.0), GAINS)


def test_settings() -> None:
    for wrong in ({"sigma": 0}, {"window": "growing"}, {"context": 0}, {"batch_size": 0}):
        with pytest.raises(ConfigError, match=f"likelihood: {next(iter(wrong))}"):
            parse_settings(WaveformConfig, wrong, "likelihood")


def test_build(make_codec, tmp_path: Path) -> None:
    registry = Registry.from_plugins(waveform=plugin)
    assert not registry.problems
    context = build_context(tmp_path, gains=GAINS, codec=make_codec())
    config = WaveformConfig(sigma=0.3, window="increment", context=7, batch_size=2)
    built = build(registry.find(Kind.LIKELIHOOD, "waveform"), config, context)
    assert (built.sigma, built.window, built.context) == (0.3, "increment", 7)
    built.bind(encoded([1]), GAINS).at(0, torch.zeros(1, 2, 0, dtype=torch.int64))
    assert context.codec.largest_batch == 2


@pytest.mark.parametrize("settings", [[], ["-p", 'likelihood.window="increment"']])
def test_separating(tiny_model: Path, tmp_path: Path, settings: list[str]) -> None:
    mixture = 0.1 * torch.randn(2, 2001, generator=torch.Generator().manual_seed(0))
    write_audio(tmp_path / "mix.wav", mixture.numpy(), 8000)
    arguments = ["separate", str(tmp_path / "mix.wav"), "-n", str(tiny_model), *settings]
    arguments += ["--likelihood", "waveform", "-p", "likelihood.context=4", "--sigma", "0.2"]
    assert run([*arguments, "-o", str(tmp_path / "out")]) == 0
    folder = tmp_path / "out" / "tiny" / "mix"
    stems = [torch.from_numpy(read_audio(folder / f"{s}.wav")[0]) for s in ("drums", "bass")]
    # 16-bit files: half a step of 1 / 32768 each.
    assert float((sum(stems) - mixture).abs().max()) < 2 / 32768
