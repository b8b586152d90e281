"""Amounts as people write them and read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.amounts import format_cai, parse_cai, wei_of
from protocol.errors import ConfigError
from protocol.units import CAI


@pytest.mark.parametrize(
    ("text", "wei"),
    [
        ("25000", 25_000 * CAI),
        ("25,000", 25_000 * CAI),
        ("2,500,000 CAI", 2_500_000 * CAI),
        ("0.5", CAI // 2),
        (" 1.000000000000000001 cai ", CAI + 1),
        ("1000000000", 10**9 * CAI),
    ],
)
def test_parse_cai__as_people_write_it__is_wei(text, wei):
    assert parse_cai(text, "--stake") == wei


@pytest.mark.parametrize(
    "text", ["", "CAI", "-1", "1e6", "2,50", "25,0000", "1.", ".5", "1.0000000000000000001", "0x10", "١", "1 ETH"]
)
def test_parse_cai__no_amount__names_the_flag_and_the_form(text):
    with pytest.raises(ConfigError, match=r"--stake: .* is no amount of CAI: write it as 25000 or 0\.5"):
        parse_cai(text, "--stake")


@pytest.mark.parametrize("text", ["0", "0.000", "0 CAI"])
def test_parse_cai__zero__is_refused(text):
    with pytest.raises(ConfigError, match="--stake: the amount is zero"):
        parse_cai(text, "--stake")


def test_parse_cai__more_than_exists__is_refused():
    with pytest.raises(ConfigError, match="more than the 1,000,000,000 CAI"):
        parse_cai("1000000000.1", "--stake")


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0 CAI"),
        (25_000 * CAI, "25,000 CAI"),
        (CAI // 2, "0.5 CAI"),
        (1, "below 0.000001 CAI"),
        (-3 * CAI // 2, "-1.5 CAI"),
        (123_456_789 * 10**9, "0.123456 CAI"),
    ],
)
def test_format_cai__any_amount__is_readable(wei, text):
    assert format_cai(wei) == text


@given(st.integers(1, 10**9 * 10**6))
def test_format_cai__of_whole_micro_cai__is_read_back(micro):
    wei = micro * (CAI // 10**6)
    assert parse_cai(format_cai(wei), "--stake") == wei


@pytest.mark.parametrize(("cai", "wei"), [(0.1, 10**17), (100.0, 10**20), (0.0, 0), (1e-18, 1), (0.3, 3 * 10**17)])
def test_wei_of__amount_of_a_settings_file__is_exact(cai: float, wei: int) -> None:
    assert wei_of(cai) == wei
