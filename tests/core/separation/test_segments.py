"""Segments cover the input exactly, and equal content passes the cross-fade unchanged."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lqsep.core.interfaces.codec import CodecInfo
from lqsep.core.separation.segments import CrossFader, blocks, plan_segments

CODEC = CodecInfo(sample_rate=11025, channels=1, hop_length=64, embedding_dim=8)

inputs = dict(
    n_samples=st.integers(1, 40_000),
    sample_rate=st.sampled_from([8000, 11025, 22050, 44100, 48000]),
    segment_s=st.floats(0.01, 2.0),
    overlap=st.floats(0, 0.9),
)


@settings(deadline=None)
@given(**inputs)
def test_segments_cover_the_input_and_overlap(n_samples, sample_rate, segment_s, overlap):
    plan = plan_segments(n_samples, sample_rate, CODEC, segment_s, overlap)
    assert plan.segments[0].start == 0
    assert plan.segments[-1].stop == n_samples
    for before, after in zip(plan.segments, plan.segments[1:], strict=False):
        assert before.start < after.start <= before.stop < after.stop
    stretches = list(blocks(plan))
    assert [a for a, _ in stretches[1:]] == [b for _, b in stretches[:-1]]
    assert stretches[0][0] == 0 and stretches[-1][1] == n_samples


@settings(deadline=None)
@given(**inputs)
def test_cross_fade_of_equal_content_changes_nothing(n_samples, sample_rate, segment_s, overlap):
    wave = torch.randn(2, 1, n_samples, generator=torch.Generator().manual_seed(0)).double()
    plan = plan_segments(n_samples, sample_rate, CODEC, segment_s, overlap)
    fader = CrossFader(plan)
    parts = [fader.push(s, wave[..., s.start : s.stop]) for s in plan.segments]
    assert [p.shape[-1] for p in parts] == [b - a for a, b in blocks(plan)]
    # float64 rounding of a weighted mean of equal values
    assert torch.allclose(torch.cat(parts, -1), wave, atol=1e-12, rtol=0)


def test_fade_moves_from_one_segment_to_the_next():
    plan = plan_segments(11025 * 3, 11025, CODEC, 2.0, 0.5)
    fader = CrossFader(plan)
    parts = [
        fader.push(s, torch.full((1, 1, s.stop - s.start), float(s.index))) for s in plan.segments
    ]
    joined = torch.cat(parts, -1)[0, 0]
    steps = joined[1:] - joined[:-1]
    assert joined[0] == 0 and steps.min() >= -1e-6
    second = plan.segments[1]
    assert 0 < joined[second.start + 100] < 1
