"""What all built-in trainers that take data have in common.

They do without a few tracks that cannot be read, and say the same of it; and no two things that
they draw are drawn with the same random numbers.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from lqsep.core.components.assemble import import_target
from lqsep.core.components.config import parse_settings
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import AudioError
from lqsep.core.interfaces.dataset import Track
from lqsep.core.training.events import TrainEvent, TrainNote
from lqsep.plugins.datasets.synthetic import SyntheticDataset
from lqsep.testing.contexts import train_context
from lqsep.testing.toys import AddingCodec

RATE = 8000
SEED = 4
LOOP = {"steps": 1, "batch_size": 2, "trackers": ()}
# Small ones: the component's settings and its trainer's.
TRAINERS: dict[tuple[Kind, str], tuple[Mapping[str, Any], Mapping[str, Any]]] = {
    (Kind.CODEC, "lq-vae"): (
        {
            "sample_rate": RATE,
            "downs_t": [2],
            "strides_t": [4],
            "multipliers": [1],
            "width": 4,
            "depth": 1,
            "embedding_dim": 3,
            "codebook_size": 8,
        },
        {**LOOP, "clip_samples": 1104, "validation_clips": 1},
    ),
    (Kind.CODEC, "spectral-vq"): (
        {"sample_rate": RATE, "n_fft": 256, "hop_length": 64, "n_bands": 40, "codebook_size": 8},
        {"iterations": 1, "versions": 1},
    ),
    (Kind.PRIOR, "transformer"): (
        {"width": 8, "depth": 1, "heads": 1, "max_frames": 8, "blocks": 2},
        {**LOOP, "versions": 1, "validation_windows": 1},
    ),
    (Kind.PRIOR, "ngram"): ({}, {"versions": 1}),
    (Kind.LIKELIHOOD, "counts"): ({}, {"passes": 1, "clip_s": 0.2}),
    (Kind.LIKELIHOOD, "gaussian-sum"): ({}, {"clips": 4, "clip_s": 0.2}),
}
# Those without any.
COMPUTED = {(Kind.LIKELIHOOD, "codebook-sum"), (Kind.LIKELIHOOD, "delta")}


class Damaged(SyntheticDataset):
    """Five tracks of which some cannot be read."""

    def __init__(self, *damaged: int) -> None:
        super().__init__(n_tracks=5, duration_s=0.5, sample_rate=RATE)
        self.damaged = damaged

    def __getitem__(self, index: int) -> Track:
        if index in self.damaged:
            raise AudioError(f"cannot read track-{index}.wav: it is damaged.")
        return super().__getitem__(index)


def train(
    kind: Kind,
    name: str,
    folder: Path,
    *,
    training: Damaged,
    validation: Damaged,
    source: str = "bass",
    **changes: Any,
) -> list[str]:
    """The notes of a training about unreadable tracks."""
    spec = Registry.discover().find(kind, name).spec
    assert spec.trainer is not None and spec.train_config is not None
    component, settings = TRAINERS[kind, name]
    told: list[TrainEvent] = []
    import_target(spec.trainer)(
        parse_settings(spec.config, component, name),
        parse_settings(spec.train_config, {**settings, **changes}, "train"),
        train_context(
            training,
            folder,
            # Where there are two data sets, likelihoods take one of them.
            validation=None if kind == Kind.LIKELIHOOD else validation,
            source=source if kind == Kind.PRIOR else None,
            codec=None if kind == Kind.CODEC else AddingCodec(),
            seed=SEED,
            report=told.append,
        ),
    )
    notes = [event.text for event in told if isinstance(event, TrainNote)]
    return sorted(note for note in notes if note.startswith("left out"))


def test_all_trainers_are_here() -> None:
    registry = Registry.discover()
    found = {
        (component.spec.kind, component.spec.name)
        for component in registry.components()
        if component.spec.trainer is not None and component.distribution == "lqsep"
    }
    assert found == TRAINERS.keys() | COMPUTED


@pytest.mark.parametrize(("kind", "name"), TRAINERS)
def test_a_few_are_left_out_counted_and_named(kind: Kind, name: str, tmp_path: Path) -> None:
    notes = train(
        kind,
        name,
        tmp_path,
        training=Damaged(1, 4),
        validation=Damaged(0),
        max_unreadable=0.4,
    )
    held_out = ["left out, unreadable (1): cannot read track-0.wav: it is damaged."]
    assert notes == [
        *(held_out if kind != Kind.LIKELIHOOD else []),
        "left out, unreadable (1): cannot read track-1.wav: it is damaged.",
        "left out, unreadable (2): cannot read track-4.wav: it is damaged.",
    ]


@pytest.mark.parametrize(("kind", "name"), TRAINERS)
def test_more_than_a_few_are_an_error(kind: Kind, name: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError) as caught:
        train(kind, name, tmp_path, training=Damaged(3), validation=Damaged())
    assert str(caught.value) == (
        "training: 1 tracks cannot be read, expected at most 0.02 of 5 (max_unreadable). The last "
        "of them: cannot read track-3.wav: it is damaged. `lqsep data check` lists them all."
    )


@pytest.mark.parametrize(("kind", "name"), TRAINERS)
def test_short_ones_are_left_out(kind: Kind, name: str, tmp_path: Path) -> None:
    with pytest.raises(AudioError, match=r"no audio of 1 s and more found for .* in 5 tracks"):
        train(kind, name, tmp_path, training=Damaged(), validation=Damaged(), min_duration=1.0)


def test_no_two_generators_start_from_one_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []
    plain = torch.manual_seed

    class Generator(torch.Generator):
        def manual_seed(self, seed: int) -> torch.Generator:
            numbers.append(seed)
            return super().manual_seed(seed)

    def manual_seed(seed: int) -> torch.Generator:
        numbers.append(seed)
        return plain(seed)

    monkeypatch.setattr(torch, "Generator", Generator)
    monkeypatch.setattr(torch, "manual_seed", manual_seed)
    data = {"training": Damaged(), "validation": Damaged()}
    found = {}
    for kind, name in TRAINERS:
        for source in ("drums", "bass") if kind == Kind.PRIOR else ("",):
            numbers.clear()
            # Versions of spectral-vq are gone through twice, with the same numbers.
            versions = {"versions": 2} if kind == Kind.PRIOR else {}
            train(kind, name, tmp_path / name, **data, source=source, **versions)
            assert len(set(numbers)) == len(numbers), f"{name} {source}"
            found[name, source] = set(numbers)
    # Weights, fixed clips or windows, batches, and what is random in the steps.
    assert len(found["lq-vae", ""]) == 4 and len(found["transformer", "bass"]) == 5
    # Versions are the same for whatever prior learns from them.
    assert found["ngram", "bass"] < found["transformer", "bass"]
    apart = [found["lq-vae", ""], found["spectral-vq", ""]]
    apart += [found["transformer", source] for source in ("drums", "bass")]
    # The mixtures of either likelihood are the same.
    assert found["counts", ""] == found["gaussian-sum", ""]
    apart.append(found["counts", ""])
    assert len(set().union(*apart)) == sum(map(len, apart)) and SEED not in set().union(*apart)
