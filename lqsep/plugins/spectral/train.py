"""Clusters the spectra of a data set's sources into codebooks."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from lqsep.core.components.assemble import TrainContext
from lqsep.core.components.trainers import weights_metadata
from lqsep.core.corpus.audio_pool import AudioPool
from lqsep.core.corpus.variation import Variation
from lqsep.core.errors import AudioError
from lqsep.core.signal.nearest_codes import nearest_codes
from lqsep.core.training.events import (
    Report,
    TrainNote,
    TrainProgress,
    TrainStep,
    TrainValidation,
)
from lqsep.core.training.seeds import spawn_generator
from lqsep.plugins.spectral.book import SpectralBook
from lqsep.plugins.spectral.config import SpectralConfig, SpectralTrainConfig
from lqsep.plugins.spectral.factory import build_features
from lqsep.plugins.spectral.features import SpectralFeatures
from lqsep.plugins.spectral.kmeans import kmeans
from lqsep.plugins.spectral.store import save_books

# Frames analysed at a time: full spectra take 4 KB per frame.
_BLOCK_FRAMES = 2048

# Nats of power in decibels.
_DECIBEL = 10 / math.log(10)


def train_spectral(
    config: SpectralConfig, train_config: SpectralTrainConfig, context: TrainContext
) -> None:
    """Cluster every source's frames and write ``config.checkpoint`` below ``context.output_dir``.

    It takes seconds to minutes on a CPU, whatever the device, and ``resume`` starts again.
    Reports, per source on the validation data, ``distortion`` (RMS error of a band's level, dB),
    ``snr`` (variance of the bands' levels over that error squared, dB) and ``codes_used`` (share).

    Raises:
        AudioError: There is no audio, too little for so many codes, or too much that cannot be
            read.
        ConfigError: The bands do not fit the spectra.
        CheckpointError: The codebooks cannot be written.
    """
    features = build_features(config)
    pool_of = partial(
        AudioPool.for_training,
        context,
        train_config,
        sample_rate=config.sample_rate,
        level=config.level,
    )
    pool = pool_of(context.dataset)
    books = []
    for source, name in enumerate(context.sources):
        generator = spawn_generator(context.seed, "codec", name)
        clips = Clips(pool.waves[source], features, train_config, generator)
        shown = _Progress(context.report, name, source, len(context.sources), train_config)
        books.append(
            make_book(features, clips, config.codebook_size, train_config, generator, shown)
        )
    figures: dict[str, float] = {}
    if context.validation is not None:
        held_out = pool_of(context.validation)
        for name, book, waves in zip(context.sources, books, held_out.waves, strict=True):
            measured = measure(features, book, waves)
            figures |= {f"{figure}_{name}": value for figure, value in measured.items()}
        context.report(TrainValidation("codec", figures))
    metadata = weights_metadata("spectral-vq", context, figures)
    save_books(context.new_file(config.checkpoint), features, books, context.sources, metadata)


class Clips:
    """The waves of one source in several versions, the same ones whenever they are gone through.

    Args:
        waves: Of the tracks.
        features: Versions but the first are shifted by less than a hop of theirs.
        train_config: How many versions, and how far they differ.
        generator: Draws what they are.

    Attributes:
        n_frames: About as many; a change of pitch changes the length.
    """

    def __init__(
        self,
        waves: Sequence[Float[Tensor, " _samples"]],
        features: SpectralFeatures,
        train_config: SpectralTrainConfig,
        generator: torch.Generator,
    ) -> None:
        self._waves = [wave for wave in waves if len(wave)]
        self._features = features
        self._variation = Variation.of(train_config)
        shape = (train_config.versions - 1, len(self._waves))
        self._seeds = torch.randint(2**62, shape, generator=generator).tolist()
        one = sum(-(-len(wave) // features.hop_length) for wave in self._waves)
        self.n_frames = one * train_config.versions

    def __iter__(self) -> Iterator[Float[Tensor, "1 _samples"]]:
        rate, hop = self._features.sample_rate, self._features.hop_length
        for seeds in [None, *self._seeds]:
            for index, wave in enumerate(self._waves):
                if seeds is not None:
                    generator = torch.Generator().manual_seed(seeds[index])
                    wave = self._variation.copy(wave, rate, hop, generator)
                yield from torch.split(wave[None], _BLOCK_FRAMES * hop, 1)


def make_book(
    features: SpectralFeatures,
    clips: Clips,
    codebook_size: int,
    train_config: SpectralTrainConfig,
    generator: torch.Generator,
    on_round: Callable[[int, float], None] | None = None,
) -> SpectralBook:
    """Cluster the clips' frames and count what falls to each code; code 0 is silence.

    Raises:
        AudioError: There are fewer frames than codes.
    """
    if clips.n_frames < codebook_size:
        raise AudioError(
            f"training codec 'spectral-vq': {clips.n_frames} frames cannot give {codebook_size} "
            "codes; use more audio or a smaller codec.codebook_size"
        )
    share = train_config.max_frames / clips.n_frames
    kept = []
    for wave in clips:
        bands = features.log_bands(wave)[0]
        drawn = torch.rand(len(bands), generator=generator) < share
        kept.append(bands if share >= 1 else bands[drawn])
    centres = kmeans(
        torch.cat(kept),
        codebook_size,
        fixed=features.silence[None],
        iterations=train_config.iterations,
        generator=generator,
        on_round=on_round,
    )
    return count_frames(features, clips, centres, train_config.pseudo_frames)


def count_frames(
    features: SpectralFeatures,
    clips: Clips,
    centres: Float[Tensor, "codes bands"],
    pseudo_frames: float,
) -> SpectralBook:
    """Statistics of the frames nearest to each centre; the first centre is silence and stays.

    A code without frames stands for its centre, with the pooled variance.
    """
    n_codes = len(centres)
    count = torch.zeros(n_codes, dtype=torch.int64)
    sums, squares = (torch.zeros(centres.shape, dtype=torch.float64) for _ in range(2))
    log_powers = torch.zeros(n_codes, features.n_bins, dtype=torch.float64)
    for wave in clips:
        log_power = features.log_power(wave)[0]
        bands = features.bands(log_power.exp()).log()
        codes, _ = nearest_codes(bands, centres)
        # Around the centres, so that squares lose nothing to large means.
        offset = (bands - centres[codes]).double()
        count += torch.bincount(codes, minlength=n_codes)
        sums.index_add_(0, codes, offset)
        squares.index_add_(0, codes, offset.square())
        log_powers.index_add_(0, codes, log_power.double())
    total = count.clamp(min=1)[:, None]
    shift, log_power = sums / total, log_powers / total
    # Silence is exactly that, whatever faint frames fell to it.
    shift[0] = 0
    mean = centres + shift
    plain = (count == 0) | (torch.arange(n_codes) == 0)
    log_power[plain] = features.spread(mean[plain])
    spread = (squares - count[:, None] * shift.square()).clamp(min=0)
    # Digital silence does not vary and would narrow all the others.
    pooled = spread[1:].sum(0) / count[1:].sum().clamp(min=1)
    variance = (spread + pseudo_frames * pooled) / (total + pseudo_frames)
    variance[count == 0] = pooled
    return SpectralBook(mean.float(), variance.float(), log_power.float(), count)


def measure(
    features: SpectralFeatures, book: SpectralBook, waves: Sequence[Float[Tensor, " _samples"]]
) -> Mapping[str, float]:
    """How well the codes' means stand for a source's frames; NaN without any."""
    blocks = [
        part[None]
        for wave in waves
        for part in torch.split(wave, _BLOCK_FRAMES * features.hop_length)
        if len(part)
    ]
    if not blocks:
        return dict.fromkeys(("distortion", "snr", "codes_used"), math.nan)
    bands = torch.cat([features.log_bands(block)[0] for block in blocks])
    codes, distance = nearest_codes(bands, book.mean)
    error = float(distance.double().mean()) / features.n_bands
    variance = float((bands - bands.mean(0)).square().double().mean())
    return {
        "distortion": _DECIBEL * math.sqrt(error),
        "snr": 10 * math.log10(max(variance, 1e-12) / max(error, 1e-12)),
        "codes_used": len(torch.unique(codes)) / book.size,
    }


class _Progress:
    """Reports the rounds of one source as steps of the whole run."""

    def __init__(
        self,
        report: Report,
        source: str,
        index: int,
        n_sources: int,
        train_config: SpectralTrainConfig,
    ) -> None:
        self._report, self._source = report, source
        self._before = index * train_config.iterations
        self._steps = n_sources * train_config.iterations
        self._started = time.monotonic()
        report(TrainNote(f"clustering the spectra of '{source}'"))

    def __call__(self, number: int, distortion: float) -> None:
        progress = TrainProgress.since(
            self._started, self._before + number, self._steps, before=self._before
        )
        self._report(TrainStep("codec", progress, distortion))
