import base64
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from streamer import keyring
from streamer.config import Accounts, Config, ConfigError, Data, Delivery


def key(byte: int, length: int = 32) -> str:
    return base64.b64encode(bytes([byte]) * length).decode()


def test_secrets_are_made_once_and_for_the_owner_only(tmp_path: Path) -> None:
    config = Config(data=Data(dir=tmp_path))
    first = keyring.load(config)
    assert keyring.load(config) == first
    assert len(first.session) == len(first.playback[first.playback_kid]) == 32
    assert stat.S_IMODE(config.secrets_file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["secrets.json"]


def test_processes_that_start_together_agree(tmp_path: Path) -> None:
    config = Config(data=Data(dir=tmp_path))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: keyring.load(config), range(8)))
    assert all(one == found[0] for one in found)


def test_configured_secrets_leave_no_file(tmp_path: Path) -> None:
    delivery = Delivery(signing_keys={"old": key(1), "new": key(2)})
    config = Config(data=Data(dir=tmp_path), delivery=delivery, accounts=Accounts(session_secret=key(3)))
    secrets = keyring.load(config)
    assert (secrets.playback_kid, secrets.session) == ("new", b"\3" * 32)
    assert not config.secrets_file.exists()


@pytest.mark.parametrize("delivery", [
    Delivery(signing_keys={"k": "not base64!"}),
    Delivery(signing_keys={"k": key(1, length=31)}),
    Delivery(signing_keys={"k": key(1)}, signing_kid="other"),
])  # fmt: skip
def test_a_key_that_can_not_be_used_is_refused(tmp_path: Path, delivery: Delivery) -> None:
    with pytest.raises(ConfigError):
        keyring.load(Config(data=Data(dir=tmp_path), delivery=delivery))


def test_secrets_are_not_shown(tmp_path: Path) -> None:
    secrets = keyring.load(Config(data=Data(dir=tmp_path)))
    assert repr(secrets.session) not in repr(secrets)
