"""Where a prior's training windows come from: sequences encoded before, or audio at every step."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from lqsep.core.components.assemble import TrainContext
from lqsep.core.corpus.audio_pool import AudioPool, stem_level
from lqsep.core.corpus.code_cache import cached_codes, data_hash
from lqsep.core.corpus.encoding import encode_for_training
from lqsep.core.corpus.variation import Variation
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.codec import Codec
from lqsep.core.interfaces.dataset import Dataset
from lqsep.core.training.events import TrainEncoding, TrainNote, TrainProgress
from lqsep.core.training.seeds import spawn_seed
from lqsep.core.training.shared_tensors import held_once
from lqsep.plugins.transformer.train_config import TransformerTrainConfig

# Clips encoded to count how often each code occurs, where nothing is encoded before.
_COUNTED_CLIPS = 64

ALL = slice(None)


class Windows(ABC):
    """Random windows of codes."""

    @abstractmethod
    def draw(
        self, count: int, generator: torch.Generator, share: slice = ALL
    ) -> Int64[Tensor, "rows frames"]:
        """The ``share`` of ``count`` windows; all of them are drawn."""

    @abstractmethod
    def histogram(self, codebook_size: int) -> Float[Tensor, " codebook_size"]:
        """How often each code occurs, exactly or in a sample; float64."""


class StoredWindows(Windows):
    """Windows of many sequences; every possible window is equally likely.

    Sequences shorter than a window are not used.

    Args:
        sequences: Codes, ``frames`` each, of any integer type.
        frames: Of a window.

    Raises:
        AudioError: No sequence is long enough.
    """

    def __init__(self, sequences: Sequence[Tensor], frames: int) -> None:
        self.frames, longest = frames, max((len(s) for s in sequences), default=0)
        if longest < frames:
            # The prior's last positions would stay untrained.
            raise AudioError(
                f"training a transformer prior: the longest track has {longest} codes, expected "
                f"a context of {frames} at least; use longer tracks or a smaller max_frames"
            )
        self._all = sequences
        self.sequences = [s for s in sequences if len(s) >= self.frames]
        self.ends = torch.tensor([len(s) - self.frames + 1 for s in self.sequences]).cumsum(0)

    def draw(
        self, count: int, generator: torch.Generator, share: slice = ALL
    ) -> Int64[Tensor, "rows frames"]:
        places = torch.randint(int(self.ends[-1]), (count,), generator=generator)[share]
        chosen = torch.searchsorted(self.ends, places, right=True)
        rows = []
        for place, sequence in zip(places.tolist(), chosen.tolist(), strict=True):
            start = place - (int(self.ends[sequence - 1]) if sequence else 0)
            rows.append(self.sequences[sequence][start : start + self.frames])
        return torch.stack(rows).long()

    def histogram(self, codebook_size: int) -> Float[Tensor, " codebook_size"]:
        counts = torch.zeros(codebook_size, dtype=torch.float64)
        for sequence in self._all:
            counts += torch.bincount(sequence, minlength=codebook_size)
        return counts


class ClipWindows(Windows):
    """Windows encoded from random clips when they are drawn.

    Args:
        pool: One source's audio at the codec's rate.
        codec: On ``device``.
        index: The source's position among the pipeline's sources.
        frames: Of a window.
        gain_db: Clips get a random gain of plus or minus this much.
        device: Where the codec runs.

    Raises:
        AudioError: No track is long enough.
    """

    def __init__(
        self,
        pool: AudioPool,
        codec: Codec,
        index: int,
        frames: int,
        gain_db: float,
        device: torch.device,
    ) -> None:
        self._pool, self._codec, self._index, self._device = pool, codec, index, device
        self._gain_db, self._n_samples = gain_db, frames * codec.info.hop_length
        longest = max(len(wave) for wave in pool.waves[0])
        if longest < self._n_samples:
            raise AudioError(
                f"training a transformer prior: the longest track has {longest} samples, expected "
                f"a context of {self._n_samples} at least; use longer tracks or a smaller "
                "max_frames"
            )

    def draw(
        self, count: int, generator: torch.Generator, share: slice = ALL
    ) -> Int64[Tensor, "rows frames"]:
        clips = [self._pool.clip(0, self._n_samples, generator) for _ in range(count)]
        decibel = self._gain_db * (2 * torch.rand(count, 1, generator=generator) - 1)
        waves = (torch.stack(clips) * 10 ** (decibel / 20))[share]
        with torch.no_grad():
            return self._codec.encode(waves[:, None].to(self._device), self._index).cpu()

    def histogram(self, codebook_size: int) -> Float[Tensor, " codebook_size"]:
        sample = self.draw(_COUNTED_CLIPS, torch.Generator().manual_seed(0))
        return torch.bincount(sample.flatten(), minlength=codebook_size).double()


def make_windows(
    context: TrainContext, codec: Codec, source: str, frames: int, settings: TransformerTrainConfig
) -> tuple[Windows, StoredWindows | None]:
    """Windows of the training and of the validation data of a source; collective.

    Raises:
        AudioError: There is too little audio, or too much that cannot be read.
        CheckpointError: Codes cannot be written to the model directory.
    """
    index = context.sources.index(source)
    held_out = None
    if context.validation is not None:
        codes = _encoded(context, context.validation, codec, source, "validation", settings)
        held_out = StoredWindows(codes, frames)
    if settings.codes == "audio":
        pool = AudioPool.for_training(
            context,
            settings,
            context.dataset,
            sample_rate=codec.info.sample_rate,
            level=codec.info.level,
            sources=[source],
            held_together=True,
        )
        clips = ClipWindows(pool, codec, index, frames, settings.gain_db, context.device)
        return clips, held_out
    codes = _encoded(context, context.dataset, codec, source, "train", settings)
    return StoredWindows(codes, frames), held_out


def _encoded(
    context: TrainContext,
    dataset: Dataset,
    codec: Codec,
    source: str,
    split: str,
    settings: TransformerTrainConfig,
) -> Sequence[Tensor]:
    """All sequences of a data set: of every version in training, of the tracks in validation."""
    versions = settings.versions if split == "train" else 1
    seed = spawn_seed(context.seed, f"prior.{source}", "versions")

    def tell(progress: TrainProgress) -> None:
        name = f"codes.{source}.{split}"
        context.report(TrainEncoding(name, progress, is_validation=split == "validation"))

    def encode(skip: int = 0) -> Iterator[Tensor]:
        going_on = f", from the {skip + 1}th sequence on" if skip else ""
        context.report(TrainNote(f"encoding the {split} tracks of '{source}'{going_on}"))
        sequences = encode_for_training(
            context,
            settings,
            dataset,
            versions=versions,
            variation=Variation(gain_db=settings.gain_db),
            generator=torch.Generator().manual_seed(seed) if versions > 1 else None,
            skip=skip,
        )
        return _told(sequences, skip, versions * len(dataset), tell)

    if settings.codes != "disk":
        return held_once(encode())
    depends_on = {
        "codec": codec.fingerprint,
        "level": str(stem_level(codec.info.level, context.gains)),
        "data": data_hash(dataset, source),
        "min_duration": str(settings.min_duration),
    }
    if versions > 1:
        depends_on |= {"gain_db": str(settings.gain_db), "seed": str(seed)}
    depends_on["versions"] = str(versions)
    return cached_codes(context.output_dir / "codes" / f"{source}.{split}", depends_on, encode)


def _told(
    sequences: Iterable[Tensor],
    skipped: int,
    total: int,
    tell: Callable[[TrainProgress], None],
) -> Iterator[Tensor]:
    """The sequences; each is told of."""
    started = time.monotonic()
    for number, sequence in enumerate(sequences, skipped + 1):
        tell(TrainProgress.since(started, number, total, before=skipped))
        yield sequence
