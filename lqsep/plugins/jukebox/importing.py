"""From checkpoints of LQVAE-separation to a model directory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from lqsep.core.components.component_config import prior_file
from lqsep.core.components.config import parse_config
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, ConfigError
from lqsep.core.files.new_directory import new_directory
from lqsep.core.store.model_directory import update_model_toml
from lqsep.core.store.pickled_checkpoint import read_checkpoint
from lqsep.core.store.weights import file_hash, fingerprint, save_weights
from lqsep.plugins.jukebox.codec_checkpoint import read_codec
from lqsep.plugins.jukebox.codec_layout import CODEC, codebooks_of
from lqsep.plugins.jukebox.origin import origin_metadata
from lqsep.plugins.jukebox.prior_checkpoint import read_prior
from lqsep.plugins.jukebox.prior_layout import PRIOR
from lqsep.plugins.jukebox.sum_table import SUMS_FILE
from lqsep.plugins.jukebox.table_import import import_table

DEFAULT_GAIN = 0.5

# As the reference separates: its sigma, its number of chains, its choice among all pairs. The
# refiners, which it does not have, make the stems sum to the mixture.
_PIPELINE: dict[str, Any] = {
    "likelihood": {"type": "codebook-sum", "sigma": 0.4, "target": "quantised"},
    "sampler": {"type": "ancestral", "n_candidates": 64},
    "selector": {"type": "rejection", "mode": "marginal"},
    "refiners": [{"type": "wiener"}, {"type": "consistency"}],
}


@dataclass(frozen=True, kw_only=True)
class JukeboxFiles:
    """What is imported.

    Args:
        codec: The LQ-VAE's checkpoint.
        priors: Source and checkpoint, in the order of the sources.
        sums: Table of code sums; its rows are codes of the first source.
        gains: By source; one half where nothing is said.
        sample_rate: In Hz, for a codec whose settings do not say it.
    """

    codec: Path
    priors: Sequence[tuple[str, Path]]
    sums: Path | None = None
    gains: Mapping[str, float] = field(default_factory=dict)
    sample_rate: int | None = None

    def source_gains(self) -> dict[str, float]:
        """The gain of every source, in order.

        Raises:
            ConfigError: Not two different sources.
        """
        sources = [source for source, _ in self.priors]
        if len(sources) != 2 or len(set(sources)) != 2:
            raise ConfigError(
                f"importing a model: expected the priors of 2 sources, got {len(sources)} "
                f"({', '.join(sources)}); give --prior SOURCE=FILE once for each of two sources"
            )
        return {source: self.gains.get(source, DEFAULT_GAIN) for source in sources}


def import_model(
    files: JukeboxFiles,
    output: Path,
    device: str = "auto",
    on_pairs: Callable[[int, int], None] | None = None,
) -> None:
    """Check the files against each other and write them as a model directory, or nothing.

    Args:
        files: What is imported.
        output: The directory to make.
        device: Where the table of sums is checked.
        on_pairs: Progress of that check, ``(pairs_done, pairs_total)``.

    Raises:
        CheckpointError: A file is missing, damaged, unsafe or does not belong to the others, or
            ``output`` holds something already.
        ConfigError: Not two sources, or a name that is none.
        DeviceError: The device is not available.
    """
    gains, registry = files.source_gains(), Registry.discover()
    with new_directory(output) as directory:
        parts = _read_parts(files, gains, registry)
        names = list(parts.weights)
        data = {"version": 1, "codec": parts.codec, "sources": parts.sources, **_PIPELINE}
        if files.sums is not None:
            data["likelihood"] = {**_PIPELINE["likelihood"], "table": SUMS_FILE}
            names.append(SUMS_FILE)
        # Before anything is written under the sources' names.
        config = parse_config(data, registry, directory, name=f"importing to {output}")
        for name, (tensors, metadata) in parts.weights.items():
            save_weights(directory / name, tensors, metadata)
        if files.sums is not None:
            vectors = parts.codebooks[-1]
            import_table(files.sums, vectors, config, registry, device, on_pairs)
        data["model"] = _description(files)
        update_model_toml(directory, config=data, files=names)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Codec and priors as read: tables of the configuration, weights by file name."""

    codec: dict[str, Any]
    sources: dict[str, Any]
    weights: dict[str, tuple[dict[str, Tensor], dict[str, str]]]
    codebooks: list[Tensor]
    codec_fingerprint: str


def _read_parts(files: JukeboxFiles, gains: Mapping[str, float], registry: Registry) -> _Parts:
    checkpoint = read_checkpoint(files.codec)
    settings = registry.find(Kind.CODEC, CODEC).spec.config
    codec_config, tensors = read_codec(checkpoint, settings, files.sample_rate)
    codec = codec_config.model_dump(mode="json", exclude_none=True)
    parts = _Parts(
        codec=codec,
        sources={},
        weights={codec["checkpoint"]: (tensors, origin_metadata(checkpoint))},
        codebooks=codebooks_of(tensors),
        codec_fingerprint=fingerprint(tensors),
    )
    settings = registry.find(Kind.PRIOR, PRIOR).spec.config
    for source, path in files.priors:
        checkpoint = read_checkpoint(path)
        prior = read_prior(checkpoint, settings)
        _check_codebooks(path, prior.codebooks, files.codec, parts.codebooks)
        name = prior_file(source)
        table = prior.config.model_dump(mode="json", exclude_none=True)
        parts.sources[source] = {"gain": gains[source], "prior": {**table, "checkpoint": name}}
        metadata = {"codec_fingerprint": parts.codec_fingerprint, **origin_metadata(checkpoint)}
        parts.weights[name] = (prior.tensors, metadata)
    return parts


def _check_codebooks(
    path: Path, found: Sequence[Tensor], codec_path: Path, expected: Sequence[Tensor]
) -> None:
    """A prior must have been trained on this very codec.

    The reference loads a prior's codebooks over the codec's, so that a wrong prior spoils both.
    """
    if len(found) != len(expected):
        raise CheckpointError(
            f"{path} was trained on another codec than {codec_path}: expected codebooks of "
            f"{len(expected)} levels, got {len(found)}; give the codec it was trained on"
        )
    for level, (own, codecs) in enumerate(zip(found, expected, strict=True)):
        if not _same_codebook(own, codecs):
            raise CheckpointError(
                f"{path} was trained on another codec than {codec_path}: the codebook of level "
                f"{level} that it carries is not the codec's; give the codec that the prior was "
                "trained on"
            )


def _same_codebook(carried: Tensor, codec: Tensor) -> bool:
    """Bit for bit; a prior stored in half precision carries the codec's rounded to that."""
    if carried.shape != codec.shape:
        return False
    versions = (codec, codec.half().float(), codec.bfloat16().float())
    return any(bool((carried == version).all()) for version in versions)


def _description(files: JukeboxFiles) -> dict[str, Any]:
    """``[model]``: what is known of a model that was imported."""

    def described(path: Path) -> dict[str, str]:
        return {"file": path.name, "sha256": file_hash(path)}

    origin: dict[str, Any] = {"format": "jukebox", "codec": described(files.codec)}
    origin["priors"] = {source: described(path) for source, path in files.priors}
    if files.sums is not None:
        origin["sums"] = described(files.sums)
    return {
        "version": "imported",
        "licence": "not stated",
        "training_data": "not stated",
        "imported_from": origin,
    }
