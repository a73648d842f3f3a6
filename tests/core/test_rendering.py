"""Composition, MIDI, synthesis, augmentation and the data set made of them."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
import soundfile

from lqsep.core.errors import ConfigError, LqsepError
from lqsep.core.rendering import augment, compose, genres, midi, render, synth

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
            piece = compose.compose(seed, 20.0, genre=genre)
            assert piece.genre == genre
            for part in (piece.drums, piece.bass):
                assert len(part.notes) >= 8
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
        kits, programs = (0, 1, 24, 25), (33, 38)
        pieces = [compose.compose(s, 4.0, kits=kits, programs=programs) for s in range(80)]
        assert {piece.drums.program for piece in pieces} == set(kits)
        assert {piece.bass.program for piece in pieces} == set(programs)
        assert len({piece.genre for piece in pieces}) >= 12

    def test_unknown_genre_names_the_known_ones(self) -> None:
        with pytest.raises(ConfigError, match="no genre named 'polka'.*rock"):
            compose.compose(0, 4.0, genre="polka")

    def test_nothing_to_choose_from(self) -> None:
        with pytest.raises(ConfigError, match="no drum kits"):
            compose.compose(0, 4.0, kits=())


class TestMidi:
    def test_written_parts_are_read_back(self, tmp_path: Path) -> None:
        piece = compose.compose(3, 6.0, kits=(8,), programs=(35,))
        for index, part in enumerate((piece.drums, piece.bass)):
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

    def test_room_comes_after_the_sound(self) -> None:
        click = np.zeros((1, 20000))
        click[0, 1000] = 1.0
        settings = augment.Augmentation(room_level=0.5, room_decay_s=0.1)
        result = augment.apply_augmentation(click, 44100, settings)
        assert np.abs(result[0, :1000]).max() < 1e-9
        assert np.sum(result[0, 1001:] ** 2) == pytest.approx(0.25, rel=1e-6)

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

    def test_layout_and_levels(self, soundfont: Path, tmp_path: Path) -> None:
        counts = {"train": 2, "validation": 1, "test": 1}
        seen: list[tuple[int, int]] = []
        summary = render.render_dataset(
            tmp_path,
            n_tracks=counts,
            soundfont=soundfont,
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
        assert record["soundfont"]["sha256"] == synth.sha256_of(soundfont)
        assert record["n_tracks"] == counts

    def test_same_files_when_resumed_extended_and_parallel(
        self, soundfont: Path, tmp_path: Path
    ) -> None:
        def run(name: str, count: int, jobs: int = 1) -> render.RenderSummary:
            return render.render_dataset(
                tmp_path / name,
                n_tracks={"train": count},
                soundfont=soundfont,
                jobs=jobs,
                **self.options,
            )

        run("whole", 3, jobs=2)
        run("grown", 1)
        before = (tmp_path / "grown/train/0000/bass.wav").stat().st_mtime_ns
        (tmp_path / "grown/train/0001").mkdir()  # an incomplete track
        (tmp_path / "grown/train/0001/bass.wav").write_bytes(b"half")
        assert run("grown", 3) == render.RenderSummary(2, 1, 6.0)
        assert (tmp_path / "grown/train/0000/bass.wav").stat().st_mtime_ns == before
        assert hashes(tmp_path / "grown") == hashes(tmp_path / "whole")
        assert not list(tmp_path.rglob(".*"))

    def test_stereo_flac_without_augmentation(self, soundfont: Path, tmp_path: Path) -> None:
        options = {**self.options, "n_channels": 2, "sample_rate": 44100}
        render.render_dataset(
            tmp_path,
            n_tracks={"test": 1},
            soundfont=soundfont,
            audio_format="flac",
            is_augmented=False,
            **options,
        )
        wave, rate = soundfile.read(tmp_path / "test/0000/drums.flac")
        assert (wave.shape, rate) == ((88200, 2), 44100)
        facts = json.loads((tmp_path / "test/0000/track.json").read_text())
        assert facts["drums"]["augmentation"] is None

    def test_other_settings_in_the_same_folder(self, soundfont: Path, tmp_path: Path) -> None:
        common = {"n_tracks": {"test": 1}, "soundfont": soundfont}
        render.render_dataset(tmp_path, **common, **self.options)
        with pytest.raises(ConfigError, match=r"rendered with settings.seed = 3, now 4\. Use"):
            render.render_dataset(tmp_path, **common, **{**self.options, "seed": 4})

    def test_held_out_programs_are_for_validation_and_test(
        self, soundfont: Path, tmp_path: Path
    ) -> None:
        render.render_dataset(
            tmp_path,
            n_tracks={"train": 3, "test": 3},
            soundfont=soundfont,
            held_out_programs=(33, 34, 35, 36, 37, 38),
            **self.options,
        )
        for split, allowed in (("train", {32, 39}), ("test", set(range(33, 39)))):
            for path in (tmp_path / split).glob("*/track.json"):
                assert json.loads(path.read_text())["bass"]["program"] in allowed

    def test_held_out_kits_must_exist_and_leave_some(self) -> None:
        with pytest.raises(ConfigError, match=r"cannot hold out kits \[3\]; .* 0, 8"):
            render._allowed("train", (0, 8), (3,), "kits")
        with pytest.raises(ConfigError, match="leaves none for train"):
            render._allowed("train", (0, 8), (0, 8), "kits")

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
        # One without a bass is left out.
        shutil.copy(tmp_path / "0.mid", songs / "drums-only.mid")
        summary = render.render_dataset(
            tmp_path / "out",
            n_tracks={"train": 80, "validation": 25, "test": 25},
            soundfont=soundfont,
            midi_dir=songs,
            **self.options,
        )
        assert summary.n_rendered == 4
        found = [json.loads(p.read_text()) for p in (tmp_path / "out").rglob("track.json")]
        assert sorted(facts["midi"] for facts in found) == [f"song{i}.mid" for i in range(4)]
        assert {facts["bass"]["program"] for facts in found} == {34}

    def test_folder_without_usable_midi(self, soundfont: Path, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match="none of 0 MIDI files"):
            render.render_dataset(
                tmp_path / "out",
                n_tracks={"train": 1},
                soundfont=soundfont,
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
