import secrets as random

import pytest

from streamer import sealing
from streamer.keyring import Secrets


def made() -> Secrets:
    return Secrets(playback={"k1": random.token_bytes(32)}, playback_kid="k1", session=random.token_bytes(32))


def test_what_was_sealed_opens_only_for_its_row_its_purpose_and_its_server() -> None:
    mine, other = made(), made()
    sealed = sealing.seal(mine, "webhooks", "whe_1", "whsec_ü")
    assert sealing.unseal(mine, "webhooks", "whe_1", sealed) == "whsec_ü"
    assert "whsec" not in sealed and sealed != sealing.seal(mine, "webhooks", "whe_1", "whsec_ü")
    for keys, purpose, row in ((other, "webhooks", "whe_1"), (mine, "mail", "whe_1"), (mine, "webhooks", "whe_2")):
        with pytest.raises(sealing.Unreadable):
            sealing.unseal(keys, purpose, row, sealed)


@pytest.mark.parametrize("text", ["", "AAAA", "not base64!", "A" * 64])
def test_nonsense_is_unreadable(text: str) -> None:
    with pytest.raises(sealing.Unreadable):
        sealing.unseal(made(), "webhooks", "whe_1", text)
