"""The comparison of sums of latents with sums of waves runs on a model and real files."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from lqsep.core.audio.files import write_audio
from lqsep.testing.toys import AddingCodec

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.mark.integration
def test_runs_on_a_model_directory(tiny_model: Path, tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    (tmp_path / "data/test/one").mkdir(parents=True)
    for source in ("drums", "bass"):
        wave = (0.1 * generator.standard_normal((1, 8000))).astype(np.float32)
        write_audio(tmp_path / f"data/test/one/{source}.wav", wave, 8000)
    out = tmp_path / "new" / "figures.json"
    command = [
        *(sys.executable, BENCHMARKS / "codec_linearity.py", tiny_model, tmp_path / "data"),
        *("--pairs", "3", "--seconds", "0.5", "--json", out),
    ]
    subprocess.run([str(part) for part in command], check=True, timeout=600)
    result = json.loads(out.read_text())
    assert result["seconds"] == pytest.approx(0.5, abs=0.01)  # whole frames of 64 samples
    assert {figure["n"] for figure in result["figures"].values()} == {3}
    assert 0 <= result["figures"]["equal_codes"]["mean"] <= 1


def test_a_codec_whose_codes_add_up_is_linear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    from codec_linearity import compare  # type: ignore[import-not-found]

    # Sums of two of these levels, halved, are levels again, and all are different.
    codec = AddingCodec((0.0, 0.1, 0.2, 0.3, 0.4))
    codebook = codec.embed(torch.arange(5)[None])[0].double()
    even = torch.tensor([0.0, 0.2, 0.4])
    generator = torch.Generator().manual_seed(0)
    clips = [
        even[torch.randint(3, (1, 1, 50), generator=generator)].repeat_interleave(4, 2)
        for _ in range(2)
    ]
    figures = compare(codec, codebook, clips, (0.5, 0.5))
    assert figures["equal_codes"] == 1
    assert figures["embedding_mse"] == 0
    assert figures["sdr_summed_db"] > 60  # what is left is float32 rounding

    swapped = compare(codec, codebook, clips, (0.5, 0.25))
    assert swapped["equal_codes"] < 1  # a half level falls between two codes
