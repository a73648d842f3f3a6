"""The codec against numbers recorded from the reference implementation.

Tolerances: convolutions sum up to a few hundred float32 products in an order that depends on the
library's build; audio and latents of size about 1 to 10 then agree to about 1e-5. Codes must be
equal wherever the second-best entry is further away than that (margin above 1e-4).
"""

import jaxtyping
import pytest
import torch

from lqsep.core.errors import CheckpointError, ConfigError, ShapeError
from lqsep.plugins.jukebox.codec_names import from_reference, to_reference
from lqsep.plugins.lqvae.model import LQVAE

LEVELS = (0, 1, 2)
SUM_TOLERANCE = {"rtol": 1e-5, "atol": 2e-5}
CLEAR_MARGIN = 1e-4

# With run-time checks of annotations on, a tensor of the wrong rank fails there already.
WRONG_SHAPE = (ShapeError, jaxtyping.TypeCheckError)


@pytest.fixture
def recorded(golden):
    return {name: torch.from_numpy(array) for name, array in golden.npz("codec").items()}


@pytest.mark.parametrize("level", LEVELS)
def test_encoder_matches_the_reference(golden_model, recorded, level):
    with torch.no_grad():
        latents = golden_model().encode_latents(recorded["audio"].unsqueeze(1), level)
    torch.testing.assert_close(latents, recorded[f"enc_l{level}"], **SUM_TOLERANCE)


@pytest.mark.parametrize("level", LEVELS)
def test_codes_match_the_reference(golden_model, recorded, level):
    with torch.no_grad():
        codes = golden_model().encode(recorded["audio"].unsqueeze(1), level)
    clear = recorded[f"margin_l{level}"] > CLEAR_MARGIN
    assert clear.float().mean() > 0.99
    assert torch.equal(codes[clear], recorded[f"codes_l{level}"].long()[clear])


@pytest.mark.parametrize("level", LEVELS)
def test_decoder_matches_the_reference(golden_model, recorded, level):
    codes = recorded[f"codes_l{level}"].long()
    with torch.no_grad():
        wave = golden_model().decode(codes, level)
    torch.testing.assert_close(wave[:, 0], recorded[f"audio_dec_l{level}"], **SUM_TOLERANCE)


@pytest.mark.parametrize("level", LEVELS)
def test_codebook_is_the_recorded_one(golden_model, recorded, level):
    assert torch.equal(golden_model().codebook(level), recorded[f"codebook_l{level}"])


def test_lookup_gives_the_recorded_entries(golden_model, recorded):
    embedded = golden_model().lookup(recorded["codes_l2"].long(), 2)
    assert torch.equal(embedded, recorded["emb_l2"])


def test_decode_takes_latents_too(golden_model, recorded):
    with torch.no_grad():
        wave = golden_model().decode(recorded["emb_l2"], 2)
    torch.testing.assert_close(wave[:, 0], recorded["audio_dec_l2"], **SUM_TOLERANCE)


def test_a_clip_of_odd_length_loses_its_last_samples(golden_model, recorded):
    model = golden_model()
    with torch.no_grad():
        codes = model.encode(recorded["audio_long"].unsqueeze(1), 2)
        wave = model.decode(codes, 2)
    assert torch.equal(codes, recorded["codes_long_l2"].long())
    torch.testing.assert_close(wave[:, 0], recorded["audio_long_dec_l2"], **SUM_TOLERANCE)


def test_random_codes_decode_like_the_reference(golden_model, recorded):
    with torch.no_grad():
        wave = golden_model().decode(recorded["codes_rand_l2"].long(), 2)
    torch.testing.assert_close(wave[:, 0], recorded["audio_rand_dec_l2"], **SUM_TOLERANCE)


def test_names_map_there_and_back(golden_model, reference_state):
    back = to_reference(golden_model().state_dict())
    assert list(back) == list(reference_state)
    assert all(torch.equal(back[name], tensor) for name, tensor in reference_state.items())


def test_unknown_names_are_refused():
    with pytest.raises(CheckpointError, match="prior.x_out.weight"):
        from_reference({"prior.x_out.weight": torch.zeros(1)})
    with pytest.raises(CheckpointError, match="elsewhere"):
        to_reference({"elsewhere": torch.zeros(1)})


def tiny_model(**sizes) -> LQVAE:
    return LQVAE(**{"embedding_dim": 4, "codebook_size": 8, "width": 4, "depth": 1, **sizes})


def test_only_the_asked_level_is_encoded():
    model = tiny_model()
    called = []
    for level, encoder in enumerate(model.encoders):
        encoder.register_forward_hook(lambda *_, level=level: called.append(level))
    model.encode(torch.randn(1, 1, 128), 1)
    assert called == [1]


@pytest.mark.parametrize("samples", [64, 65, 127, 128, 191])
def test_lengths_at_every_level(samples):
    model = tiny_model()
    for level, hop in enumerate(model.hop_lengths):
        codes = model.encode(torch.randn(2, 1, samples), level)
        assert codes.shape == (2, samples // hop)
        assert codes.dtype == torch.int64
        assert model.decode(codes, level).shape == (2, 1, samples // hop * hop)


def test_hop_lengths_multiply_over_levels():
    assert tiny_model().hop_lengths == (4, 16, 64)
    model = tiny_model(downs_t=(1, 2), strides_t=(4, 2), multipliers=(1, 1))
    assert model.hop_lengths == (4, 16)


@pytest.mark.parametrize("shape", [(1, 2, 128), (1, 1, 63), (1, 128)])
def test_waves_that_do_not_fit_are_refused(shape):
    with pytest.raises(WRONG_SHAPE):
        tiny_model().encode_latents(torch.zeros(shape), 2)


def test_latents_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="4"):
        tiny_model().decode(torch.zeros(1, 5, 3), 2)


@pytest.mark.parametrize(
    "sizes",
    [{"downs_t": (2, 2)}, {"strides_t": (3, 3, 3)}, {"width": 0}, {"decay": 1.0}],
    ids=str,
)
def test_wrong_sizes_are_refused(sizes):
    with pytest.raises(ConfigError):
        tiny_model(**sizes)


def test_a_missing_level_is_refused():
    with pytest.raises(ConfigError, match="level 3"):
        tiny_model().encode(torch.zeros(1, 1, 128), 3)
