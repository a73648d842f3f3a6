"""Codec checkpoints of the reference: sizes from settings and tensors, which must agree."""

import random
from pathlib import Path

import pytest
import torch

from lqsep.core.errors import CheckpointError
from lqsep.core.store.pickled_checkpoint import PickledCheckpoint, read_checkpoint
from lqsep.plugins.jukebox.codec_checkpoint import read_codec, reference_codec
from lqsep.plugins.lqvae.codec import inference_tensors, load_inference_tensors
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_model


@pytest.fixture
def recorded(golden):
    return read_checkpoint(golden.path("lqvae.pth.tar"))


def changed(checkpoint, *, without=(), tensors=None, **hps):
    settings = {key: value for key, value in checkpoint.hps.items() if key not in without}
    state = checkpoint.tensors if tensors is None else tensors
    return PickledCheckpoint(Path("c.pth.tar"), {**settings, **hps}, state, 0)


SIZES = (
    "levels", "downs_t", "strides_t", "hvqvae_multipliers", "emb_width", "l_bins", "width", "depth",
)  # fmt: skip
EXPECTED = LQVAEConfig(width=8, depth=2, embedding_dim=16, codebook_size=64)


def test_sizes_come_from_the_settings(recorded):
    assert read_codec(recorded, LQVAEConfig)[0] == EXPECTED
    assert read_codec(changed(recorded, sr=44100), LQVAEConfig)[0].sample_rate == 44100
    assert (
        read_codec(changed(recorded, dilation_growth_rate=2), LQVAEConfig)[0].dilation_growth == 2
    )


@pytest.mark.parametrize("missing", [*((key,) for key in SIZES), SIZES], ids=str)
def test_sizes_that_the_settings_lack_are_read_off_the_tensors(recorded, missing):
    assert read_codec(changed(recorded, without=missing), LQVAEConfig)[0] == EXPECTED


def test_any_architecture_is_recognised():
    draw = random.Random(0)
    for _ in range(12):
        levels = draw.randint(1, 4)
        config = LQVAEConfig(
            sample_rate=draw.choice((8000, 44100)),
            downs_t=tuple(draw.randint(1, 3) for _ in range(levels)),
            strides_t=tuple(draw.choice((2, 4)) for _ in range(levels)),
            multipliers=tuple(draw.randint(1, 3) for _ in range(levels)),
            width=draw.randint(1, 4),
            depth=draw.randint(1, 3),
            dilation_growth=draw.randint(1, 3),
            embedding_dim=draw.randint(1, 5),
            codebook_size=draw.randint(2, 9),
        )
        model = build_model(config)
        hps, state = reference_codec(config, inference_tensors(model), {})
        checkpoint = PickledCheckpoint(Path("c"), hps, state, 0)
        found, tensors = read_codec(checkpoint, LQVAEConfig)
        assert found == config
        own = inference_tensors(model)
        assert list(tensors) == list(own)
        assert all(torch.equal(tensors[name], own[name]) for name in own)
        # Without the sizes the same networks, perhaps with another unit of width and depth.
        found, tensors = read_codec(changed(checkpoint, without=SIZES), LQVAEConfig)
        load_inference_tensors(build_model(found), tensors)


def test_extra_levels_of_the_settings_are_ignored_as_by_the_reference(recorded):
    longer = changed(recorded, downs_t=(2, 2, 2, 3), strides_t=[2, 2, 2, 4])
    assert read_codec(longer, LQVAEConfig)[0] == EXPECTED


def test_no_multipliers_are_ones():
    config = LQVAEConfig(multipliers=(1, 1, 1), width=2, depth=1, embedding_dim=2, codebook_size=3)
    hps, state = reference_codec(config, inference_tensors(build_model(config)), {})
    hps["hvqvae_multipliers"] = None
    assert read_codec(PickledCheckpoint(Path("c"), hps, state, 0), LQVAEConfig)[0] == config


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("levels", 2, r"levels = 2, its tensors 3|one entry per level"),
        ("downs_t", (3, 2, 2), r"downs_t = \(3, 2, 2\), its tensors \(2, 2, 2\)"),
        ("strides_t", (2, 2, 4), r"strides_t = \(2, 2, 4\), its tensors \(2, 2, 2\)"),
        ("hvqvae_multipliers", (1, 1, 1), r"width x multipliers = \(8, 8, 8\), .* \(16, 8, 8\)"),
        ("emb_width", 64, "emb_width = 64, its tensors 16"),
        ("l_bins", 2048, "l_bins = 2048, its tensors 64"),
        ("width", 32, r"width x multipliers = \(64, 32, 32\)"),
        ("depth", 4, r"depth x multipliers = \(8, 4, 4\), its tensors \(4, 2, 2\)"),
        ("width", "wide", "its settings: width: .* got 'wide'"),
        ("downs_t", None, "its settings: downs_t"),
        ("dilation_cycle", 4, "dilation_cycle = 4; lqsep knows codecs with None only"),
        ("vqvae_reverse_decoder_dilation", False, "vqvae_reverse_decoder_dilation = False"),
        ("m_conv", 2.0, "m_conv = 2.0"),
        ("sr", None, "lack 'sr'"),
        ("dilation_growth_rate", None, "lack 'dilation_growth_rate'"),
    ],
)
def test_settings_that_contradict_are_refused(recorded, key, value, message):
    with pytest.raises(CheckpointError, match=f"^c.pth.tar: .*({message})"):
        read_codec(changed(recorded, **{key: value}), LQVAEConfig)


def test_strides_that_no_codec_of_ours_has_are_refused(recorded):
    state = {
        name: torch.zeros(*tensor.shape[:2], 6) if tensor.shape[2:] == (4,) else tensor
        for name, tensor in recorded.tensors.items()
    }
    with pytest.raises(CheckpointError, match=r"strides_t = \(3, 3, 3\); .* even ones only"):
        read_codec(changed(recorded, tensors=state, strides_t=(3, 3, 3)), LQVAEConfig)


def test_names_are_strict(recorded):
    state = dict(recorded.tensors)
    del state["decoders.1.out.bias"]
    with pytest.raises(CheckpointError, match=r"missing 'decoders.1.out.bias' \(1 missing, 0"):
        read_codec(changed(recorded, tensors=state), LQVAEConfig)
    state = {**recorded.tensors, "discriminator.weight": torch.zeros(1)}
    with pytest.raises(CheckpointError, match="'discriminator.weight' is no tensor"):
        read_codec(changed(recorded, tensors=state), LQVAEConfig)
    state = {**recorded.tensors, "bottleneck.level_blocks.3.k": torch.zeros(64, 16)}
    with pytest.raises(CheckpointError, match="unexpected 'bottleneck.level_blocks.3.k'"):
        read_codec(changed(recorded, tensors=state), LQVAEConfig)
    state = {**recorded.tensors, "decoders.0.out.weight": torch.zeros(2, 16, 3)}
    with pytest.raises(CheckpointError, match=r"'decoders.0.out.weight' has shape \(2, 16, 3\)"):
        read_codec(changed(recorded, tensors=state), LQVAEConfig)
    for prefix in ("encoders.0.", "encoders.", "bottleneck.level_blocks.0"):
        state = {k: v for k, v in recorded.tensors.items() if not k.startswith(prefix)}
        with pytest.raises(CheckpointError, match="found only a part of them"):
            read_codec(changed(recorded, tensors=state), LQVAEConfig)


def test_a_prior_is_no_codec(golden):
    with pytest.raises(CheckpointError, match="is a prior's checkpoint, expected a codec's"):
        read_codec(read_checkpoint(golden.path("prior_0.pth.tar")), LQVAEConfig)


def test_there_and_back_is_lossless(recorded):
    config, tensors = read_codec(recorded, LQVAEConfig)
    model = build_model(config)
    load_inference_tensors(model, tensors)
    hps, state = reference_codec(config, inference_tensors(model), recorded.hps)
    assert list(state) == list(recorded.tensors)
    assert all(torch.equal(state[name], tensor) for name, tensor in recorded.tensors.items())
    assert list(hps.items()) == list(recorded.hps.items())
