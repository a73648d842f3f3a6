from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError, ShapeError
from lqsep.core.store.weights import save_weights
from lqsep.plugins.transformer import plugin
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model
from lqsep.plugins.transformer.prior import TransformerPrior
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import PriorContract
from lqsep.testing.prior_contract import run_prior
from lqsep.testing.toys import AddingCodec

# float32 sums in another order: values here reach -30, whose spacing is 2e-6.
TOLERANCE = 5e-5
ARCHITECTURES = [("factored", 1), ("factored", 4), ("factored", 6), ("dense", 2)]


@pytest.fixture
def codes():
    return torch.randint(11, (5, 24), generator=torch.Generator().manual_seed(1))


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


class _TransformerContract(PriorContract):
    n_frames = 24
    architecture = ("factored", 4)

    @pytest.fixture(autouse=True)
    def _model(self, make_model):
        self.make_model = make_model

    def make(self):
        return TransformerPrior(self.make_model(*self.architecture))


class TestFactored(_TransformerContract):
    pass


class TestDense(_TransformerContract):
    architecture = ("dense", 2)


class TestShortRows(_TransformerContract):
    def make(self):
        return TransformerPrior(self.make_model("factored", 3, blocks=24))


@pytest.mark.parametrize(("attention", "depth"), ARCHITECTURES)
def test_steps_equal_whole_sequence(make_model, codes, attention, depth):
    model = make_model(attention, depth)
    with torch.no_grad():
        whole = model(codes).log_softmax(-1)
    # Far from uniform, and far from each other.
    assert whole.exp().amax(-1).mean() > 0.3
    assert_near(run_prior(TransformerPrior(model), codes).transpose(0, 1), whole)


@pytest.mark.parametrize(("attention", "depth"), ARCHITECTURES)
def test_predictions_depend_on_the_past_only(make_model, codes, attention, depth):
    model = make_model(attention, depth)
    with torch.no_grad():
        before = model(codes)
        for frame in (0, 3, 4, 9, 23):
            changed = codes.clone()
            changed[:, frame] = (changed[:, frame] + 1) % 11
            after = model(changed)
            assert torch.equal(after[:, : frame + 1], before[:, : frame + 1])
            if depth > 2 and frame < 23:
                # Three layers together see every earlier frame; dense layers do so each.
                assert (after[:, frame + 1 :] != before[:, frame + 1 :]).any(2).all()


@pytest.mark.parametrize("n_frames", [1, 4, 5, 11])
def test_shorter_sequences_are_prefixes(make_model, codes, n_frames):
    model = make_model()
    with torch.no_grad():
        assert_near(model(codes[:, :n_frames]), model(codes)[:, :n_frames])


@pytest.mark.parametrize("attention", ["factored", "dense"])
@pytest.mark.parametrize("rows", [[4, 3, 2, 1, 0], [0, 0, 2, 3, 3], [1, 2], [0, 1, 2, 3, 4, 4, 0]])
def test_select_at_every_frame(make_model, codes, attention, rows):
    # One long run in which rows are re-ordered at every frame equals whole-sequence passes over
    # the codes that each row then stands for.
    model = make_model(attention)
    prior = TransformerPrior(model)
    generator = torch.Generator().manual_seed(2)
    kept = codes[:, :0]
    table, state = prior.step(prior.start(5), None)
    for _ in range(23):
        picks = torch.tensor(rows) % len(kept)
        state = prior.select(state, picks)
        drawn = torch.randint(11, (len(picks),), generator=generator)
        kept = torch.cat([kept[picks], drawn[:, None]], 1)
        table, state = prior.step(state, drawn)
        with torch.no_grad():
            padded = torch.cat([kept, kept[:, :1]], 1)
            assert_near(table, model(padded)[:, -1].log_softmax(-1))


def test_select_before_the_first_step(make_model, codes):
    prior = TransformerPrior(make_model())
    rows = torch.tensor([3, 3, 0])
    state = prior.select(prior.start(5, codes[:, :6]), rows)
    first, state = prior.step(state, None)
    second, _ = prior.step(state, codes[rows, 6])
    expected = run_prior(prior, codes[rows])
    assert_near(first, expected[6])
    assert_near(second, expected[7])


def test_tables_may_be_changed_in_place(make_model, codes):
    prior = TransformerPrior(make_model())
    first, state = prior.step(prior.start(5), None)
    second, _ = prior.step(state, codes[:, 0])
    for table in (first, second, prior.log_prob(codes)):
        assert table.dtype == torch.float32
        table.add_(1.0)


def test_log_prob_in_chunks_of_rows(make_model, codes, monkeypatch):
    prior = TransformerPrior(make_model())
    whole = prior.log_prob(codes)
    monkeypatch.setattr("lqsep.plugins.transformer.prior._MAX_LOGITS", 2 * 24 * 11)
    assert_near(prior.log_prob(codes), whole)
    assert prior.log_prob(codes[:, :0]).shape == (5, 0)


def test_context_is_the_limit(make_model, codes):
    prior = TransformerPrior(make_model())
    assert prior.info.codebook_size == 11 and prior.info.max_frames == 24
    state = prior.start(5, codes[:, :23])
    _, state = prior.step(state, None)
    with pytest.raises(ShapeError, match="context of 24 frames is full"):
        prior.step(state, codes[:, 23])
    with pytest.raises(ShapeError, match="fewer than 24 frames, got shape"):
        prior.start(5, codes)
    with pytest.raises(ShapeError, match="prompt of 4 rows"):
        prior.start(4, codes[:, :3])
    with pytest.raises(ShapeError, match="at most 24 frames, got 25"):
        prior.log_prob(torch.zeros(1, 25, dtype=torch.int64))


def test_first_step_takes_none_and_others_codes(make_model, codes):
    prior = TransformerPrior(make_model())
    with pytest.raises(ShapeError, match="got codes"):
        prior.step(prior.start(5), codes[:, 0])
    _, state = prior.step(prior.start(5), None)
    with pytest.raises(ShapeError, match="got None"):
        prior.step(state, None)


def test_dropout_acts_in_training_only(make_model, codes):
    model = make_model(dropout=0.5)
    plain = make_model()
    with torch.no_grad():
        assert torch.equal(model(codes), plain(codes))
        model.train()
        assert not torch.equal(model(codes), model(codes))


def test_every_weight_is_trained(make_model, codes):
    model = make_model().train()
    torch.nn.functional.cross_entropy(model(codes).flatten(0, 1), codes.flatten()).backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_layers_in_half_precision(make_model, codes, dtype):
    exact = make_model()
    model = make_model()
    model.set_block_dtype(dtype)
    prior = TransformerPrior(model)
    tables = run_prior(prior, codes).transpose(0, 1)
    assert tables.dtype == torch.float32
    with torch.no_grad():
        expected = exact(codes).log_softmax(-1)
        whole = model(codes).log_softmax(-1)
    # Rounding of 2^-11 (half) or 2^-8 (bfloat16) of hidden values up to ten, added up over four
    # layers and a loud output layer: on average a few times that.
    step = 2**-11 if dtype is torch.float16 else 2**-8
    for found in (tables, whole):
        error = (found - expected).abs().mean()
        assert 0 < error < 20 * step
    assert model.new_cache(1)._data[0].dtype == dtype


# Building from a configuration and a weights file.

CONFIG = {"width": 16, "depth": 4, "heads": 2, "max_frames": 24, "blocks": 6, "m_attn": 0.5}


@pytest.fixture
def codec():
    return AddingCodec([float(level) for level in range(11)])


@pytest.fixture
def context(tmp_path, codec):
    return build_context(tmp_path, source="bass", codec=codec)


@pytest.fixture
def build_prior(context):
    registered = Registry.from_plugins(transformer=plugin).find(Kind.PRIOR, "transformer")

    def build_from(context=context, **settings):
        return build(registered, TransformerConfig(**CONFIG | settings), context)

    return build_from


@pytest.fixture
def saved(context, codec):
    """Weights of a prior on the codec's eleven levels, under the default name."""
    torch.manual_seed(0)
    model = build_model(TransformerConfig(**CONFIG), codec.levels[:, None])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.3)
    path = context.path("prior.bass.safetensors")
    save_weights(path, model.state_dict(), {"codec_fingerprint": codec.fingerprint})
    return model.eval()


def test_build(build_prior, saved, codes, context):
    prior = build_prior()
    with torch.no_grad():
        expected = saved(codes).log_softmax(-1)
    assert_near(run_prior(prior, codes).transpose(0, 1), expected)
    context.path("prior.bass.safetensors").rename(context.path("other.safetensors"))
    named = build_prior(checkpoint="other.safetensors")
    assert torch.equal(named.log_prob(codes), prior.log_prob(codes))
    with pytest.raises(CheckpointError, match="no weights file at .*prior.bass.safetensors"):
        build_prior()


def test_weights_hold_no_codebook(saved):
    assert "codebook" not in saved.state_dict()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_weights_are_upcast(build_prior, saved, codec, codes, context, dtype):
    exact = build_prior().log_prob(codes)
    halved = {name: tensor.to(dtype) for name, tensor in saved.state_dict().items()}
    save_weights(context.path("half.safetensors"), halved, {})
    prior = build_prior(checkpoint="half.safetensors")
    assert {p.dtype for p in prior.model.parameters()} == {torch.float32}
    rounded = build_model(TransformerConfig(**CONFIG), codec.levels[:, None])
    rounded.load_state_dict({name: tensor.float() for name, tensor in halved.items()})
    assert_near(prior.log_prob(codes), TransformerPrior(rounded).log_prob(codes))
    assert not torch.equal(prior.log_prob(codes), exact)


def test_dtype_of_the_context_is_that_of_the_layers(build_prior, saved, codes, context):
    half = build_prior(replace(context, dtype=torch.bfloat16))
    assert half.model.block_dtype == torch.bfloat16
    assert half.model.output.weight.dtype == torch.float32
    assert half.log_prob(codes).dtype == torch.float32


def test_another_codec_is_refused(build_prior, saved, context):
    other = AddingCodec([0.5 * level for level in range(11)])
    with pytest.raises(CheckpointError, match="trained on another codec") as info:
        build_prior(replace(context, codec=other))
    assert "\n" not in str(info.value)
    save_weights(context.path("unmarked.safetensors"), saved.state_dict(), {})
    build_prior(replace(context, codec=other), checkpoint="unmarked.safetensors")


@pytest.mark.parametrize(
    ("settings", "name"),
    [({"width": 32}, "shape"), ({"depth": 3}, "unexpected"), ({"depth": 5}, "missing")],
)
def test_other_sizes_are_refused(build_prior, saved, settings, name):
    with pytest.raises(CheckpointError, match=f"does not fit the configured model.*{name}") as info:
        build_prior(**settings)
    assert "\n" not in str(info.value)


def test_a_wrong_hash_is_refused(build_prior, saved, context):
    hashes = {"prior.bass.safetensors": "0" * 64}
    with pytest.raises(CheckpointError, match="expected sha256 0000000000000000"):
        build_prior(replace(context, hashes=hashes))


def test_a_codec_is_needed(build_prior, saved, context):
    with pytest.raises(IncompatibleComponentsError, match="code vectors"):
        build_prior(replace(context, codec=None))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"heads": 3}, "m_attn x width = 8 must be a positive multiple of heads = 3"),
        ({"blocks": 5}, "max_frames = 24 must be a multiple of blocks = 5"),
        ({"m_mlp": 0.01}, "m_mlp x width must be at least 1"),
        ({"layers": 3}, "layers"),
    ],
)
def test_sizes_that_do_not_fit(settings, message):
    with pytest.raises(ValidationError, match=message):
        TransformerConfig(**CONFIG | settings)


def test_dense_attention_has_no_rows():
    # More rows than frames would leave rows of no frame.
    model = build_model(TransformerConfig(attention="dense", max_frames=4), torch.zeros(3, 2))
    prior = TransformerPrior(model)
    assert run_prior(prior, torch.zeros(1, 4, dtype=torch.int64)).shape == (4, 1, 3)
