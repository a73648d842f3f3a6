"""From checkpoints of LQVAE-separation to a model directory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lqsep.cli.options import did_you_mean
from lqsep.core.errors import CheckpointError, ConfigError
from lqsep.plugins.codebook_sum.config import SUMS_FILE

if TYPE_CHECKING:
    from torch import Tensor

    from lqsep.core.store.pickled_checkpoint import PickledCheckpoint

DEFAULT_GAIN = 0.5

# Where weights keep the settings and the step of the checkpoint they come from, for an export.
HPS_KEY, STEP_KEY = "jukebox_hps", "jukebox_step"

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
    gains: Sequence[tuple[str, float]] = ()
    sample_rate: int | None = None

    def source_gains(self) -> dict[str, float]:
        """The gain of every source, in order.

        Raises:
            ConfigError: Not two different sources, or a gain of no source.
        """
        sources = [source for source, _ in self.priors]
        if len(sources) != 2 or len(set(sources)) != 2:
            raise ConfigError(
                f"importing a model: expected the priors of 2 sources, got {len(sources)} "
                f"({', '.join(sources)}); give --prior SOURCE=FILE once for each of two sources"
            )
        gains = dict.fromkeys(sources, DEFAULT_GAIN)
        for source, gain in self.gains:
            if source not in gains:
                raise ConfigError(
                    f"--gain: no source named '{source}'{did_you_mean(source, sources)}; "
                    f"the priors are of: {', '.join(sources)}"
                )
            gains[source] = gain
        return gains


def import_model(
    files: JukeboxFiles,
    output: Path,
    device: str = "auto",
    on_block: Callable[[int, int], None] | None = None,
) -> None:
    """Check the files against each other and write them as a model directory, or nothing.

    Args:
        files: What is imported.
        output: The directory to make.
        device: Where the table of sums is checked.
        on_block: Progress of that check, ``(pairs_done, pairs_total)``.

    Raises:
        CheckpointError: A file is missing, damaged, unsafe or does not belong to the others, or
            ``output`` holds something already.
        ConfigError: Not two sources, or a name or gain that is none.
        DeviceError: The device is not available.
    """
    from lqsep.core.components.config import parse_config
    from lqsep.core.components.registry import Registry
    from lqsep.core.store.model_directory import update_model_toml
    from lqsep.core.store.new_directory import new_directory
    from lqsep.core.store.weights import save_weights
    from lqsep.plugins.codebook_sum.table import save_table

    gains = files.source_gains()
    with new_directory(output) as directory:
        parts = _read_parts(files, gains)
        names = list(parts.weights)
        config = {"version": 1, "codec": parts.codec, "sources": parts.sources, **_PIPELINE}
        if files.sums is not None:
            config["likelihood"] = {**_PIPELINE["likelihood"], "table": SUMS_FILE}
            names.append(SUMS_FILE)
        # Before anything is written under the sources' names.
        parse_config(config, Registry.discover(), directory, name=f"importing to {output}")
        if files.sums is not None:
            table = _checked_table(files.sums, parts.codebooks[-1], gains, device, on_block)
            first, second = gains.values()
            save_table(directory / SUMS_FILE, table, (first, second), parts.codec_fingerprint)
        for name, (tensors, metadata) in parts.weights.items():
            save_weights(directory / name, tensors, metadata)
        config["model"] = _description(files)
        update_model_toml(directory, config=config, files=names)


@dataclass(frozen=True, kw_only=True)
class _Parts:
    """Codec and priors as read: tables of the configuration, weights by file name."""

    codec: dict[str, Any]
    sources: dict[str, Any]
    weights: dict[str, tuple[dict[str, Tensor], dict[str, str]]]
    codebooks: list[Tensor]
    codec_fingerprint: str


def _read_parts(files: JukeboxFiles, gains: Mapping[str, float]) -> _Parts:
    from lqsep.core.store.pickled_checkpoint import read_checkpoint
    from lqsep.core.store.weights import fingerprint
    from lqsep.plugins.jukebox.codec_checkpoint import read_codec
    from lqsep.plugins.jukebox.prior_checkpoint import read_prior
    from lqsep.plugins.transformer.factory import checkpoint_name

    checkpoint = read_checkpoint(files.codec)
    codec_config, tensors = read_codec(checkpoint, files.sample_rate)
    codebooks = [
        tensors[f"quantizers.{level}.codebook"] for level in range(len(codec_config.downs_t))
    ]
    parts = _Parts(
        codec=codec_config.model_dump(mode="json", exclude_none=True),
        sources={},
        weights={codec_config.checkpoint: (tensors, _origin(checkpoint))},
        codebooks=codebooks,
        codec_fingerprint=fingerprint(tensors),
    )
    for source, path in files.priors:
        checkpoint = read_checkpoint(path)
        prior = read_prior(checkpoint)
        _check_codebooks(path, prior.codebooks, files.codec, codebooks)
        name = checkpoint_name(source)
        settings = prior.config.model_dump(mode="json", exclude_none=True)
        settings["checkpoint"] = name
        parts.sources[source] = {"gain": gains[source], "prior": settings}
        metadata = {"codec_fingerprint": parts.codec_fingerprint, **_origin(checkpoint)}
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


def _checked_table(
    path: Path,
    codebook: Tensor,
    gains: Mapping[str, float],
    device: str,
    on_block: Callable[[int, int], None] | None,
) -> Tensor:
    """The table of the file, if its entries are the sums' nearest codes at these gains."""
    from lqsep.core.store.model_directory import resolve_device
    from lqsep.plugins.jukebox.sum_table import read_reference_table, wrong_entries

    table = read_reference_table(path, len(codebook))
    vectors = codebook.to(resolve_device(device))
    (one, first), (two, second) = gains.items()
    wrong = wrong_entries(table, vectors, (first, second), on_block=on_block)
    if not wrong:
        return table
    place = f"{path} does not fit the codec at gains {one}={first:g} and {two}={second:g}"
    if first != second and not wrong_entries(table, vectors, (second, first), on_block=on_block):
        raise CheckpointError(
            f"{place}: it is of the gains the other way round; its rows are codes of the first "
            f"source, so give --gain {one}={second:g} --gain {two}={first:g}, or the priors in the "
            "other order"
        )
    raise CheckpointError(
        f"{place}: {wrong} of its {table.numel()} entries are not the nearest code of their sum; "
        "give the gains it was made with, or leave --sums out and run `lqsep sums` on the model"
    )


def _origin(checkpoint: PickledCheckpoint) -> dict[str, str]:
    """Settings and step of a checkpoint as metadata of weights."""
    origin = {HPS_KEY: json.dumps(checkpoint.hps)}
    if checkpoint.step is not None:
        origin[STEP_KEY] = str(checkpoint.step)
    return origin


def _description(files: JukeboxFiles) -> dict[str, Any]:
    """``[model]``: what is known of a model that was imported."""
    from lqsep.core.store.weights import file_hash

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
