"""The codec spectral-vq: the contract, levels, phases, its file."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lqsep.core.components.assemble import BuildContext
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError, ShapeError
from lqsep.core.store.weights import load_weights, save_weights
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.code_spectra import CodeSpectra
from lqsep.plugins.spectral.codec import SpectralCodec
from lqsep.plugins.spectral.config import SpectralConfig
from lqsep.plugins.spectral.factory import build_codec, build_features
from lqsep.plugins.spectral.store import save_books
from lqsep.testing.contexts import build_context
from lqsep.testing.contracts import CodecContract

CONFIG = SpectralConfig(
    sample_rate=8000, n_fft=256, hop_length=64, n_bands=40, codebook_size=8, level=0.0707
)
SOURCES = ("drums", "bass")


def make_book(seed: int) -> SpectralBook:
    """Frames of noise of eight levels and colours; code 0 is silence."""
    features = build_features(CONFIG)
    generator = torch.Generator().manual_seed(seed)
    level = torch.linspace(-40, 0, 7)[:, None] / 4.343 + features.silence[0] + 60 / 4.343
    slope = torch.linspace(0, 1, 129) * (4 * torch.rand(7, 1, generator=generator) - 2)
    log_power = torch.cat([features.silence[0].expand(1, 129), level + slope])
    mean = features.bands(log_power.exp()).log()
    return SpectralBook(mean, torch.ones(8, 40), log_power, torch.arange(8))


def make_codec(level: float | None = None) -> SpectralCodec:
    books = [make_book(seed) for seed in (1, 2)]
    return SpectralCodec(build_features(CONFIG), books, level=level)


def context(folder: Path, **changes: object) -> BuildContext:
    return build_context(folder, **{"sources": SOURCES, **changes})


def noise(n_samples: int, batch: int = 1, scale: float = 0.1) -> Tensor:
    generator = torch.Generator().manual_seed(n_samples)
    return torch.randn((batch, 1, n_samples), generator=generator) * scale


class TestContract(CodecContract):
    def make(self) -> SpectralCodec:
        return make_codec()


class TestContractWithLevel(CodecContract):
    def make(self) -> SpectralCodec:
        return make_codec(level=0.1)


def test_latents_are_log_bands_at_the_level() -> None:
    codec = make_codec(level=0.2)
    wave = noise(800, scale=0.05)
    encoded = codec.analyse(wave)
    scaled = wave * encoded.scale
    assert float(scaled.square().mean().sqrt()) == pytest.approx(0.2, rel=1e-5)  # float32
    assert encoded.codes is None
    assert torch.equal(encoded.latents, codec.features.log_bands(scaled[:, 0])[0])
    assert make_codec().analyse(wave).scale == 1.0


@pytest.mark.parametrize(("rms", "scale"), [(0.0, 1.0), (1e-5, 100.0), (2.0, 0.1)])
def test_silence_stays_silence(rms: float, scale: float) -> None:
    wave = torch.full((1, 1, 80), rms)
    assert make_codec(level=0.2).analyse(wave).scale == pytest.approx(scale)


def test_the_level_does_not_touch_sources() -> None:
    wave = noise(800)
    assert torch.equal(make_codec(level=0.5).encode(wave, 0), make_codec().encode(wave, 0))


def test_codes_are_the_nearest_of_their_source() -> None:
    codec, wave = make_codec(), noise(1000, batch=2)
    bands = codec.features.log_bands(wave[:, 0])
    for source in range(2):
        vectors = codec.embed(torch.arange(8)[None], source)[0]
        assert torch.equal(vectors, codec.books[source].mean)
        expected = torch.cdist(bands, vectors[None].expand(2, -1, -1)).argmin(2)
        assert torch.equal(codec.encode(wave, source), expected)
    silent = codec.encode(torch.zeros(1, 1, 300), 1)
    assert torch.equal(silent, torch.zeros_like(silent))


def test_a_mixture_has_no_codes() -> None:
    codec = make_codec()
    for call in (
        lambda: codec.encode(noise(80)),
        lambda: codec.decode(torch.zeros(1, 2).long(), 80),
    ):
        with pytest.raises(IncompatibleComponentsError, match="none for mixtures: name the source"):
            call()


def power_of(
    codec: SpectralCodec, codes: Tensor, source: int, equaliser: Tensor | None = None
) -> Tensor:
    """Of codes at a gain of one."""
    spectra = CodeSpectra(codec.books, codec.features, (1.0, 1.0))
    flat = torch.zeros(codec.info.embedding_dim)
    return spectra.power(source, codes, flat if equaliser is None else equaliser)


def level_db(codec: SpectralCodec, wave: Tensor) -> Tensor:
    """Mean level of the bins of each inner frame, dB."""
    power = codec.features.stft(wave[:, 0]).abs().square()[..., 4:-4]
    return 10 * power.mean(1).log10()


def test_decoded_powers_are_those_of_the_codes() -> None:
    codec = make_codec()
    n_samples = 64 * 60
    codes = torch.tensor([[7] * 60, [4] * 60])
    expected = 10 * power_of(codec, codes, 0).mean(1).log10()[:, 4:-4]
    # A mixture of the codes' colour: its phase fits, its own level and fading do not matter.
    mixture = 0.01 * noise(n_samples)[0]
    with_phase = level_db(codec, codec.decode(codes, n_samples, 0, mixture))
    alone = level_db(codec, codec.decode(codes, n_samples, 0))
    # Flat powers with a phase of noise are no spectrum of a wave: overlapping frames lose some.
    assert float((with_phase - expected).mean(1).abs().max()) < 3
    assert float((alone - expected).mean(1).abs().max()) < 1.5
    assert torch.equal(codec.decode(codes, n_samples, 0), codec.decode(codes, n_samples, 0))
    torch.testing.assert_close(
        codec.decode(codes[1:], n_samples, 0), codec.decode(codes, n_samples, 0)[1:]
    )


def test_the_phase_is_the_mixtures() -> None:
    codec = make_codec()
    n_samples = 64 * 40
    time = torch.arange(n_samples) / 8000
    mixture = torch.sin(2 * torch.pi * 1000 * time)[None]
    codes = torch.full((1, 40), 7)
    decoded = codec.decode(codes, n_samples, 0, mixture)[0]
    tone = torch.polar(torch.ones(n_samples), -2 * torch.pi * 1000 * time)
    phases = [(wave * tone)[0, 640:1920].sum().angle() for wave in (mixture, decoded)]
    # At the tone's frequency the phase is kept; around it there is none to speak of.
    assert float((phases[0] - phases[1]).abs()) < 0.1
    # The level is not the mixture's; a factor of a power of two is exact in float32.
    assert torch.equal(codec.decode(codes, n_samples, 0, 4 * mixture)[0], decoded)


def test_silence_decodes_to_silence() -> None:
    codec = make_codec()
    silent = torch.zeros(1, 10, dtype=torch.int64)
    for mixture in (None, noise(640)[0], torch.zeros(1, 640)):
        # Rounding of the floor that is added and taken away again.
        assert float(codec.decode(silent, 640, 0, mixture).abs().max()) < 1e-5


@pytest.mark.parametrize("n_samples", [0, 64, 129])
def test_lengths_that_the_codes_cannot_have(n_samples: int) -> None:
    with pytest.raises(ShapeError, match="expected 65 to 128"):
        make_codec().decode(torch.zeros((1, 2), dtype=torch.int64), n_samples, 0)


def test_a_mixture_of_another_length() -> None:
    with pytest.raises(ShapeError, match=r"expected a mixture \(1, 100\)"):
        make_codec().decode(torch.zeros((1, 2), dtype=torch.int64), 100, 0, torch.zeros(1, 101))


def test_no_samples_is_an_error() -> None:
    with pytest.raises(ShapeError, match="one sample or more"):
        make_codec().encode(torch.zeros(1, 1, 0), 0)


@pytest.mark.parametrize("name", ["mean", "variance", "log_power", "count"])
def test_fingerprint_follows_every_tensor(name: str) -> None:
    books = [make_book(1), make_book(2)]
    before = SpectralCodec(build_features(CONFIG), books).fingerprint
    getattr(books[1], name)[3] += 1
    assert SpectralCodec(build_features(CONFIG), books).fingerprint != before


def test_fingerprint_follows_the_features() -> None:
    other = build_features(CONFIG.model_copy(update={"hop_length": 32}))
    codec = make_codec()
    assert SpectralCodec(other, codec.books).fingerprint != codec.fingerprint


def save(folder: Path) -> str:
    codec = make_codec()
    return save_books(folder / "codec.safetensors", codec.features, codec.books, SOURCES, {})


def test_a_saved_codec_is_the_same(tmp_path: Path) -> None:
    expected, digest = make_codec(level=0.0707), save(tmp_path)
    codec = build_codec(CONFIG, context(tmp_path, hashes={"codec.safetensors": digest}))
    assert codec.fingerprint == expected.fingerprint and codec.info.level == 0.0707
    wave = noise(500)
    assert torch.equal(codec.analyse(wave).latents, expected.analyse(wave).latents)
    assert torch.equal(codec.encode(wave, 1), expected.encode(wave, 1))
    with pytest.raises(CheckpointError, match="expected sha256"):
        build_codec(CONFIG, context(tmp_path, hashes={"codec.safetensors": "0" * 64}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebook_size": 16}, r"'0\.\w+' has shape \(8.*expected \(16.*set codec.codebook_size"),
        ({"n_fft": 512, "n_bands": 60}, "trained with n_fft = 256, but .* codec.n_fft = 512"),
        ({"hop_length": 32}, "trained with hop_length = 64"),
        ({"linear_hz": 500.0}, "trained with linear_hz = 700"),
        ({"checkpoint": "none.safetensors"}, "no weights file"),
    ],
)
def test_a_file_of_other_settings(tmp_path: Path, change: dict[str, object], message: str) -> None:
    save(tmp_path)
    with pytest.raises(CheckpointError, match=message) as caught:
        build_codec(CONFIG.model_copy(update=change), context(tmp_path))
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)


def test_a_file_for_other_sources(tmp_path: Path) -> None:
    save(tmp_path)
    with pytest.raises(CheckpointError, match="codes of drums, bass, in this order, but .* bass"):
        build_codec(CONFIG, context(tmp_path, sources=("bass", "drums")))


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({}, {"component": "lq-vae"}, "is not a codec 'spectral-vq' but lq-vae"),
        ({"features": None}, {}, "does not say with which settings"),
        ({"1.mean": None}, {}, "missing '1.mean'"),
        ({"2.mean": torch.zeros(1)}, {}, "unexpected '2.mean'"),
        ({"0.mean": torch.full((8, 40), torch.nan)}, {}, "'0.mean' has values that are no numbers"),
        ({"0.mean": torch.zeros(8, 40).int()}, {}, "'0.mean' holds torch.int32, expected"),
        ({"1.variance": torch.full((8, 40), -1.0)}, {}, "'1.variance' has values below 0"),
        ({}, {"sources": "{"}, "does not say for which sources"),
    ],
)
def test_a_damaged_file(
    tmp_path: Path, tensors: dict[str, Tensor | None], metadata: dict[str, str], message: str
) -> None:
    save(tmp_path)
    path = tmp_path / "codec.safetensors"
    stored = load_weights(path)
    changed = {k: t for k, t in {**stored.tensors, **tensors}.items() if t is not None}
    save_weights(path, changed, {**stored.metadata, **metadata})
    with pytest.raises(CheckpointError, match=message) as caught:
        build_codec(CONFIG, context(tmp_path))
    assert "\n" not in str(caught.value)


def test_the_file_names_its_sources(tmp_path: Path) -> None:
    save(tmp_path)
    metadata = load_weights(tmp_path / "codec.safetensors").metadata
    assert json.loads(metadata["sources"]) == list(SOURCES)


def test_windows_of_a_configuration_overlap() -> None:
    with pytest.raises(ValueError, match=r"hop_length must be at most half of n_fft \(128\)"):
        SpectralConfig(n_fft=256, hop_length=129)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_everything_stays_on_the_device(tmp_path: Path) -> None:
    save(tmp_path)
    device = torch.device("cuda:0")
    codec = build_codec(CONFIG, context(tmp_path, device=device))
    wave = noise(500).to(device)
    codes = codec.encode(wave, 0)
    decoded = [codec.decode(codes, 500, 0, mixture) for mixture in (wave[0], None)]
    results = [codec.analyse(wave).latents, codes, *decoded, power_of(codec, codes, 0)]
    assert {result.device for result in results} == {device}


def test_powers_of_waves_and_codes_have_one_unit() -> None:
    codec = make_codec()
    wave = noise(640)
    power = codec.wave_power(wave[0])
    assert torch.allclose(power.T.log(), codec.features.log_power(wave[:, 0])[0], atol=1e-5)
    bands = codec.features.bands(power.T).log()
    # Floors are added before or after the mean.
    assert torch.allclose(bands, codec.features.log_bands(wave[:, 0])[0], atol=1e-4)


def test_an_equaliser_of_bands_moves_their_bins() -> None:
    codec, codes = make_codec(), torch.tensor([[3, 0, 5]])
    shift = torch.linspace(-1, 1, 40)
    plain, moved = power_of(codec, codes, 1), power_of(codec, codes, 1, shift)
    difference = (moved / plain).log().transpose(1, 2)
    assert torch.allclose(difference, codec.features.spread(shift).expand_as(difference), atol=1e-5)
