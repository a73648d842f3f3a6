import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from lqsep.core.components.assemble import build
from lqsep.core.components.registry import Registry
from lqsep.core.components.spec import Kind
from lqsep.core.errors import CheckpointError, IncompatibleComponentsError, ShapeError
from lqsep.core.store.weights import load_weights, read_header, save_weights
from lqsep.core.training.events import TrainValidation
from lqsep.plugins.ngram import plugin
from lqsep.plugins.ngram.config import NgramConfig, NgramTrainConfig
from lqsep.plugins.ngram.counts import NgramCounts, count_ngrams
from lqsep.plugins.ngram.factory import count_prior, save_counts
from lqsep.plugins.ngram.train import bits_per_code, train_ngram
from lqsep.testing.contexts import build_context, train_context
from lqsep.testing.contracts import PriorContract
from lqsep.testing.prior_contract import run_prior
from lqsep.testing.toys import AddingCodec

K, SMOOTHING = 6, 2.5
# Tables are float32, the brute force float64: rounding of log-probabilities down to -7.
TOLERANCE = 2e-6


@pytest.fixture
def sequences():
    """Uneven codes, so that many n-grams never occur; code 5 never does."""
    generator = torch.Generator().manual_seed(0)
    weights = torch.tensor([8.0, 4.0, 2.0, 1.0, 1.0, 0.0])
    drawn = [torch.multinomial(weights, n, True, generator=generator) for n in (40, 25, 2, 1)]
    return [*drawn, torch.zeros(0, dtype=torch.int64)]


def brute_force(sequences, order):
    """p(code | context) by the formula, from counters."""
    counts = [Counter() for _ in range(order + 1)]
    for sequence in sequences:
        codes = tuple(sequence.tolist())
        for n in range(1, order + 1):
            counts[n].update(codes[i : i + n] for i in range(len(codes) - n + 1))

    def probability(context, code):
        n = len(context) + 1
        shorter = probability(context[1:], code) if context else 1 / K
        total = sum(c for ngram, c in counts[n].items() if ngram[:-1] == context)
        return (counts[n][(*context, code)] + SMOOTHING * shorter) / (total + SMOOTHING)

    return probability


def assert_near(found, expected):
    torch.testing.assert_close(found, expected, atol=TOLERANCE, rtol=0)


class _NgramContract(PriorContract):
    order = 2

    @pytest.fixture(autouse=True)
    def _sequences(self, sequences):
        self.sequences = sequences

    def make(self):
        return count_prior(self.sequences, K, order=self.order, smoothing=SMOOTHING)


class TestUnigram(_NgramContract):
    order = 1


class TestBigram(_NgramContract):
    order = 2


class TestTrigram(_NgramContract):
    order = 3


@pytest.mark.parametrize("order", [1, 2, 3])
def test_tables_are_those_of_brute_force(sequences, order):
    prior = count_prior(sequences, K, order=order, smoothing=SMOOTHING)
    probability = brute_force(sequences, order)
    # Every context of three codes, seen or not.
    contexts = torch.cartesian_prod(*[torch.arange(K)] * 3)
    codes = torch.cat([contexts, contexts[:, :1]], 1)
    tables = run_prior(prior, codes)
    for frame in range(4):
        kept = min(frame, order - 1)
        for row, sequence in enumerate(codes.tolist()):
            context = tuple(sequence[frame - kept : frame])
            expected = torch.tensor([math.log(probability(context, c)) for c in range(K)])
            assert_near(tables[frame, row], expected)
    assert prior.info.codebook_size == K and prior.info.max_frames is None


@pytest.mark.parametrize("order", [1, 2, 3])
def test_probabilities_sum_to_one(sequences, order):
    prior = count_prior(sequences, K, order=order, smoothing=SMOOTHING)
    codes = torch.cartesian_prod(*[torch.arange(K)] * 3)
    sums = run_prior(prior, codes).double().logsumexp(-1)
    assert_near(sums, torch.zeros_like(sums))


def test_chain_of_a_bigram(sequences):
    prior = count_prior(sequences, K, order=2, smoothing=SMOOTHING)
    initial, transition = prior.transition_matrix()
    assert initial.shape == (K,) and transition.shape == (K, K)
    first, state = prior.step(prior.start(K), None)
    assert torch.equal(first, initial.expand(K, K))
    second, _ = prior.step(state, torch.arange(K))
    assert torch.equal(second, transition)
    # The context matters.
    assert (transition[0] - transition[1]).abs().max() > 0.1


def test_chain_of_other_orders(sequences):
    initial, transition = count_prior(sequences, K, order=1).transition_matrix()
    assert torch.equal(transition, initial.expand(K, K))
    assert count_prior(sequences, K, order=3).transition_matrix() is None


@pytest.mark.parametrize("order", [1, 2, 3])
def test_select(sequences, order):
    prior = count_prior(sequences, K, order=order)
    codes = torch.randint(K, (3, 5), generator=torch.Generator().manual_seed(1))
    rows = torch.tensor([2, 0, 0, 1])
    state = prior.start(3, codes[:, :3])
    _, state = prior.step(state, None)
    _, state = prior.step(state, codes[:, 3])
    table, _ = prior.step(prior.select(state, rows), codes[rows, 4])
    assert torch.equal(table, prior.step(prior.start(4, codes[rows]), None)[0])


def test_tables_may_be_changed_in_place(sequences):
    for order in (1, 2, 3):
        prior = count_prior(sequences, K, order=order)
        codes = torch.zeros(2, 4, dtype=torch.int64)
        before = run_prior(prior, codes)
        state, previous = prior.start(2), None
        for _ in range(4):
            table, state = prior.step(state, previous)
            table.add_(1.0)
            previous = codes[:, 0]
        assert torch.equal(run_prior(prior, codes), before)


def test_prompt_of_other_rows_is_refused(sequences):
    with pytest.raises(ShapeError, match="prompt of 2 rows, got shape"):
        count_prior(sequences, K).start(2, torch.zeros(3, 1, dtype=torch.int64))


def test_counting_stays_within_sequences():
    ngrams, counts = count_ngrams([torch.tensor([1, 2, 1, 2]), torch.tensor([2, 2])], 2, K)
    found = dict(zip(map(tuple, ngrams.tolist()), counts.tolist(), strict=True))
    assert found == {(1, 2): 2, (2, 1): 1, (2, 2): 1}


def test_counts_of_large_codebooks():
    # Three codes of 4096 need 36 bits.
    sequence = torch.tensor([4095, 4095, 4095, 4094])
    table = NgramCounts(*count_ngrams([sequence], 3, 4096), 4096)
    assert table.count(torch.tensor([[4095, 4095, 4094], [4095, 4094, 4095]])).tolist() == [1, 0]
    assert table.total(torch.tensor([[4095, 4095], [0, 0]])).tolist() == [2, 0]
    rows, codes, counts = table.continuations(torch.tensor([[0, 0], [4095, 4095]]))
    assert (rows.tolist(), codes.tolist(), counts.tolist()) == ([1, 1], [4094, 4095], [1, 1])


def test_bits_per_code(sequences):
    prior = count_prior(sequences, K, order=2, smoothing=SMOOTHING)
    probability = brute_force(sequences, 2)
    held_out = [torch.tensor([0, 1, 5]), torch.tensor([2]), torch.zeros(0, dtype=torch.int64)]
    likelihoods = [
        probability((), 0),
        probability((0,), 1),
        probability((1,), 5),
        probability((), 2),
    ]
    expected = -sum(math.log2(p) for p in likelihoods) / 4
    assert bits_per_code(prior, held_out) == pytest.approx(expected, abs=TOLERANCE)
    assert math.isnan(bits_per_code(prior, []))


# Files.


@pytest.fixture
def codec():
    return AddingCodec([0.1 * level for level in range(K)])


@pytest.fixture
def context(tmp_path, codec):
    return build_context(tmp_path, source="bass", codec=codec)


@pytest.fixture
def build_prior(context):
    registered = Registry.from_plugins(ngram=plugin).find(Kind.PRIOR, "ngram")

    def build_from(context=context, **settings):
        return build(registered, NgramConfig(**settings), context)

    return build_from


@pytest.fixture
def saved(context, sequences, codec):
    metadata = {"codec_fingerprint": codec.fingerprint}
    save_counts(context.path("prior.bass.safetensors"), sequences, K, 3, metadata)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_round_trip_through_a_file(build_prior, saved, sequences, order):
    found = build_prior(order=order, smoothing=SMOOTHING)
    expected = count_prior(sequences, K, order=order, smoothing=SMOOTHING)
    codes = torch.cartesian_prod(*[torch.arange(K)] * 3)
    assert torch.equal(run_prior(found, codes), run_prior(expected, codes))


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("silent", [True, False], ids=["silence was heard", "never was"])
def test_silence_lasts(build_prior, context, sequences, codec, order, silent):
    if not silent:
        sequences = [codes[codes > 0] for codes in sequences]
    metadata = {"codec_fingerprint": codec.fingerprint}
    save_counts(context.path("prior.bass.safetensors"), sequences, K, order, metadata)
    plain = build_prior(order=order, smoothing=SMOOTHING)
    found = build_prior(order=order, smoothing=SMOOTHING, silence_frames=1000.0)
    codes = torch.cartesian_prod(*[torch.arange(K)] * order)
    tables, before = run_prior(found, codes).exp(), run_prior(plain, codes).exp()
    after = tables[-1, 0]  # Of the code that follows zeros.
    # Counts are whole numbers, rounded up, which adds at most 1 / (total count), here 1e-5 or less.
    assert 0.999 - 1e-6 < after[0] < 0.999 + 1e-5
    if order == 2:  # The others share what is left as they did before.
        rest = before[-1, 0, 1:] / before[-1, 0, 1:].sum()
        torch.testing.assert_close(after[1:] / after[1:].sum(), rest, atol=1e-4, rtol=0)
    # What comes after other codes than silence is as it was.
    loud = (codes[:, :-1] > 0).all(1)
    assert_near(tables[-1, loud].log(), before[-1, loud].log())
    assert_near(found.log_prob(codes)[0, -1], after[0].log())


def test_no_transition_is_next_to_impossible(build_prior, saved, sequences):
    """As exact inference in float32 needs it, however long silence lasts."""
    found = build_prior(order=2, smoothing=SMOOTHING, silence_frames=1e12)
    table = found.transition_matrix()[1]
    codes = torch.cartesian_prod(*[torch.arange(K)] * 2)
    assert float(table.min()) == pytest.approx(-20, abs=1e-5)
    assert_near(table.exp().sum(1), torch.ones(K))
    assert_near(found.log_prob(codes)[:, 1].view(K, K), table)


def test_silence_that_lasts_longer_is_left_alone(build_prior, saved, sequences):
    found = build_prior(order=2, smoothing=SMOOTHING, silence_frames=1.01)
    expected = count_prior(sequences, K, order=2, smoothing=SMOOTHING)
    assert torch.equal(found.transition_matrix()[1], expected.transition_matrix()[1])


def test_another_codec_is_refused(build_prior, saved, context):
    other = AddingCodec([0.2 * level for level in range(K)])
    with pytest.raises(CheckpointError, match="trained on another codec"):
        build_prior(replace(context, codec=other))


def test_another_number_of_codes_is_refused(build_prior, context, sequences):
    save_counts(context.path("prior.bass.safetensors"), sequences, K + 1, 2, {})
    with pytest.raises(CheckpointError, match="expected counts of 6 codes, got 7"):
        build_prior()
    save_weights(context.path("prior.bass.safetensors"), {"weight": torch.zeros(1)}, {})
    with pytest.raises(CheckpointError, match="got a file that is no n-gram prior"):
        build_prior()


def test_a_file_of_lower_order_is_refused(build_prior, context, sequences):
    save_counts(context.path("prior.bass.safetensors"), sequences, K, 2, {})
    build_prior(order=2)
    with pytest.raises(CheckpointError, match="no counts of 3 codes, which order = 3 needs"):
        build_prior(order=3)


def test_damaged_counts_are_refused(build_prior, saved, context):
    path = context.path("prior.bass.safetensors")
    weights = load_weights(path)
    changed = dict(weights.tensors)
    changed["ngrams.2"] = changed["ngrams.2"] + K
    save_weights(path, changed, weights.metadata)
    with pytest.raises(CheckpointError, match="'ngrams.2' of shape .* below 6") as info:
        build_prior()
    assert "\n" not in str(info.value)
    for name, wrong in (("counts.1", -1), ("counts.2", 0.5)):
        changed = {**weights.tensors, name: weights.tensors[name] * wrong}
        save_weights(path, changed, weights.metadata)
        with pytest.raises(CheckpointError, match=f"is damaged: '(counts|ngrams).{name[-1]}'"):
            build_prior()


def test_missing_parts(build_prior, saved, context):
    with pytest.raises(CheckpointError, match="no weights file at .*other.safetensors"):
        build_prior(checkpoint="other.safetensors")
    with pytest.raises(CheckpointError, match="expected sha256 000"):
        build_prior(replace(context, hashes={"prior.bass.safetensors": "0" * 64}))
    with pytest.raises(IncompatibleComponentsError, match="needs the codec"):
        build_prior(replace(context, codec=None))


@pytest.mark.parametrize(
    "settings", [{"order": 0}, {"order": 4}, {"smoothing": 0.0}, {"silence_frames": 1.0}]
)
def test_settings_out_of_range(settings):
    with pytest.raises(ValidationError):
        NgramConfig(**settings)


# Training.


@pytest.fixture
def training(tmp_path, codec, make_levels_dataset):
    facts = {"validation": make_levels_dataset(1), "source": "bass", "codec": codec}
    return train_context(make_levels_dataset(0), tmp_path, **facts)


def test_training(training, build_prior):
    reports = []
    context = replace(training, report=reports.append)
    train_ngram(NgramConfig(), NgramTrainConfig(versions=1), context)
    prior = build_prior()
    dataset = training.dataset
    expected = count_prior(dataset.codes, K)
    for found, wanted in zip(prior.transition_matrix(), expected.transition_matrix(), strict=True):
        assert torch.equal(found, wanted)
    figures = next(event for event in reports if isinstance(event, TrainValidation)).figures
    held_out = training.validation.codes
    assert figures["bits"] == pytest.approx(bits_per_code(expected, held_out))
    unigram = count_prior(dataset.codes, K, order=1)
    assert figures["unigram_bits"] == pytest.approx(bits_per_code(unigram, held_out))
    # The data are a cycle with some slips: a context saves more than a bit.
    assert figures["bits"] < figures["unigram_bits"] - 1
    metadata = read_header(context.output_dir / "prior.bass.safetensors").metadata
    assert metadata["codec_fingerprint"] == training.codec.fingerprint
    assert float(metadata["validation/bits"]) == pytest.approx(figures["bits"], abs=1e-4)
    assert metadata["source"] == "bass"


def test_training_with_a_name_and_without_validation(training):
    context = replace(training, validation=None)
    config = NgramConfig(checkpoint="mine.safetensors", order=3)
    train_ngram(config, NgramTrainConfig(versions=2), context)
    weights = load_weights(context.output_dir / "mine.safetensors")
    assert weights.metadata["order"] == "3"
    assert "validation/bits" not in weights.metadata
    n_codes = sum(len(codes) for codes in context.dataset.codes)
    assert int(weights.tensors["counts.1"].sum()) == 2 * n_codes


def test_training_needs_a_codec(training):
    with pytest.raises(IncompatibleComponentsError, match="needs a trained codec"):
        train_ngram(NgramConfig(), NgramTrainConfig(), replace(training, codec=None))
