"""One-time codes against the vectors of their standards."""

import base64

import pytest

from streamer.accounts import totp

# RFC 6238, appendix B, SHA-1: the last six of its eight digits.
SECRET = base64.b32encode(b"12345678901234567890").decode()
VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]


@pytest.mark.parametrize(("at", "code"), VECTORS)
def test_codes_are_those_of_the_standard(at: int, code: str) -> None:
    assert totp.code(SECRET, at // totp.STEP_S) == code
    assert totp.matching_step(SECRET, code, at, after=0) == at // totp.STEP_S


def test_a_clock_may_be_half_a_minute_off_and_no_more() -> None:
    step = 1111111111 // totp.STEP_S
    for drift, found in ((-2, None), (-1, step - 1), (0, step), (1, step + 1), (2, None)):
        assert totp.matching_step(SECRET, totp.code(SECRET, step + drift), 1111111111, after=0) == found


def test_a_code_is_not_taken_twice_nor_after_a_later_one() -> None:
    step = 1111111111 // totp.STEP_S
    for late in (-1, 0):
        assert totp.matching_step(SECRET, totp.code(SECRET, step + late), 1111111111, after=step) is None


@pytest.mark.parametrize("given", ["", "12345", "1234567", "２８７０８２", "28708é"])
def test_what_is_no_code_matches_nothing(given: str) -> None:
    assert totp.matching_step(SECRET, given, 59, after=0) is None


def test_an_app_can_read_the_uri() -> None:
    uri = totp.uri(totp.new_secret(), "ada@example.org")
    assert uri.startswith("otpauth://totp/Streamer:ada@example.org?secret=") and uri.endswith("&issuer=Streamer")
