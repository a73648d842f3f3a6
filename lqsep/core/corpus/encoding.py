"""The codes of one source's stems in a data set, for training priors and counting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.corpus.audio_pool import STRICT, AudioPool, Reading, stem_level
from lqsep.core.corpus.variation import Variation
from lqsep.core.errors import IncompatibleComponentsError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.codec_calls import encoded_codes
from lqsep.core.interfaces.dataset import Dataset

if TYPE_CHECKING:
    from lqsep.core.components.assemble import TrainContext
    from lqsep.core.training.settings import ReadingSettings

# Seconds encoded at a time: convolutional codecs need some hundred bytes per sample.
_CHUNK_S = 60.0

SAME = Variation()


def encode_source(
    dataset: Dataset,
    source: str,
    codec: Codec,
    *,
    index: int,
    gains: Sequence[float],
    device: torch.device,
    versions: int = 1,
    variation: Variation = SAME,
    generator: torch.Generator | None = None,
    reading: Reading = STRICT,
    skip: int = 0,
) -> Iterator[Int64[Tensor, " _frames"]]:
    """Encode a source's stem of every track, one after the other.

    Stems are mixed to mono, brought to the codec's rate and, where the codec brings mixtures to a
    level, to the one at which they stand in such a mixture. The source's gain is not applied: a
    likelihood weighs the *codes* of sources at full level.

    Args:
        dataset: Tracks with this stem.
        source: Its name.
        codec: On ``device``.
        index: The source's position among the pipeline's sources.
        gains: Of all sources of the pipeline, in order.
        device: Where the codec runs.
        versions: Times every track is encoded. All but the first are shifted by less than a frame
            and varied: other codes for the same sound, and sounds that the data set has not.
        variation: How far they may differ.
        generator: Draws shifts and variations; needed for more than one version.
        reading: Which tracks may be left out.
        skip: So many sequences have been encoded before: begin with the one after them.

    Yields:
        One sequence per version and track, versions outermost, on the CPU.

    Raises:
        AudioError: There is no audio, or too much that cannot be read.
    """
    level = stem_level(codec.info.level, gains)
    info = codec.info
    waves = AudioPool(dataset, [source], info.sample_rate, level=level, reading=reading).waves[0]
    for wave in waves[skip:]:
        yield _encode(codec, index, wave, device)
    for version in range(1, versions):
        assert generator is not None, "versions are drawn"
        for number, wave in enumerate(waves, version * len(waves)):
            # What is skipped is drawn too: those after it are the same in any case.
            copy = variation.copy(wave, info.sample_rate, info.hop_length, generator)
            if number >= skip:
                yield _encode(codec, index, copy, device)


def encode_for_training(
    context: TrainContext,
    settings: ReadingSettings,
    dataset: Dataset,
    *,
    versions: int = 1,
    variation: Variation = SAME,
    generator: torch.Generator | None = None,
    skip: int = 0,
) -> Iterator[Int64[Tensor, " _frames"]]:
    """What the trainer of a prior learns from: `encode_source` of the source it is for.

    Args:
        context: Of the trainer; its ``report`` is told of what is left out.
        settings: What may be left out.
        dataset: The context's training or validation data.
        versions: As of `encode_source`, like those after it.

    Raises:
        IncompatibleComponentsError: There is no codec or no source.
        AudioError: There is no audio, or too much that cannot be read.
    """
    if context.codec is None or context.source is None:
        raise IncompatibleComponentsError(
            "training a prior: it needs a trained codec and the name of a source"
        )
    return encode_source(
        dataset,
        context.source,
        context.codec,
        index=context.sources.index(context.source),
        gains=context.gains,
        device=context.device,
        versions=versions,
        variation=variation,
        generator=generator,
        reading=Reading.for_training(settings, context.report),
        skip=skip,
    )


def _encode(
    codec: Codec, index: int, wave: Float[Tensor, " samples"], device: torch.device
) -> Int64[Tensor, " frames"]:
    length = max(1, int(_CHUNK_S * codec.info.frame_rate)) * codec.info.hop_length
    parts = [
        encoded_codes(codec, part[None, None].to(device), index)[0].cpu()
        for part in torch.split(wave, length)
        if part.shape[0]
    ]
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.int64)
