"""``separate --reference`` and ``evaluate`` mean the same by ``codec``."""

import json
from pathlib import Path

import pytest
import torch

from lqsep import Separator
from lqsep.cli.main import run
from lqsep.core.audio.files import read_audio, write_audio
from lqsep.core.evaluation.baselines_of import codec_round_trips
from lqsep.core.evaluation.sound import ItemSound
from lqsep.core.signal.metrics import sdr

pytestmark = [pytest.mark.integration, pytest.mark.slow]

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "audio" / "drums-bass"


def test_the_codec_is_scored_inside_the_mixture_by_both(tmp_path):
    """The shipped model's codes hold no phase; that of the mixture is decoded with."""
    separator = Separator.from_pretrained("drums-bass", device="cpu")
    waves = []
    for source in separator.sources:
        wave, rate = read_audio(EXAMPLE / f"{source}.flac")
        waves.append(wave[:, 5 * rate : 7 * rate])
        write_audio(tmp_path / f"{source}.wav", waves[-1], rate, subtype="FLOAT")
    sound = ItemSound(torch.stack([torch.from_numpy(w) for w in waves]), separator.gains, rate)
    trips = codec_round_trips(sound, separator.codec, separator.device)

    given = [f"--reference={source}={tmp_path / source}.wav" for source in separator.sources]
    assert run(["separate", *given, "-o", str(tmp_path), "--candidates", "2"]) == 0
    (report,) = tmp_path.glob("drums-bass/*/lqsep.json")
    scores = json.loads(report.read_text())["scores"]
    found = {score["source"]: score["sdr"] for score in scores if score["estimate"] == "codec"}
    # One segment; the mixture is the same but for the order of float32 sums.
    expected = map(sdr, sound.stems, trips)
    assert list(found.values()) == pytest.approx(list(expected), abs=1e-3)
