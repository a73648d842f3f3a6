"""Composition, MIDI, synthesis, augmentation and the data set made of them."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from lqsep.core.errors import AudioError, ConfigError, LqsepError
from lqsep.plugins.rendering import (
    augment,
    compose,
    genres,
    instruments,
    midi,
    render,
    stems,
    synth,
)
from lqsep.plugins.rendering.instruments import HeldOut, Instruments
from lqsep.plugins.rendering.modelled_bass import play_bass
from lqsep.plugins.rendering.modelled_drums import play_drums

SMALL_SOUNDFONT = Path("/usr/share/sounds/sf2/TimGM6mb.sf2")


@pytest.fixture
def soundfont() -> Path:
    if shutil.which("fluidsynth") and SMALL_SOUNDFONT.is_file():
        return SMALL_SOUNDFONT
    reason = "needs the Debian packages fluidsynth and timgm6mb-soundfont"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): synth.sha256_of(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


class TestGenres:
    def test_every_pattern_fills_its_bar_with_known_marks(self) -> None:
        for genre in genres.GENRES:
            layers = (*genre.snares, *genre.cymbals, *genre.extras)
            drums = [*genre.kicks, *(pattern for layer in layers for _, pattern in layer)]
            for pattern in (*drums, *genre.basses):
                assert len(pattern) == genre.steps_per_bar, (genre.name, pattern)
            assert set("".join(drums)) <= set("Xxo?.")
            assert set("".join(genre.basses)) <= set("R35678adwx-.")

    def test_are_many_and_within_70_to_180_beats_per_minute(self) -> None:
        assert len(set(compose.genre_names())) == len(genres.GENRES) >= 8
        assert all(70 <= low <= high <= 180 for low, high in (g.tempo for g in genres.GENRES))


class TestCompose:
    @pytest.mark.parametrize("genre", compose.genre_names())
    def test_every_genre_gives_playable_parts(self, genre: str) -> None:
        for seed in range(4):
            piece = compose.compose(seed, 20.0, genres=(genre,))
            assert piece.genre == genre
            for part in (piece.drums, piece.bass):
                assert len(part.notes) >= 6
                assert all(0 <= note.start_s and 0 < note.duration_s < 20 for note in part.notes)
                assert all(1 <= note.velocity <= 127 for note in part.notes)
            pitches = [note.pitch for note in piece.bass.notes]
            assert compose.BASS_LOW <= min(pitches) <= max(pitches) <= compose.BASS_HIGH

    def test_same_seed_same_piece_other_seed_other_piece(self) -> None:
        assert compose.compose(5, 10.0) == compose.compose(5, 10.0)
        assert compose.compose(5, 10.0) != compose.compose(6, 10.0)

    def test_bass_plays_one_note_at_a_time(self) -> None:
        for seed in range(20):
            notes = compose.compose(seed, 10.0).bass.notes
            for note, following in zip(notes, notes[1:], strict=False):
                assert note.start_s + note.duration_s <= following.start_s + 1e-9

    def test_both_parts_last_to_the_end(self) -> None:
        for seed in range(30):
            piece = compose.compose(seed, 30.0)
            last = [part.notes[-1].start_s for part in (piece.drums, piece.bass)]
            assert max(last) > 24.0
            assert min(last) > 12.0

    def test_each_part_rests_in_at_most_a_quarter_of_the_bars(self) -> None:
        rests = 0
        for seed in range(200):
            sections = compose._sections(random.Random(seed), genres.GENRES[0], 16)
            assert sum(section.n_bars for section in sections) == 16
            for part in ("bass", "drums"):
                n_bars = sum(section.n_bars for section in sections if section.tacet == part)
                assert n_bars <= 4
                rests += n_bars
        assert rests > 100

    def test_bass_pitches_are_moved_by_octaves_into_the_range(self) -> None:
        assert [compose._fold(pitch) for pitch in (3, 28, 42, 43, 70)] == [39, 28, 42, 31, 34]
        assert compose._fold(58, compose.BASS_HIGH) == 46

    def test_uses_many_kits_programs_and_genres_but_only_allowed_ones(self) -> None:
        kits, programs = (0, 24, 25), (33, 38)
        pieces = [compose.compose(s, 4.0, kits=kits, programs=programs) for s in range(80)]
        assert {piece.drums.program for piece in pieces} == set(kits)
        assert {piece.bass.program for piece in pieces} == set(programs)
        assert len({piece.genre for piece in pieces}) >= 12
        pieces = [compose.compose(s, 4.0, genres=("soul", "latin")) for s in range(40)]
        assert {piece.genre for piece in pieces} == {"soul", "latin"}

    @pytest.mark.parametrize("genre", ["jazz-swing", "techno"])
    def test_every_genre_uses_every_kit_and_program_sometimes(self, genre: str) -> None:
        kits = (0, 8, 16, 24, 25, 32, 40)
        pieces = [compose.compose(s, 4.0, kits=kits, genres=(genre,)) for s in range(300)]
        usual = next(g for g in genres.GENRES if g.name == genre)
        drawn = [piece.drums.program for piece in pieces]
        assert set(drawn) == set(kits)
        assert {piece.bass.program for piece in pieces} == set(compose.BASS_PROGRAMS)
        # 0.6 + 0.4 * 3 / 7 of 300, or 2 / 7; the standard deviation is 8.
        n_usual = sum(kit in usual.kits for kit in drawn)
        assert abs(n_usual - 300 * (0.6 + 0.4 * len(usual.kits) / 7)) < 32

    def test_variants_belong_to_kits(self) -> None:
        kits = [compose.kit_family(kit) for kit in (0, 7, 19, 24, 25, 42)]
        assert kits == [0, 0, 16, 24, 25, 40]

    def test_a_pattern_keeps_a_hit(self) -> None:
        pattern = "......R-----d---"
        for seed in range(300):
            mutated = compose._mutate(random.Random(seed), pattern, add="R", rate=0.5)
            assert mutated.strip(".-")

    def test_no_part_is_empty(self) -> None:
        # The genre with fewest notes; seed 348 once had a bass without any.
        for seed in range(400):
            piece = compose.compose(seed, 20.0, genres=("latin",))
            assert piece.bass.notes and piece.drums.notes

    def test_keys_loudness_and_tuning_vary(self) -> None:
        pieces = [compose.compose(seed, 8.0) for seed in range(60)]
        keys = {note.pitch for piece in pieces for note in piece.drums.notes}
        assert {35, 36, 38, 40, 51, 59} <= keys
        loudness = [np.mean([note.velocity for note in piece.bass.notes]) for piece in pieces]
        assert min(loudness) < 75 and max(loudness) > 95
        assert max(abs(piece.drums.detune) for piece in pieces) > 1.5
        shifts = {piece.bass.sample_shift for piece in pieces}
        assert 0 in shifts and -7 <= min(shifts) < max(shifts) <= 7 and len(shifts) > 8

    def test_unknown_genre_names_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match="no genre named 'polka'.*rock"):
            compose.compose(0, 4.0, genres=("rock", "polka"))

    def test_nothing_to_choose_from(self) -> None:
        with pytest.raises(ConfigError, match="no drum kits"):
            compose.compose(0, 4.0, kits=())


class TestMidi:
    def test_written_parts_are_read_back(self, tmp_path: Path) -> None:
        piece = compose.compose(3, 6.0, kits=(8,), programs=(35,))
        for index, part in enumerate((piece.drums, replace(piece.bass, sample_shift=0))):
            midi.write_midi(tmp_path / "part.mid", part, 100.0)
            both = midi.read_midi(tmp_path / "part.mid")
            assert both[1 - index].notes == ()
            read = both[index]
            assert (read.program, read.is_drums) == (part.program, part.is_drums)
            assert sorted((note.pitch, note.velocity) for note in read.notes) == sorted(
                (note.pitch, note.velocity) for note in part.notes
            )
            starts = sorted(note.start_s for note in part.notes)
            assert [note.start_s for note in read.notes] == pytest.approx(starts, abs=6e-4)

    def test_nothing_after_the_end(self, tmp_path: Path) -> None:
        notes = (compose.Note(0.5, 5.0, 40, 90), compose.Note(3.0, 1.0, 41, 90))
        part = compose.Part(program=33, notes=notes, is_drums=False, detune=0.5)
        midi.write_midi(tmp_path / "part.mid", part, 2.0)
        file = mido.MidiFile(str(tmp_path / "part.mid"))
        assert file.length == pytest.approx(2.0)
        assert [m.note for m in file if m.type == "note_on"] == [40]
        # Half of one of the twelve semitones that controller 6 asks for.
        assert [m.pitch for m in file if m.type == "pitchwheel"] == [round(8192 / 24)]
        assert (6, 12) in [(m.control, m.value) for m in file if m.type == "control_change"]

    def test_sample_shift_plays_lower_notes_higher(self, tmp_path: Path) -> None:
        notes = (compose.Note(0.5, 0.5, 40, 90),)
        part = compose.Part(program=33, notes=notes, is_drums=False, sample_shift=3)
        midi.write_midi(tmp_path / "part.mid", part, 2.0)
        file = mido.MidiFile(str(tmp_path / "part.mid"))
        assert [m.note for m in file if m.type == "note_on"] == [37]
        assert [m.pitch for m in file if m.type == "pitchwheel"] == [2048]

    def test_only_drums_and_basses_are_read_with_the_tempo_of_the_file(
        self, tmp_path: Path
    ) -> None:
        track = mido.MidiTrack()
        track.append(mido.MetaMessage("set_tempo", tempo=1_000_000))
        for channel, program in ((0, 0), (1, 36), (9, 16)):
            track.append(mido.Message("program_change", channel=channel, program=program))
        for channel, note in ((0, 60), (1, 30), (9, 38)):
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=80, time=480))
            track.append(mido.Message("note_on", channel=channel, note=note, velocity=0, time=240))
        file = mido.MidiFile(ticks_per_beat=480)
        file.tracks.append(track)
        file.save(str(tmp_path / "song.mid"))
        drums, bass = midi.read_midi(tmp_path / "song.mid")
        assert drums.program == 16 and bass.program == 36
        assert bass.notes == (compose.Note(2.5, 0.5, 30, 80),)
        assert drums.notes == (compose.Note(4.0, 0.5, 38, 80),)

    def test_not_midi(self, tmp_path: Path) -> None:
        (tmp_path / "bad.mid").write_bytes(b"RIFF1234")
        with pytest.raises(LqsepError, match="bad.mid: cannot be read as a MIDI file"):
            midi.read_midi(tmp_path / "bad.mid")

    @pytest.mark.parametrize(
        ("kind", "division", "message"),
        [
            (1, -25 * 256 + 40, "SMPTE frames"),
            (0, 0, "no time at all"),
            (2, 480, "type 2, independent sequences"),
        ],
    )
    def test_other_ways_to_count_time(
        self, tmp_path: Path, kind: int, division: int, message: str
    ) -> None:
        self.save(tmp_path / "song.mid", kind, division)
        with pytest.raises(LqsepError, match=f"song.mid: cannot be read .*{message}"):
            midi.read_midi(tmp_path / "song.mid")

    def test_gaps_of_years(self, tmp_path: Path) -> None:
        self.save(tmp_path / "song.mid", 1, 1, gap=100_000_000)
        with pytest.raises(LqsepError, match="may last a day, this one has 5e.07 s"):
            midi.read_midi(tmp_path / "song.mid")

    @staticmethod
    def save(path: Path, kind: int, division: int, gap: int = 10) -> None:
        track = mido.MidiTrack([mido.Message("note_on", channel=9, note=38, time=gap)])
        mido.MidiFile(type=kind, ticks_per_beat=480, tracks=[track]).save(str(path))
        content = path.read_bytes()
        header = (division & 0xFFFF).to_bytes(2, "big")
        path.write_bytes(content[:12] + header + content[14:])

    def test_damage_is_told_whatever_the_parser_meets(self, tmp_path: Path) -> None:
        """Bytes changed at random, as a damaged disk or download leaves them."""
        piece = compose.compose(0, 8.0)
        midi.write_midi(tmp_path / "good.mid", piece.drums, 8.0)
        good = (tmp_path / "good.mid").read_bytes()
        rng = random.Random(0)
        n_refused = 0
        for _ in range(300):
            content = bytearray(good)
            for _ in range(rng.randint(1, 8)):
                content[rng.randrange(len(content))] = rng.randrange(256)
            (tmp_path / "bad.mid").write_bytes(bytes(content[: rng.randint(10, len(content))]))
            try:
                midi.read_midi(tmp_path / "bad.mid")
            except LqsepError as error:
                assert "\n" not in str(error)
                n_refused += 1
        assert n_refused > 50


class TestAugment:
    wave = np.random.default_rng(0).standard_normal((2, 8000)) * 0.2

    def test_drawn_from_the_seed(self) -> None:
        assert augment.draw_augmentation(1, "bass") == augment.draw_augmentation(1, "bass")
        assert augment.draw_augmentation(1, "bass") != augment.draw_augmentation(2, "bass")

    def test_any_draw_is_finite_repeatable_and_keeps_the_shape(self) -> None:
        for seed in range(12):
            drawn = augment.draw_augmentation(seed, ("drums", "bass")[seed % 2])
            json.dumps(drawn.as_dict())
            result = augment.apply_augmentation(self.wave, 44100, drawn)
            again = augment.apply_augmentation(self.wave, 44100, drawn)
            assert result.shape == self.wave.shape and np.isfinite(result).all()
            assert np.array_equal(result, again)

    def test_default_changes_nothing(self) -> None:
        result = augment.apply_augmentation(self.wave, 44100, augment.Augmentation())
        assert np.allclose(result, self.wave)

    def test_filters_cut_3_db_at_their_frequency_and_peaks_lift(self) -> None:
        peak = augment.Peak(frequency_hz=500.0, gain_db=6.0, quality=1.0)
        frequencies = np.array([100.0, 500.0, 5000.0])
        for settings, expected in (
            (augment.Augmentation(high_pass_hz=100.0), (-3.01, -0.01, 0.0)),
            (augment.Augmentation(low_pass_hz=5000.0), (0.0, 0.0, -3.01)),
            (augment.Augmentation(peaks=(peak,)), (0.30, 6.0, 0.08)),
            (augment.Augmentation(tilt_db=4.0), (-2.0, -0.6, 1.4)),
        ):
            response = augment.frequency_response(frequencies, 44100, settings)
            assert 20 * np.log10(np.abs(response)) == pytest.approx(expected, abs=0.05)

    def test_saturation_keeps_the_peak_and_lifts_the_rest(self) -> None:
        result = augment.saturate(self.wave, 2.0)
        assert np.abs(result).max() == pytest.approx(np.abs(self.wave).max())
        assert (np.abs(result) >= np.abs(self.wave) - 1e-12).all()

    def test_compressor_turns_loud_moments_down_only(self) -> None:
        seconds = np.arange(44100) / 44100
        loudness = np.where((seconds > 0.4) & (seconds < 0.7), 1.0, 0.1)
        wave = (loudness * np.sin(2 * np.pi * 1000 * seconds))[None]
        settings = augment.Compression(threshold_db=-6.0, ratio=4.0, attack_s=0.005, release_s=0.02)
        gains_db = 10 * np.log10(
            np.mean(augment.compress(wave, 44100, settings).reshape(20, -1) ** 2, axis=1)
            / np.mean(wave.reshape(20, -1) ** 2, axis=1)
        )
        # The loud third has 0.307 of the whole's mean square: 5.1 dB above it, 11.1 above the
        # threshold, of which three quarters go.
        assert gains_db[9:13] == pytest.approx(-8.35, abs=0.3)
        assert gains_db[:7] == pytest.approx(0.0, abs=0.01)
        assert gains_db[18:] == pytest.approx(0.0, abs=0.01)
        silence = np.zeros((1, 100))
        assert np.array_equal(augment.compress(silence, 44100, settings), silence)

    def test_room_comes_after_the_sound(self) -> None:
        click = np.zeros((1, 20000))
        click[0, 1000] = 1.0
        settings = augment.Augmentation(room_level=0.5, room_decay_s=0.1)
        result = augment.apply_augmentation(click, 44100, settings)
        # The low-pass filter, made in the frequency domain, rings before a click a little.
        assert np.abs(result[0, :1000]).max() < 1e-3
        assert np.sum(result[0, 1001:] ** 2) == pytest.approx(0.25, rel=1e-3)

    @pytest.mark.parametrize("level_db", [-2.0, 0.0, 2.0])
    def test_normalise_sets_the_level(self, level_db: float) -> None:
        result = augment.normalise(self.wave * 3.7, level_db)
        rms = float(np.sqrt(np.mean(result**2)))
        assert 20 * np.log10(rms / augment.TARGET_RMS) == pytest.approx(level_db, abs=0.01)

    def test_normalise_rounds_peaks_and_leaves_silence(self) -> None:
        spiky = np.zeros((1, 10000))
        spiky[0, ::500] = (-1.0) ** np.arange(20)
        assert np.abs(augment.normalise(spiky, 30.0)).max() <= augment.PEAK_LIMIT
        assert not augment.normalise(np.zeros((1, 10))).any()


class TestSynth:
    def test_a_full_disk_is_an_error(
        self, soundfont: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """FluidSynth writes what fits, and ends as if all was well."""
        # A limit on the size of files stands for the disk; it must not end the program.
        program = tmp_path / "bin" / "fluidsynth"
        program.parent.mkdir()
        program.write_text(f"#!/bin/sh\ntrap '' XFSZ\nexec {shutil.which('fluidsynth')} \"$@\"\n")
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        midi.write_midi(tmp_path / "part.mid", compose.compose(3, 3.0).drums, 3.0)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
        try:
            with pytest.raises(AudioError, match="0.85 of 3.00 s .*too large"):
                synth.synthesise(tmp_path / "part.mid", soundfont, 132300, synth.SynthSettings())
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    @pytest.mark.parametrize("n_samples", [4410, 4411, 9999])
    @pytest.mark.parametrize("rate", [22050, 16000, 48000])
    def test_resample_keeps_low_tones_and_has_no_aliases(self, n_samples: int, rate: int) -> None:
        time_s = np.arange(n_samples) / 44100
        result = synth.resample(np.sin(2 * np.pi * 440 * time_s)[None], 44100, rate)
        assert result.shape == (1, -(-n_samples * rate // 44100))
        expected = np.sin(2 * np.pi * 440 * np.arange(result.shape[1]) / rate)
        middle = slice(result.shape[1] // 4, -result.shape[1] // 4)
        assert np.abs(result[0] - expected)[middle].max() < 0.02
        if rate < 44100:
            high = np.sin(2 * np.pi * 15000 * time_s)[None]
            assert np.abs(synth.resample(high, 44100, rate)[0, middle]).max() < 0.01

    def test_same_rate_is_the_same_wave(self) -> None:
        wave = np.ones((1, 5))
        assert synth.resample(wave, 44100, 44100) is wave

    def test_missing_program_names_the_packages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "")
        with pytest.raises(LqsepError, match="'fluidsynth' and 'fluid-soundfont-gm'"):
            synth.find_fluidsynth()

    def test_missing_soundfont_names_the_packages(self, tmp_path: Path) -> None:
        with pytest.raises(LqsepError, match="none.sf2.*'fluidsynth' and 'fluid-soundfont-gm'"):
            synth.find_soundfont(tmp_path / "none.sf2")

    @pytest.mark.parametrize("shift", [-7, 4])
    def test_sample_shift_keeps_the_pitch(
        self, soundfont: Path, tmp_path: Path, shift: int
    ) -> None:
        notes = (compose.Note(0.0, 2.0, 45, 100),)
        part = compose.Part(program=33, notes=notes, is_drums=False, sample_shift=shift)
        midi.write_midi(tmp_path / "part.mid", part, 1.5)
        wave = synth.synthesise(tmp_path / "part.mid", soundfont, 66150, synth.SynthSettings())
        # One bin is one hertz.
        spectrum = np.abs(np.fft.rfft(wave[0, 22050:] * np.hanning(44100)))
        assert [90 + spectrum[90:130].argmax(), 200 + spectrum[200:240].argmax()] == pytest.approx(
            [110, 220], abs=3
        )

    def test_not_a_soundfont(self, tmp_path: Path) -> None:
        (tmp_path / "bad.sf2").write_bytes(b"OggS" * 10)
        with pytest.raises(LqsepError, match="not a SoundFont 2 file"):
            synth.soundfont_presets(tmp_path / "bad.sf2")

    def test_presets_of_a_soundfont(self, soundfont: Path) -> None:
        presets = synth.soundfont_presets(soundfont)
        assert {(0, program) for program in compose.BASS_PROGRAMS} <= presets
        assert (synth.DRUM_BANK, 0) in presets

    def test_a_note_sounds_at_its_time_and_pitch(self, soundfont: Path, tmp_path: Path) -> None:
        part = compose.Part(program=33, notes=(compose.Note(0.5, 0.5, 45, 100),), is_drums=False)
        midi.write_midi(tmp_path / "part.mid", part, 1.0)
        wave = synth.synthesise(tmp_path / "part.mid", soundfont, 44100, synth.SynthSettings())
        assert wave.shape == (2, 44100)
        before, after = (np.sqrt(np.mean(w**2)) for w in (wave[:, :21000], wave[:, 22050:]))
        assert after > 1e-3 and before < 1e-2 * after
        spectrum = np.abs(np.fft.rfft(wave[0, 26460:]))
        fundamental = np.fft.rfftfreq(17640, 1 / 44100)[spectrum[:100].argmax()]
        assert min(abs(fundamental - n * 110) for n in (1, 2, 3)) < 5


class TestInstruments:
    small, large = Path("small.sf2"), Path("large.sf2")
    both = Instruments(
        kits={0: {small: (0,), large: (0, 1, 2, 3)}, 16: {large: (16, 17)}},
        programs={33: {small: (33,)}, 38: {large: (38,)}},
    )

    @pytest.mark.parametrize(
        ("split", "kits", "programs"), [("train", (0,), (33,)), ("validation", (16,), (38,))]
    )
    def test_held_out_is_for_validation_and_test_only(
        self, split: str, kits: tuple[int, ...], programs: tuple[int, ...]
    ) -> None:
        choice = instruments.choice_for(split, self.both, HeldOut((16,), (38,), ("rock",)))
        assert (choice.kits, choice.programs) == (kits, programs)
        assert ("rock" in choice.genres) == (split != "train")

    def test_everything_is_for_everyone_when_nothing_is_held_out(self) -> None:
        choice = instruments.choice_for("train", self.both, HeldOut())
        assert choice == instruments.choice_for("test", self.both, HeldOut())
        assert choice == instruments.Choice((0, 16), (33, 38), compose.genre_names())

    @pytest.mark.parametrize(
        ("held_out", "message"),
        [
            (HeldOut(kits=(3,)), r"cannot hold out drum kits \[3\]; there are 0, 16"),
            (HeldOut(genres=("polka",)), r"cannot hold out genres \['polka'\]; there are rock"),
            (HeldOut(kits=(0, 16)), "holding out all drum kits leaves none for train"),
        ],
    )
    def test_held_out_must_exist_and_leave_some(self, held_out: HeldOut, message: str) -> None:
        with pytest.raises(ConfigError, match=message):
            instruments.choice_for("train", self.both, held_out)

    def test_soundfonts_are_drawn_alike_whatever_variants_they_have(self) -> None:
        part = compose.Part(program=0, notes=(), is_drums=True)
        rng = random.Random(0)
        drawn = [self.both.draw(rng, part) for _ in range(400)]
        assert set(drawn) == {(self.small, 0), *((self.large, kit) for kit in range(4))}
        # Half of 400; the standard deviation is 10.
        assert abs(drawn.count((self.small, 0)) - 200) < 40

    def test_what_no_soundfont_has_is_replaced(self) -> None:
        part = compose.Part(program=35, notes=(), is_drums=False)
        assert self.both.draw(random.Random(0), part) in ((self.small, 33), (self.large, 38))

    def test_found_in_a_soundfont(self, soundfont: Path) -> None:
        found = instruments.find_instruments([soundfont])
        assert {0, 8, 16, 24, 25, 32, 40} == set(found.kits)
        assert set(compose.BASS_PROGRAMS) == set(found.programs)
        assert found.kits[25] == {soundfont: (25,)}


class TestModelled:
    @pytest.mark.parametrize("seed", range(6))
    def test_parts_sound_where_they_have_notes(self, seed: int) -> None:
        piece = compose.compose(seed, 4.0)
        for part, play in ((piece.drums, play_drums), (piece.bass, play_bass)):
            wave = play(part, 4 * 44100, np.random.default_rng(seed))
            assert wave.shape == (4 * 44100,) and np.isfinite(wave).all()
            again = play(part, 4 * 44100, np.random.default_rng(seed))
            assert np.array_equal(wave, again)
            assert not np.array_equal(wave, play(part, 4 * 44100, np.random.default_rng(seed + 1)))
            assert 0.001 < np.sqrt(np.mean(wave**2)) < 1
            silence = play(replace(part, notes=()), 4410, np.random.default_rng(0))
            assert not silence.any()

    @pytest.mark.parametrize("seed", range(8))
    def test_a_bass_note_has_its_pitch_and_ends(self, seed: int) -> None:
        notes = (compose.Note(0.5, 1.0, 45, 100),)
        part = compose.Part(program=33, notes=notes, is_drums=False, detune=12.0)
        wave = play_bass(part, 3 * 44100, np.random.default_rng(seed))
        assert np.abs(wave[:21000]).max() < 1e-2 * np.abs(wave).max()
        # The longest release is 0.2 s, of which three are kept.
        assert np.abs(wave[100000:]).max() < 1e-2 * np.abs(wave).max()
        spectrum = np.abs(np.fft.rfft(wave[22050:66150]))
        tones = [spectrum[220 * n - 6 : 220 * n + 7].max() for n in (1, 2, 3)]
        between = [spectrum[220 * n + 60 : 220 * n + 160].max() for n in (0, 1, 2)]
        assert max(tones) > 10 * max(between)

    @pytest.mark.parametrize("pitch", [36, 38, 39, 42, 46, 49, 51, 45, 69, 63, 75])
    def test_drums_differ_from_seed_to_seed_and_stay_in_bounds(self, pitch: int) -> None:
        notes = (compose.Note(0.1, 0.1, pitch, 127),)
        part = compose.Part(program=0, notes=notes, is_drums=True)
        waves = [play_drums(part, 44100, np.random.default_rng(seed)) for seed in range(4)]
        frequencies = np.fft.rfftfreq(44100, 1 / 44100)
        centroids = set()
        for wave in waves:
            assert 0.1 < np.abs(wave).max() < 1.7
            assert not wave[:4409].any()
            powers = np.abs(np.fft.rfft(wave)) ** 2
            centroids.add(round(float(np.sum(powers * frequencies) / np.sum(powers))))
        assert len(centroids) == 4
        low, high = {36: (30, 1500), 42: (3000, 16000), 45: (60, 3000)}.get(pitch, (100, 16000))
        assert all(low < centroid < high for centroid in centroids)

    def test_a_hi_hat_stroke_ends_an_open_hi_hat(self) -> None:
        notes = tuple(compose.Note(t, 0.1, p, 100) for t, p in ((0.0, 46), (0.1, 42)))
        wave = play_drums(
            compose.Part(program=0, notes=notes[:1], is_drums=True),
            22050,
            np.random.default_rng(0),
        )
        choked = play_drums(
            compose.Part(program=0, notes=notes, is_drums=True), 22050, np.random.default_rng(0)
        )
        end = slice(17640, 22050)
        assert np.mean(choked[end] ** 2) < 0.1 * np.mean(wave[end] ** 2)


class TestStems:
    def test_drums_are_layers_of_their_own_level_tuning_and_sometimes_kit(self) -> None:
        where = Path("a.sf2")
        offer = {kit: {where: (kit,)} for kit in (0, 8, 24)}
        offers = Instruments(kits=offer, programs={33: {where: (33,)}})
        choice = instruments.choice_for("train", offers, HeldOut())
        part = compose.compose(1, 10.0, genres=("rock",)).drums
        plans = [stems.plan_stem(part, offers, choice, random.Random(seed)) for seed in range(60)]
        n_kits = [len({layer.part.program for layer in plan.layers}) for plan in plans]
        assert set(n_kits) == {1, 2, 3}
        for plan in plans:
            json.dumps(plan.as_dict())
            kick, snare, rest = ({note.pitch for note in layer.part.notes} for layer in plan.layers)
            assert kick <= {35, 36} and snare <= {37, 38, 39, 40} and 42 in rest | {42}
            assert sum(len(layer.part.notes) for layer in plan.layers) == len(part.notes)
            assert len({layer.part.detune for layer in plan.layers}) == 3
            assert len({layer.gain_db for layer in plan.layers}) == 3

    def test_modelled_stems_need_no_soundfont(self, tmp_path: Path) -> None:
        nowhere = {Path("none.sf2"): (0,)}
        offers = Instruments(kits={0: nowhere}, programs={33: nowhere})
        choice = instruments.choice_for("train", offers, HeldOut())
        part = replace(compose.compose(0, 3.0).bass, program=33)
        plan = stems.plan_stem(part, offers, choice, random.Random(0), modelled=1.0)
        wave = stems.synthesise_stem(plan, 0.5, 2.0, tmp_path)
        assert wave.shape == (2, 88200) and wave.any()
        assert plan.as_dict()["layers"][0]["soundfont"] is None
        drawn = [
            stems.plan_stem(part, offers, choice, random.Random(seed), modelled=0.3)
            for seed in range(200)
        ]
        # 60 of 200; the standard deviation is 6.5.
        assert abs(sum(plan.layers[0].soundfont is None for plan in drawn) - 60) < 26

    def test_silence_says_what_was_to_sound(self, soundfont: Path, tmp_path: Path) -> None:
        part = compose.Part(program=33, notes=(), is_drums=False)
        offers = instruments.find_instruments([soundfont])
        choice = instruments.choice_for("train", offers, HeldOut())
        plan = stems.plan_stem(part, offers, choice, random.Random(0), is_augmented=False)
        with pytest.raises(LqsepError, match="no sound from 0 notes of program 33 of TimGM6mb"):
            stems.synthesise_stem(plan, 0.0, 1.0, tmp_path)

    def test_levels_of_layers(self, soundfont: Path, tmp_path: Path) -> None:
        part = compose.Part(program=33, notes=(compose.Note(0.1, 0.5, 40, 90),), is_drums=False)
        layer = stems.Layer(part=part, soundfont=soundfont)
        waves = [
            stems.synthesise_stem(
                stems.StemPlan(
                    layers=layers,
                    effects=synth.SynthSettings(),
                    augmentation=augment.Augmentation(),
                ),
                0.0,
                1.0,
                tmp_path,
            )
            for layers in ((layer,), (layer, replace(layer, gain_db=20 * np.log10(2.0))))
        ]
        assert np.allclose(waves[1], 3 * waves[0], atol=1e-6)


class TestRenderDataset:
    options = {"duration_s": 2.0, "seed": 3, "sample_rate": 22050, "n_channels": 1}

    def test_every_track_has_a_seed_of_its_own(self) -> None:
        seeds = {
            render.track_seed(seed, split, name)
            for seed in range(3)
            for split in render.SPLITS
            for name in ("0000", "0001", "0010")
        }
        assert len(seeds) == 27
        assert render.track_seed(0, "train", "0000") == render.track_seed(0, "train", "0000")

    def test_no_two_generators_of_a_track_start_from_one_number(
        self, soundfont: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seeds: list[object] = []

        class Recorded(random.Random):
            def __init__(self, seed: int) -> None:
                seeds.append(seed)
                super().__init__(seed)

        monkeypatch.setattr(random, "Random", Recorded)
        render.render_dataset(
            tmp_path, n_tracks={"train": 1}, soundfonts=(soundfont,), **self.options
        )
        # Of the composition, and of how it sounds.
        assert len(seeds) == len(set(seeds)) == 2

    def test_layout_and_levels(self, soundfont: Path, tmp_path: Path) -> None:
        counts = {"train": 2, "validation": 1, "test": 1}
        seen: list[tuple[int, int]] = []
        summary = render.render_dataset(
            tmp_path,
            n_tracks=counts,
            soundfonts=(soundfont,),
            on_track=lambda *done: seen.append(done),
            **self.options,
        )
        assert summary == render.RenderSummary(4, 0, 8.0)
        assert seen == [(done, 4) for done in range(5)]
        for split, count in counts.items():
            folders = sorted((tmp_path / split).iterdir())
            assert [folder.name for folder in folders] == [f"{i:04d}" for i in range(count)]
            for folder in folders:
                names = {path.name for path in folder.iterdir()}
                assert names == {"drums.wav", "bass.wav", "track.json"}
                facts = json.loads((folder / "track.json").read_text())
                assert facts["genre"] in compose.genre_names()
                for stem in render.STEMS:
                    wave, rate = soundfile.read(folder / f"{stem}.wav", always_2d=True)
                    assert (wave.shape, rate) == ((44100, 1), 22050)
                    assert 0.04 < np.sqrt(np.mean(wave**2)) < 0.14
                    assert np.abs(wave).max() <= augment.PEAK_LIMIT + 1e-3
        record = json.loads((tmp_path / "render.json").read_text())
        assert record["soundfonts"] == {synth.sha256_of(soundfont): soundfont.name}
        assert record["n_tracks"] == counts

    def test_same_files_when_resumed_extended_and_parallel(
        self, soundfont: Path, tmp_path: Path
    ) -> None:
        def run(name: str, count: int, jobs: int = 1) -> render.RenderSummary:
            return render.render_dataset(
                tmp_path / name,
                n_tracks={"train": count},
                soundfonts=(soundfont,),
                jobs=jobs,
                **self.options,
            )

        run("whole", 3, jobs=2)
        run("grown", 1)
        before = (tmp_path / "grown/train/0000/bass.wav").stat().st_mtime_ns
        (tmp_path / "grown/train/0001").mkdir()  # as nothing of a track is seen until it is whole
        assert run("grown", 3) == render.RenderSummary(2, 1, 6.0)
        assert (tmp_path / "grown/train/0000/bass.wav").stat().st_mtime_ns == before
        assert hashes(tmp_path / "grown") == hashes(tmp_path / "whole")
        assert not list(tmp_path.rglob(".*"))

    def test_two_soundfonts(self, soundfont: Path, tmp_path: Path) -> None:
        other = tmp_path / "other.sf2"
        other.write_bytes(soundfont.read_bytes() + b"\0")
        fonts = (soundfont, other)
        common = {"n_tracks": {"train": 4}, **self.options}
        render.render_dataset(tmp_path / "a", soundfonts=fonts, **common)
        used = {
            layer["soundfont"]
            for path in (tmp_path / "a").rglob("track.json")
            for stem in render.STEMS
            for layer in json.loads(path.read_text())[stem]["layers"]
        }
        assert used == {"TimGM6mb.sf2", "other.sf2"}
        # Kept, in another order; refused, with one of them.
        again = render.render_dataset(tmp_path / "a", soundfonts=fonts[::-1], **common)
        assert again.n_kept == 4
        with pytest.raises(ConfigError, match="rendered with soundfonts = .*other.sf2"):
            render.render_dataset(tmp_path / "a", soundfonts=(soundfont,), **common)

    def test_stereo_flac_without_augmentation(self, soundfont: Path, tmp_path: Path) -> None:
        options = {**self.options, "n_channels": 2, "sample_rate": 44100}
        render.render_dataset(
            tmp_path,
            n_tracks={"test": 1},
            soundfonts=(soundfont,),
            audio_format="flac",
            is_augmented=False,
            **options,
        )
        wave, rate = soundfile.read(tmp_path / "test/0000/drums.flac")
        assert (wave.shape, rate) == ((88200, 2), 44100)
        drums = json.loads((tmp_path / "test/0000/track.json").read_text())["drums"]
        assert len(drums["layers"]) == 1
        assert drums["augmentation"] == json.loads(json.dumps(augment.Augmentation().as_dict()))

    def test_other_settings_in_the_same_folder(self, soundfont: Path, tmp_path: Path) -> None:
        common = {"n_tracks": {"test": 1}, "soundfonts": (soundfont,)}
        render.render_dataset(tmp_path, **common, **self.options)
        with pytest.raises(ConfigError, match=r"rendered with settings.seed = 3, now 4\. Use"):
            render.render_dataset(tmp_path, **common, **{**self.options, "seed": 4})

    def test_held_out_programs_are_for_validation_and_test(
        self, soundfont: Path, tmp_path: Path
    ) -> None:
        render.render_dataset(
            tmp_path,
            n_tracks={"train": 3, "test": 3},
            soundfonts=(soundfont,),
            held_out=HeldOut((16, 25), (33, 34, 35, 36, 37, 38), ("rock", "soul")),
            **self.options,
        )
        allowed = {
            "train": ({0, 8, 24, 32, 40}, {32, 39}),
            "test": ({16, 25}, set(range(33, 39))),
        }
        for split, (kits, programs) in allowed.items():
            for path in (tmp_path / split).glob("*/track.json"):
                facts = json.loads(path.read_text())
                assert {layer["program"] for layer in facts["drums"]["layers"]} <= kits
                assert facts["bass"]["program"] in programs
                assert (facts["genre"] in ("rock", "soul")) == (split == "test")

    def test_user_midi_files(self, soundfont: Path, tmp_path: Path) -> None:
        songs = tmp_path / "songs"
        songs.mkdir()
        for seed in range(4):
            piece = compose.compose(seed, 8.0)
            file = mido.MidiFile(type=1, ticks_per_beat=1000)
            for index, part in enumerate((piece.drums, replace(piece.bass, program=34))):
                midi.write_midi(tmp_path / f"{index}.mid", part, 8.0)
                file.tracks += mido.MidiFile(str(tmp_path / f"{index}.mid")).tracks
            file.save(str(songs / f"song{seed}.mid"))
        # One without a bass is left out, and so is one that is damaged.
        shutil.copy(tmp_path / "0.mid", songs / "drums-only.mid")
        (songs / "damaged.mid").write_bytes(b"MThd")
        summary = render.render_dataset(
            tmp_path / "out",
            n_tracks={"train": 80, "validation": 25, "test": 25},
            soundfonts=(soundfont,),
            midi_dir=songs,
            **self.options,
        )
        assert summary.n_rendered == 4
        found = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("track.json")]
        assert sorted(facts["midi"] for facts in found) == [f"song{i}.mid" for i in range(4)]
        assert {facts["bass"]["program"] for facts in found} == {34}

    def test_folders_of_something_else_are_left_as_they_are(
        self, soundfont: Path, tmp_path: Path
    ) -> None:
        own = tmp_path / "out" / "train" / "0000" / "takes.wav"
        own.parent.mkdir(parents=True)
        own.write_text("mine")
        with pytest.raises(ConfigError, match="holds files that were not rendered here"):
            render.render_dataset(
                tmp_path / "out", n_tracks={"train": 1}, soundfonts=(soundfont,), **self.options
            )
        assert own.read_text() == "mine"
        assert not (tmp_path / "out" / "render.json").exists()

    def test_nothing_is_held_out_of_midi_files(self, soundfont: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="out of compositions only"):
            render.render_dataset(
                tmp_path / "out",
                n_tracks={"train": 1},
                soundfonts=(soundfont,),
                midi_dir=tmp_path,
                held_out=HeldOut(kits=(16,)),
                **self.options,
            )
        assert not (tmp_path / "out").exists()

    def test_folder_without_usable_midi(self, soundfont: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="none of 0 MIDI files"):
            render.render_dataset(
                tmp_path / "out",
                n_tracks={"train": 1},
                soundfonts=(soundfont,),
                midi_dir=tmp_path,
                **self.options,
            )

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"n_tracks": {"train": 0}}, "numbers of tracks"),
            ({"n_tracks": {"training": 1}}, "no split named 'training'"),
            ({"duration_s": 0.5}, "1 to 3600 seconds, got 0.5"),
            ({"sample_rate": 100}, "sample rate .* got 100"),
            ({"audio_format": "mp3"}, "no format 'mp3'"),
            ({"modelled": 1.5}, "share of modelled stems must be 0 to 1, got 1.5"),
            ({"n_channels": 6}, "channels must be 1 or 2, got 6"),
            ({"jobs": 0}, "jobs must be at least 1"),
        ],
    )
    def test_arguments_without_meaning(
        self, tmp_path: Path, change: dict[str, object], message: str
    ) -> None:
        arguments: dict[str, object] = {"n_tracks": {"train": 1}, **change}
        with pytest.raises(ConfigError, match=message):
            render.render_dataset(tmp_path / "out", **arguments)  # type: ignore[arg-type]
        assert not (tmp_path / "out").exists()
