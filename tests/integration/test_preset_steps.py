"""One step of a codec and a prior of a preset's sizes; on a GPU those of the publication."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from lqsep.cli.main import run
from lqsep.core.store.weights import load_weights

# Long enough for a context of 8192 codes.
DATA = '{ type = "synthetic", n_tracks = 2, duration_s = 30.0, sample_rate = 22050 }'


def train(what: str, preset: str, device: str, model: Path, *settings: str) -> dict[str, Any]:
    """Figures of one step."""
    command = ["train", what, "--preset", preset, "-o", str(model), "-d", device]
    settings = (*settings, "steps=1", "min_duration=0")
    data = (f"data.train={DATA}", f"data.validation={DATA}")
    for setting in (*data, *(f"train.{what}.{text}" for text in settings)):
        command += ["-p", setting]
    if what == "prior":
        command += ["--source", "bass"]
    assert run(command) == 0
    name = "codec" if what == "codec" else "prior.bass"
    figures: dict[str, Any] = json.loads(
        (model / "logs" / f"{name}.jsonl").read_text().splitlines()[0]
    )
    return figures


@pytest.mark.parametrize(
    ("preset", "device", "codes"),
    [
        pytest.param("tiny", "cpu", 128, marks=pytest.mark.slow),
        pytest.param("reference", "cuda", 2048, marks=pytest.mark.gpu),
    ],
)
def test_a_step(preset: str, device: str, codes: int, tmp_path: Path) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    model = tmp_path / "model"
    codec = train("codec", preset, device, model, "batch_size=2", "validation_clips=1")
    assert math.isfinite(codec["loss"]) and codec["gradient_norm"] > 0
    prior = train(
        "prior", preset, device, model, "batch_size=1", "versions=1", "validation_windows=1"
    )
    # Before its first step a prior knows nothing: all codes are about as likely.
    assert prior["bits"] == pytest.approx(math.log2(codes), rel=0.2)
    assert load_weights(model / "prior.bass.safetensors").metadata["steps"] == "1"
