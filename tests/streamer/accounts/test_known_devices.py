"""The known device's cookie: what we signed and nothing else."""

import secrets

import pytest

from streamer.accounts import known_devices
from streamer.keyring import Secrets

KEYS = Secrets({}, "k1", secrets.token_bytes(32))
ADA, EVE = "ada@example.org", "eve@example.org"


def test_a_browser_is_known_to_the_accounts_that_were_opened_in_it() -> None:
    cookie = known_devices.remember(KEYS, "", ADA)
    assert known_devices.find(KEYS, cookie, " Ada@Example.org") is not None
    assert known_devices.find(KEYS, cookie, EVE) is None
    both = known_devices.remember(KEYS, cookie, EVE)
    assert known_devices.find(KEYS, both, ADA) == known_devices.find(KEYS, cookie, ADA)
    assert known_devices.any_account(KEYS, both) == known_devices.account_of(EVE)


def test_a_cookie_never_grows_beyond_five_accounts() -> None:
    cookie = ""
    for number in range(8):
        cookie = known_devices.remember(KEYS, cookie, f"{number}@example.org")
    assert [known_devices.find(KEYS, cookie, f"{number}@example.org") is None for number in range(8)] == [True] * 3 + [
        False
    ] * 5


@pytest.mark.parametrize("change", ["account", "device", "signature", "key"])
def test_what_we_did_not_sign_is_unknown(change: str) -> None:
    account, device, signature = known_devices.remember(KEYS, "", ADA).split("~")
    forged = {"account": account, "device": device, "signature": signature} | {change: known_devices.account_of(EVE)}
    keys = Secrets({}, "k1", bytes(32)) if change == "key" else KEYS
    cookie = f"{forged['account']}~{forged['device']}~{forged['signature']}"
    assert known_devices.find(keys, cookie, ADA) is known_devices.find(keys, cookie, EVE) is None


@pytest.mark.parametrize("cookie", ["", ".", "~~", "." * 5000, "~" * 5000, "x~\u00e9~x", "a~b~c~d"])
def test_nonsense_is_unknown(cookie: str) -> None:
    assert known_devices.any_account(KEYS, cookie) is None
