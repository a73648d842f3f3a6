"""One stem of a track: which instruments play it, and its wave.

Drums are played in layers, as they are recorded and mixed: bass drum, snare, and everything else
may come from different kits and SoundFonts, and each has a level, a tuning and a tone of its own.
"""

from __future__ import annotations

import random
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from lqsep.core.errors import LqsepError
from lqsep.plugins.rendering import augment, compose, genres, midi, synth
from lqsep.plugins.rendering.compose import Part
from lqsep.plugins.rendering.instruments import Choice, Instruments
from lqsep.plugins.rendering.modelled_bass import play_bass
from lqsep.plugins.rendering.modelled_drums import play_drums

# A stem below this RMS means a SoundFont without that instrument: rests alone do not get so low.
_SILENCE_RMS = 1e-4

_KICKS = {35, genres.KICK}
_SNARES = {genres.SIDE_STICK, genres.SNARE, genres.CLAP, 40}

# The share of tracks whose layers come from several kits, and of layers that then leave the first.
_MIXED, _OTHER_KIT = 0.5, 0.6
# Levels and tunings of layers, compared with each other.
_LAYER_DB, _LAYER_DETUNE = 5.0, 0.5


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Notes for one instrument, and what is done to their sound alone.

    The instrument is a program of a SoundFont, or the one that ``model_seed`` decides.
    """

    part: Part
    soundfont: Path | None = None
    model_seed: int = 0
    gain_db: float = 0.0
    tone: augment.Augmentation = augment.Augmentation()

    def as_dict(self) -> dict[str, Any]:
        """What was drawn, for JSON."""
        return {
            "soundfont": self.soundfont.name if self.soundfont else None,
            "model_seed": self.model_seed,
            "program": self.part.program,
            "detune": self.part.detune,
            "sample_shift": self.part.sample_shift,
            "n_notes": len(self.part.notes),
            "gain_db": self.gain_db,
            "tone": self.tone.as_dict(),
        }


@dataclass(frozen=True, kw_only=True)
class StemPlan:
    """Everything that decides how a stem sounds."""

    layers: tuple[Layer, ...]
    effects: synth.SynthSettings
    augmentation: augment.Augmentation

    def as_dict(self) -> dict[str, Any]:
        """What was drawn, for JSON."""
        return {
            "layers": [layer.as_dict() for layer in self.layers],
            "synth": asdict(self.effects),
            "augmentation": self.augmentation.as_dict(),
        }


def plan_stem(
    part: Part,
    instruments: Instruments,
    choice: Choice,
    rng: random.Random,
    *,
    modelled: float = 0.0,
    is_augmented: bool = True,
) -> StemPlan:
    """Draw the instruments and the augmentation of a stem.

    ``modelled`` is the probability of instruments that are computed, of no SoundFont.
    """
    is_modelled = rng.random() < modelled
    first = _modelled(part, rng) if is_modelled else _layer(part, instruments, rng)
    if not is_augmented:
        return StemPlan(
            layers=(first,), effects=synth.SynthSettings(), augmentation=augment.Augmentation()
        )
    layers = _drum_layers(first, instruments, choice, rng) if part.is_drums else (first,)
    effects = synth.SynthSettings(
        has_reverb=rng.random() < 0.3,
        room_size=round(rng.uniform(0.1, 0.7), 3),
        reverb_level=round(rng.uniform(0.1, 0.5), 3),
        has_chorus=rng.random() < 0.15,
    )
    stem = "drums" if part.is_drums else "bass"
    changes = augment.draw_augmentation(rng.getrandbits(48), stem)
    return StemPlan(layers=layers, effects=effects, augmentation=changes)


def synthesise_stem(
    plan: StemPlan, lead_s: float, duration_s: float, scratch: Path, n_channels: int = 2
) -> augment.Wave:
    """The stem at the synthesiser's rate, without its first ``lead_s`` seconds.

    ``scratch`` is a folder for temporary files.

    Raises:
        LqsepError: FluidSynth fails, or there is no sound.
    """
    n_lead = round(lead_s * synth.SYNTH_SAMPLE_RATE)
    n_samples = round(duration_s * synth.SYNTH_SAMPLE_RATE)
    wave = np.zeros((n_channels, n_samples))
    for layer in plan.layers:
        sound = _play(layer, n_lead + n_samples, plan.effects, scratch)
        if n_channels == 1:
            sound = sound.mean(axis=0, keepdims=True)
        sound = augment.apply_augmentation(sound[:, n_lead:], synth.SYNTH_SAMPLE_RATE, layer.tone)
        wave += sound * 10 ** (layer.gain_db / 20)
    if float(np.sqrt(np.mean(wave**2))) < _SILENCE_RMS:
        played = ", ".join(
            f"{len(layer.part.notes)} notes of program {layer.part.program} of "
            f"{layer.soundfont.name if layer.soundfont else 'a model'}"
            for layer in plan.layers
        )
        raise LqsepError(
            f"no sound from {played}. Use a SoundFont with the General MIDI drum kits and basses."
        )
    return augment.apply_augmentation(wave, synth.SYNTH_SAMPLE_RATE, plan.augmentation)


def _play(
    layer: Layer, n_samples: int, effects: synth.SynthSettings, scratch: Path
) -> augment.Wave:
    if layer.soundfont is None:
        play = play_drums if layer.part.is_drums else play_bass
        wave = play(layer.part, n_samples, np.random.default_rng(layer.model_seed))
        return np.stack((wave, wave))
    path = scratch / "layer.mid"
    midi.write_midi(path, layer.part, n_samples / synth.SYNTH_SAMPLE_RATE)
    return synth.synthesise(path, layer.soundfont, n_samples, effects)


def _drum_layers(
    first: Layer, instruments: Instruments, choice: Choice, rng: random.Random
) -> tuple[Layer, ...]:
    is_mixed = rng.random() < _MIXED
    layers = []
    for notes in _by_drum(first.part.notes):
        layer = first
        if is_mixed and rng.random() < _OTHER_KIT:
            other = replace(first.part, program=rng.choice(choice.kits))
            layer = _layer(other, instruments, rng)
        detune = round(first.part.detune + rng.gauss(0.0, _LAYER_DETUNE), 3)
        layers.append(
            replace(
                layer,
                part=replace(layer.part, notes=notes, detune=detune),
                gain_db=round(rng.uniform(-_LAYER_DB, _LAYER_DB), 2),
                tone=augment.draw_tone(rng.getrandbits(48)),
            )
        )
    return tuple(layer for layer in layers if layer.part.notes)


def _modelled(part: Part, rng: random.Random) -> Layer:
    return Layer(part=part, model_seed=rng.getrandbits(48))


def _layer(part: Part, instruments: Instruments, rng: random.Random) -> Layer:
    soundfont, program = instruments.draw(rng, part)
    return Layer(part=replace(part, program=program), soundfont=soundfont)


def _by_drum(notes: tuple[compose.Note, ...]) -> tuple[tuple[compose.Note, ...], ...]:
    """Bass drum, snare, the rest."""
    groups: tuple[list[compose.Note], ...] = ([], [], [])
    for note in notes:
        groups[0 if note.pitch in _KICKS else 1 if note.pitch in _SNARES else 2].append(note)
    return tuple(tuple(group) for group in groups)
