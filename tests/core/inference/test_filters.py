import pytest
import torch

from lqsep.core.inference.filters import Filters, filter_table, kept_by_top_k, kept_by_top_p


def table(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def test_defaults_change_nothing():
    log_prob = table([0.5, 0.3, 0.2])
    assert filter_table(log_prob, Filters()) is log_prob
    assert not Filters().restricts_pairs


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_temperature_raises_probabilities_to_a_power(temperature):
    log_prob = table([0.5, 0.3, 0.2], [0.9, 0.1, 0.0])
    power = log_prob.exp() ** (1 / temperature)
    expected = power / power.sum(1, keepdim=True)
    torch.testing.assert_close(filter_table(log_prob, Filters(temperature)).exp(), expected)


def test_top_k_keeps_ties():
    log_prob = table([0.4, 0.2, 0.2, 0.2, 0.0], [0.1, 0.2, 0.3, 0.15, 0.25])
    kept = kept_by_top_k(log_prob, 2)
    assert kept.tolist() == [[True, True, True, True, False], [False, False, True, False, True]]


def test_top_k_normalises_what_is_kept():
    filtered = filter_table(table([0.4, 0.1, 0.3, 0.2]), Filters(top_k=2)).exp()
    expected = torch.tensor([[4 / 7, 0, 3 / 7, 0]], dtype=torch.float64)
    torch.testing.assert_close(filtered, expected)


def test_top_k_of_more_codes_than_there_are_keeps_all():
    log_prob = table([0.4, 0.6])
    torch.testing.assert_close(filter_table(log_prob, Filters(top_k=5)), log_prob)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [
        (1e-9, [False, True, False, False]),
        (0.39, [False, True, False, False]),
        (0.41, [False, True, False, True]),
        (0.69, [False, True, False, True]),
        (0.71, [True, True, False, True]),
        (0.999, [True, True, True, True]),
    ],
)
def test_top_p_keeps_the_code_that_crosses(top_p, expected):
    # By probability: code 1 (.4), code 3 (.3), code 0 (.2), code 2 (.1).
    assert kept_by_top_p(table([0.2, 0.4, 0.1, 0.3]), top_p).tolist() == [expected]


def test_top_p_leaves_out_impossible_codes():
    assert kept_by_top_p(table([0.0, 1.0, 0.0]), 0.9999).tolist() == [[False, True, False]]


def test_filters_apply_in_order():
    # Top-k first: of (.4, .3, .2, .1) it leaves (4/7, 3/7), of which 0.5 needs one only.
    filtered = filter_table(table([0.2, 0.4, 0.1, 0.3]), Filters(top_k=2, top_p=0.5))
    assert filtered.exp().tolist() == [[0, 1, 0, 0]]
    # Temperature before top-p: at 1/2, (16, 9, 4, 1)/30, so 0.5 takes one code and not two.
    sharp = filter_table(table([0.2, 0.4, 0.1, 0.3]), Filters(temperature=0.5, top_p=0.5))
    assert sharp.exp().tolist() == [[0, 1, 0, 0]]


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0.0},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"joint_top_k": -1},
        {"joint_top_p": 0.0},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Filters(**wrong)
