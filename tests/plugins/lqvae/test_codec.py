"""The codec lq-vae: the contract, levels, padding, weights files."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lqsep.core.components.assemble import BuildContext
from lqsep.core.errors import CheckpointError, ShapeError
from lqsep.core.store.weights import file_hash, save_weights
from lqsep.plugins.lqvae.codec import LQVAECodec, inference_tensors
from lqsep.plugins.lqvae.config import LQVAEConfig
from lqsep.plugins.lqvae.factory import build_codec, build_model
from lqsep.plugins.lqvae.model import LQVAE
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import CodecContract

CONFIG = LQVAEConfig(
    sample_rate=8000,
    downs_t=(1, 2),
    strides_t=(2, 2),
    multipliers=(1, 1),
    width=4,
    depth=1,
    embedding_dim=3,
    codebook_size=8,
)


def make_model(config: LQVAEConfig = CONFIG) -> LQVAE:
    """Untrained networks whose codebooks lie where latents of noise fall."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(config)
        for level in range(model.levels):
            latents = model.encode_latents(torch.randn(1, 1, 512), level)[0].T.detach()
            model.quantizer(level).start(latents[torch.randperm(len(latents))[:8]])
    return model


def make_codec(level: float | None = None) -> LQVAECodec:
    return LQVAECodec(make_model(), sample_rate=8000, level=level)


def context(folder: Path, hashes: dict[str, str] | None = None) -> BuildContext:
    return build_context(folder, hashes=hashes)


def noise(n_samples: int, batch: int = 1, scale: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    return torch.randn((batch, 1, n_samples), generator=generator) * scale


class TestContract(CodecContract):
    def make(self) -> LQVAECodec:
        return make_codec()


class TestContractWithLevel(CodecContract):
    def make(self) -> LQVAECodec:
        return make_codec(level=0.1)


def test_info_describes_the_top_level() -> None:
    codec = make_codec()
    assert codec.info.hop_length == 8
    assert (codec.info.sample_rate, codec.info.embedding_dim) == (8000, 3)
    assert codec.codebook_size(0) == codec.codebook_size(1) == 8


def test_codes_are_those_of_the_padded_wave_at_the_top() -> None:
    codec = make_codec()
    wave = noise(83, batch=2)
    padded = torch.cat([wave, torch.zeros(2, 1, 5)], 2)
    codes = codec.encode(wave)
    assert torch.equal(codes, codec.model.encode(padded, 1))
    assert len(codes.unique()) > 2
    rows = [codec.model.decode(row[None], 1) for row in codes]
    assert torch.equal(codec.decode(codes, 83), torch.cat(rows)[:, :, :83])


def test_latents_codes_and_vectors_fit_together() -> None:
    codec = make_codec()
    wave = noise(80)
    encoded = codec.analyse(wave)
    assert encoded.codes is not None
    assert torch.equal(encoded.codes, codec.encode(wave)[0])
    vectors = codec.embed(torch.arange(8)[None])[0]
    # Nearest by the definition; the quantiser's rounding matters at exact ties only.
    assert torch.equal(torch.cdist(encoded.latents, vectors).argmin(1), encoded.codes)


def test_the_mixture_is_brought_to_the_level() -> None:
    codec = make_codec(level=0.2)
    wave = noise(800, scale=0.05)
    encoded = codec.analyse(wave)
    scaled = wave * encoded.scale
    assert float(scaled.square().mean().sqrt()) == pytest.approx(0.2, rel=1e-5)  # float32
    assert torch.equal(encoded.latents, make_codec().analyse(scaled).latents)
    assert make_codec().analyse(wave).scale == 1.0


@pytest.mark.parametrize(("rms", "scale"), [(0.0, 1.0), (1e-5, 100.0), (2.0, 0.1)])
def test_silence_stays_silence(rms: float, scale: float) -> None:
    wave = torch.full((1, 1, 80), rms)
    assert make_codec(level=0.2).analyse(wave).scale == pytest.approx(scale)


def test_the_level_does_not_touch_sources() -> None:
    wave = noise(80)
    assert torch.equal(make_codec(level=0.5).encode(wave), make_codec().encode(wave))


@pytest.mark.parametrize("n_samples", [0, 8, 17])
def test_lengths_that_the_codes_cannot_have(n_samples: int) -> None:
    with pytest.raises(ShapeError, match="expected 9 to 16"):
        make_codec().decode(torch.zeros((1, 2), dtype=torch.int64), n_samples)


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ShapeError, match="one sample or more"):
        make_codec().encode(torch.zeros(1, 1, 0))


def test_fingerprint_follows_the_weights_but_not_the_training_state() -> None:
    model = make_model()
    codec = LQVAECodec(model, sample_rate=8000)
    model.quantizer(1).restart_counts(7.0)
    assert LQVAECodec(model, sample_rate=8000).fingerprint == codec.fingerprint
    model.codebook(1)[0, 0] += 1e-3
    assert LQVAECodec(model, sample_rate=8000).fingerprint != codec.fingerprint


def test_saved_weights_give_the_same_codec(tmp_path: Path) -> None:
    expected = make_codec(level=0.2)
    digest = save_weights(tmp_path / "codec.safetensors", inference_tensors(expected.model), {})
    config = CONFIG.model_copy(update={"level": 0.2})
    codec = build_codec(config, context(tmp_path, {"codec.safetensors": digest}))
    assert codec.fingerprint == expected.fingerprint
    wave = noise(83)
    assert torch.equal(codec.analyse(wave).latents, expected.analyse(wave).latents)
    codes = expected.encode(wave)
    assert torch.equal(codec.decode(codes, 83), expected.decode(codes, 83))


def test_loaded_codebooks_are_ready_for_training(tmp_path: Path) -> None:
    save_weights(tmp_path / "codec.safetensors", inference_tensors(make_model()), {})
    quantizer = build_codec(CONFIG, context(tmp_path)).model.quantizer(1)
    assert bool(quantizer.initialised)
    assert torch.equal(quantizer.code_sum, quantizer.codebook * quantizer.initial_count)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"codebook_size": 16},
            r"'quantizers\.0\.codebook' has shape \(8, 3\), expected \(16, 3\)",
        ),
        ({"depth": 2}, r"missing '.*' \(\d+ missing, 0 unexpected tensors\)"),
        ({"downs_t": (1,), "strides_t": (2,), "multipliers": (1,)}, r"[1-9]\d* unexpected tensors"),
    ],
)
def test_weights_of_another_size(tmp_path: Path, change: dict[str, object], message: str) -> None:
    save_weights(tmp_path / "codec.safetensors", inference_tensors(make_model()), {})
    config = CONFIG.model_copy(update=change)
    with pytest.raises(CheckpointError, match=message) as caught:
        build_codec(config, context(tmp_path))
    assert "codec.safetensors" in str(caught.value)


def test_weights_with_another_hash(tmp_path: Path) -> None:
    path = tmp_path / "codec.safetensors"
    save_weights(path, inference_tensors(make_model()), {})
    wrong = "0" * len(file_hash(path))
    with pytest.raises(CheckpointError, match="expected sha256"):
        build_codec(CONFIG, context(tmp_path, {"codec.safetensors": wrong}))


def test_sizes_are_given_per_level() -> None:
    with pytest.raises(ValueError, match="one entry per level, got 2, 3 and 3"):
        LQVAEConfig(downs_t=(2, 2))


def test_the_recorded_codes_of_the_reference(golden, golden_model) -> None:  # type: ignore[no-untyped-def]
    recorded = {name: torch.from_numpy(array) for name, array in golden.npz("codec").items()}
    codec = LQVAECodec(golden_model(), sample_rate=22050)
    assert codec.info.hop_length == 64
    codes = codec.encode(recorded["audio"][:, None])
    # Codes whose second-best entry is as near as this may turn with the rounding.
    clear = recorded["margin_l2"] > 1e-4
    assert torch.equal(codes[clear], recorded["codes_l2"].long()[clear])


REACHING = [
    CONFIG,
    CONFIG.model_copy(update={"depth": 2, "dilation_growth": 2, "multipliers": (1, 2)}),
    CONFIG.model_copy(update={"downs_t": (3,), "strides_t": (4,), "multipliers": (1,), "depth": 2}),
]


@pytest.mark.parametrize("config", REACHING)
def test_reach_of_the_decoder(config: LQVAEConfig) -> None:
    """A latent changes the sound of the frames that it reaches, and of no others."""
    model = make_model(config).double()
    level = model.levels - 1
    reach, hop = model.decoder_reach(level), model.hop_lengths[level]
    n_frames = 2 * reach + 5
    latents = torch.randn(1, config.embedding_dim, n_frames).double()
    changed = latents.clone()
    changed[:, :, reach + 2] += 100.0
    difference = (model.decode(changed, level) - model.decode(latents, level)).detach().abs()
    frames = difference.view(n_frames, hop).amax(1).nonzero().flatten()
    assert frames[0] >= 2 and frames[-1] <= 2 * reach + 2
    # It is no wider than rounding up at every stage makes it.
    assert frames[0] <= 2 + model.levels + sum(config.downs_t)


@pytest.mark.parametrize("config", REACHING)
def test_pieces_sound_like_the_whole(config: LQVAEConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    lqvae = LQVAECodec(make_model(config), sample_rate=8000)
    model, level = lqvae.model, lqvae.model.levels - 1
    reach = model.decoder_reach(level)
    monkeypatch.setattr("lqsep.plugins.lqvae.codec._PIECE_FRAMES", 1)
    n_frames = 9 * reach + 3
    codes = torch.randint(0, 8, (3, n_frames), generator=torch.Generator().manual_seed(0))
    whole = model.decode(codes, level)
    lengths = []
    decode = model.decode
    monkeypatch.setattr(
        model, "decode", lambda codes, level: lengths.append(codes.shape) or decode(codes, level)
    )
    n_samples = n_frames * lqvae.info.hop_length - 1
    sound = lqvae.decode(codes, n_samples)
    # Convolutions of other lengths are rounded otherwise.
    assert torch.allclose(sound, whole[:, :, :-1], rtol=0, atol=2e-6 * float(whole.abs().max()))
    assert max(length for _, length in lengths) == 6 * reach and len(lengths) == 9
    assert lqvae.decode(codes[:, :0], 0).shape == (3, 1, 0)
