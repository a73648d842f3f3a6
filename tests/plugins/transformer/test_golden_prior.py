"""Two priors of the reference implementation, compared with what it computed from them."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from lqsep.core.errors import CheckpointError
from lqsep.plugins.jukebox.prior_names import (
    config_from_reference,
    from_reference,
    to_reference,
)
from lqsep.plugins.transformer.config import TransformerConfig
from lqsep.plugins.transformer.factory import build_model
from lqsep.plugins.transformer.prior import TransformerPrior

# The reference's own cached and uncached logits differ by 1e-6; ours differ from them by up to
# 1.5e-6 (logits) and 3e-6 (after normalising), all float32 sums in another order.
TOLERANCE = 1e-5
# Re-deriving the recorded losses in float64 leaves 1e-6 bits.
BITS_TOLERANCE = 2e-6
N_FRAMES = 64


@dataclass
class Recorded:
    prior: TransformerPrior
    codes: Tensor
    logits_full: Tensor
    logits_cached: Tensor
    primed: Tensor
    loss_bits: float
    loss_bits_rows: np.ndarray


def load_reference(golden, source):
    return torch.load(golden.path(f"prior_{source}.pth.tar"), weights_only=True, map_location="cpu")


def load_codebook(golden):
    codec = torch.load(golden.path("lqvae.pth.tar"), weights_only=True, map_location="cpu")
    return codec["model"]["bottleneck.level_blocks.2.k"]


@pytest.fixture(scope="module", params=[0, 1])
def recorded(golden, request) -> Recorded:
    source = request.param
    checkpoint = load_reference(golden, source)
    config = TransformerConfig(**config_from_reference(checkpoint["hps"]))
    model = build_model(config, load_codebook(golden))
    model.load_state_dict(from_reference(checkpoint["model"]))
    arrays = golden.npz("prior")
    return Recorded(
        TransformerPrior(model),
        torch.from_numpy(arrays[f"tokens_{source}"]).long(),
        torch.from_numpy(arrays[f"logits_full_{source}"]),
        torch.from_numpy(arrays[f"logits_cached_{source}"]),
        torch.from_numpy(arrays[f"primed_chunk5_logits_{source}"]),
        float(arrays[f"loss_bits_{source}"]),
        arrays[f"loss_bits_rows_{source}"],
    )


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


def test_whole_sequence_logits(recorded):
    with torch.no_grad():
        assert_near(recorded.prior.model(recorded.codes), recorded.logits_full)


def test_stepwise_log_prob(recorded):
    prior, codes = recorded.prior, recorded.codes
    state, previous = prior.start(len(codes)), None
    for frame in range(N_FRAMES):
        table, state = prior.step(state, previous)
        assert_near(table, recorded.logits_cached[:, frame].log_softmax(-1))
        previous = codes[:, frame]


# Around the edges of rows of 8 frames; 35 is the length the reference was primed with.
@pytest.mark.parametrize("n_prompt", [1, 7, 8, 9, 15, 16, 17, 35, 63])
def test_prompted_log_prob(recorded, n_prompt):
    prior, codes = recorded.prior, recorded.codes[:1]
    state, previous = prior.start(1, codes[:, :n_prompt]), None
    for frame in range(n_prompt, N_FRAMES):
        table, state = prior.step(state, previous)
        assert_near(table, recorded.primed[:, frame].log_softmax(-1))
        previous = codes[:, frame]


def test_loss(recorded):
    bits = -recorded.prior.log_prob(recorded.codes).double().numpy() / math.log(2)
    np.testing.assert_allclose(bits.mean(1), recorded.loss_bits_rows, atol=BITS_TOLERANCE, rtol=0)
    assert bits.mean() == pytest.approx(recorded.loss_bits, abs=BITS_TOLERANCE)


def test_half_precision_matrices_are_upcast(golden, recorded):
    # Checkpoints of half-precision training hold half matrices, everything else in float32.
    checkpoint = load_reference(golden, 0)
    halved = {
        name: tensor.half() if name.endswith(".w") else tensor
        for name, tensor in checkpoint["model"].items()
    }
    own = from_reference(halved)
    assert {tensor.dtype for tensor in own.values()} == {torch.float32}
    exact = from_reference(checkpoint["model"])
    # Half precision keeps 11 bits.
    for name, tensor in exact.items():
        torch.testing.assert_close(own[name], tensor, rtol=2**-11, atol=1e-6)


def test_names_go_both_ways(golden):
    state = load_reference(golden, 0)["model"]
    back = to_reference(from_reference(state))
    codebooks = {name for name in state if name.startswith("prior.bottleneck.")}
    assert len(codebooks) == 3
    assert set(back) == set(state) - codebooks
    for name, tensor in back.items():
        assert torch.equal(tensor, state[name])


def test_prefix_of_a_distributed_run_is_dropped(golden):
    state = load_reference(golden, 0)["model"]
    prefixed = {f"module.{name}": tensor for name, tensor in state.items()}
    assert set(from_reference(prefixed)) == set(from_reference(state))


def test_foreign_names_are_refused():
    with pytest.raises(CheckpointError, match="'prior.y_emb.weight' is no tensor"):
        from_reference({"prior.y_emb.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="attn.c_enc_kv.w' is no tensor"):
        name = "prior.transformer._attn_mods.0.attn.c_enc_kv.w"
        from_reference({name: torch.zeros(1, 1)})
    with pytest.raises(CheckpointError, match="'blocks.0.other.weight' is no tensor"):
        to_reference({"blocks.0.other.weight": torch.zeros(1)})


def test_foreign_hyperparameters_are_refused():
    with pytest.raises(CheckpointError, match="attn_order 0 .* got 6"):
        config_from_reference({"attn_order": 6})
    with pytest.raises(CheckpointError, match="lack 'prior_width'"):
        config_from_reference({"attn_order": 2})
