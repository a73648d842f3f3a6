"""Prior checkpoints of the reference: sizes from settings and tensors, which must agree."""

import random
from pathlib import Path

import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.pickled_checkpoint import PickledCheckpoint, read_checkpoint
from lqsep.plugins.jukebox.prior_checkpoint import read_prior, reference_prior
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model

EXPECTED = TransformerConfig(width=32, depth=6, heads=1, max_frames=64, blocks=8)
SHOWN = ("prior_width", "prior_depth", "n_ctx", "m_attn", "m_mlp", "l_bins", "emb_width", "level")


@pytest.fixture
def recorded(golden):
    return read_checkpoint(golden.path("prior_0.pth.tar"))


def changed(checkpoint, *, without=(), tensors=None, **hps):
    settings = {key: value for key, value in checkpoint.hps.items() if key not in without}
    state = checkpoint.tensors if tensors is None else tensors
    return PickledCheckpoint(Path("p.pth.tar"), {**settings, **hps}, state, 0)


def test_sizes_come_from_the_settings(recorded):
    assert read_prior(recorded, TransformerConfig).config == EXPECTED
    found = read_prior(changed(recorded, heads=4, blocks=16), TransformerConfig).config
    assert (found.heads, found.blocks) == (4, 16)
    assert (
        read_prior(changed(recorded, attn_order=0, blocks=None), TransformerConfig).config.attention
        == "dense"
    )


@pytest.mark.parametrize("missing", [*((key,) for key in SHOWN), SHOWN], ids=str)
def test_sizes_that_the_settings_lack_are_read_off_the_tensors(recorded, missing):
    assert read_prior(changed(recorded, without=missing), TransformerConfig).config == EXPECTED


@pytest.mark.parametrize("key", ["heads", "attn_order", "blocks"])
def test_what_the_tensors_do_not_show_must_be_there(recorded, key):
    with pytest.raises(CheckpointError, match=f"p.pth.tar: .*lack '{key}'"):
        read_prior(changed(recorded, without=(key,)), TransformerConfig)


def test_it_carries_the_codebooks(golden, recorded):
    codec = read_checkpoint(golden.path("lqvae.pth.tar")).tensors
    found = read_prior(recorded, TransformerConfig).codebooks
    assert len(found) == 3
    for level, codebook in enumerate(found):
        assert torch.equal(codebook, codec[f"bottleneck.level_blocks.{level}.k"])


def test_any_architecture_is_recognised():
    draw = random.Random(0)
    for _ in range(12):
        heads, attention = draw.randint(1, 3), draw.choice(("factored", "dense"))
        width = heads * draw.randint(2, 40)
        # Every share gives an integer size again, also where their product is rounded.
        config = TransformerConfig(
            width=width,
            depth=draw.randint(1, 4),
            heads=heads,
            max_frames=24,
            attention=attention,
            blocks=draw.choice((1, 3, 4)),
            m_attn=(heads * draw.randint(1, 3) + 0.5) / width,
            m_mlp=(draw.randint(1, 2 * width) + 0.5) / width,
        )
        books = [torch.randn(7, 5) for _ in range(draw.randint(1, 3))]
        model = build_model(config, books[-1])
        hps, state = reference_prior(config, model.state_dict(), books, {})
        found = read_prior(PickledCheckpoint(Path("p"), hps, state, 0), TransformerConfig)
        assert found.config.model_copy(update={"blocks": config.blocks}) == config
        assert all(torch.equal(found.tensors[k], v) for k, v in model.state_dict().items())
        assert len(found.tensors) == len(model.state_dict())
        shown = changed(PickledCheckpoint(Path("p"), hps, state, 0), without=SHOWN)
        again = build_model(read_prior(shown, TransformerConfig).config, books[-1])
        again.load_state_dict(found.tensors)


def test_a_size_whose_share_is_rounded_down():
    assert int(29 / 100 * 100) == 28
    config = TransformerConfig(
        width=100, depth=1, heads=1, max_frames=8, attention="dense", m_attn=0.295
    )
    book = torch.randn(7, 5)
    hps, state = reference_prior(config, build_model(config, book).state_dict(), [book], {})
    checkpoint = PickledCheckpoint(Path("p"), hps, state, 0)
    found = read_prior(changed(checkpoint, without=("m_attn",)), TransformerConfig)
    build_model(found.config, book).load_state_dict(found.tensors)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("prior_width", 64, "prior_width = 64, its tensors 32"),
        ("prior_depth", 5, "prior_depth = 5, its tensors 6"),
        ("n_ctx", 128, "n_ctx = 128, its tensors 64"),
        ("m_attn", 0.5, "m_attn x prior_width = 16, its tensors 8"),
        ("m_mlp", 4, "m_mlp x prior_width = 128, its tensors 32"),
        ("l_bins", 2048, "l_bins = 2048, its tensors 64"),
        ("emb_width", 64, "emb_width = 64, its tensors 16"),
        ("heads", 3, "multiple of heads = 3"),
        ("blocks", 7, "multiple of blocks = 7"),
        ("attn_order", 12, "expected attn_order 0 .* got 12"),
        ("level", 1, "a prior of level 1, expected one of the top level, 2"),
        ("res_scale", True, "without scaled residuals"),
        ("prior_width", "wide", "its settings: width: .* got 'wide'"),
    ],
)
def test_settings_that_contradict_are_refused(recorded, key, value, message):
    with pytest.raises(CheckpointError, match=f"^p.pth.tar: .*{message}"):
        read_prior(changed(recorded, **{key: value}), TransformerConfig)


def test_names_are_strict(recorded):
    state = dict(recorded.tensors)
    del state["prior.transformer._attn_mods.3.ln_1.bias"]
    with pytest.raises(CheckpointError, match=r"missing 'prior.*3.ln_1.bias' \(1 missing, 0 unex"):
        read_prior(changed(recorded, tensors=state), TransformerConfig)
    for extra in ("y_emb.weight", "conditioner_blocks.0.cond.weight", "prior.x_emb.weight"):
        state = {**recorded.tensors, extra: torch.zeros(1)}
        with pytest.raises(CheckpointError, match=f"unexpected '{extra}'"):
            read_prior(changed(recorded, tensors=state), TransformerConfig)
    state = {**recorded.tensors, "prior.start_token": torch.zeros(2, 32)}
    with pytest.raises(CheckpointError, match=r"'prior.start_token' has shape \(2, 32\)"):
        read_prior(changed(recorded, tensors=state), TransformerConfig)
    for part in ("bottleneck", "x_out"):
        state = {k: v for k, v in recorded.tensors.items() if part not in k}
        with pytest.raises(CheckpointError, match=f"{part}.*missing"):
            read_prior(changed(recorded, tensors=state), TransformerConfig)


def test_codebooks_are_matrices(recorded):
    state = {**recorded.tensors, "prior.bottleneck.level_blocks.2.k": torch.zeros(64)}
    with pytest.raises(CheckpointError, match="p.pth.tar: .* to be matrices"):
        read_prior(changed(recorded, tensors=state), TransformerConfig)


def test_a_codec_is_no_prior(golden):
    with pytest.raises(CheckpointError, match="is a codec's checkpoint, expected a prior's"):
        read_prior(read_checkpoint(golden.path("lqvae.pth.tar")), TransformerConfig)


def test_there_and_back_is_lossless(recorded):
    prior = read_prior(recorded, TransformerConfig)
    model = build_model(prior.config, prior.codebooks[-1])
    model.load_state_dict(prior.tensors)
    hps, state = reference_prior(prior.config, model.state_dict(), prior.codebooks, recorded.hps)
    assert list(state) == list(recorded.tensors)
    assert all(torch.equal(state[name], tensor) for name, tensor in recorded.tensors.items())
    assert list(hps.items()) == list(recorded.hps.items())
