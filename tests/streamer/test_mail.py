"""Letters through both mailboxes: a real mail server in each of its ways to encrypt, and a folder."""

from collections.abc import Iterator
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import quote

import pytest

from streamer import mail
from streamer.config import Config
from tests.mailserver import PASSWORD, USER, mail_server, make_certificate

SENDER = "Straße & Söhne <films@example.org>"
LOGIN = f"{USER}:{quote(PASSWORD)}"


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that this process trusts."""
    path = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    yield path


def box(url: str) -> mail.Mailbox:
    config = Config.model_validate(
        {"mail": {"url": url, "timeout_s": 5}, "server": {"public_url": "https://x.example"}}
    )
    return mail.open_mailbox(config)


def letter(to: str = "ada@example.org") -> "mail.EmailMessage":
    return mail.compose(SENDER, to, "Grüße", "A link:\n\nhttps://x.example/admin/reset?token=" + "a" * 43 + "\n")


def test_a_letter_goes_over_an_encrypted_line_with_a_password(certificate: Path) -> None:
    with mail_server(certificate) as server:
        box(f"smtp://{LOGIN}@127.0.0.1:{server.port}").send(letter())
    (came,) = server.letters
    assert server.encrypted == [True]
    assert (came["To"], came["Subject"], came["Auto-Submitted"]) == ("ada@example.org", "Grüße", "auto-generated")
    assert "films@example.org" in came["From"] and came["Message-ID"] and came["Date"]
    assert "a" * 43 in came.get_content(), "the link is not broken over lines"


def test_smtps_is_encrypted_from_the_first_byte(certificate: Path) -> None:
    with mail_server(certificate, at_once=True) as server:
        box(f"smtps://{LOGIN}@127.0.0.1:{server.port}").send(letter())
    assert server.encrypted == [True]


def test_a_server_without_encryption_is_never_given_the_password() -> None:
    with mail_server() as server, pytest.raises(mail.NotSent, match="offers no encryption"):
        box(f"smtp://{LOGIN}@127.0.0.1:{server.port}").send(letter())
    assert server.letters == []


def test_a_relay_without_encryption_or_password_takes_letters() -> None:
    with mail_server() as server:
        box(f"smtp://127.0.0.1:{server.port}").send(letter())
    assert server.encrypted == [False]


def test_a_certificate_that_nobody_vouches_for_ends_it(tmp_path: Path) -> None:
    with mail_server(make_certificate(tmp_path)) as server, pytest.raises(mail.NotSent) as refused:
        box(f"smtp://{LOGIN}@127.0.0.1:{server.port}").send(letter())
    assert refused.value.retryable and server.letters == []


@pytest.mark.parametrize(("refusal", "retryable"), [(b"450 later", True), (b"550 no such user ada", False)])
def test_a_refusal_says_whether_it_is_for_good_and_names_no_address(refusal: bytes, retryable: bool) -> None:
    with mail_server() as server, pytest.raises(mail.NotSent) as refused:
        server.refusals.append(refusal)
        box(f"smtp://127.0.0.1:{server.port}").send(letter())
    assert refused.value.retryable is retryable and "ada" not in str(refused.value)


def test_a_wrong_password_and_a_dead_server_may_be_put_right(certificate: Path) -> None:
    with mail_server(certificate) as server:
        wrong = box(f"smtp://{USER}:wrong@127.0.0.1:{server.port}")
        with pytest.raises(mail.NotSent) as refused:
            wrong.send(letter())
    assert refused.value.retryable
    with pytest.raises(mail.NotSent) as dead:
        wrong.send(letter())
    assert dead.value.retryable


@pytest.mark.parametrize("to", ["a,b@example.org", "a@example.org\nBcc: b@example.org", "nobody", "a b@example.org"])
def test_one_address_is_never_read_as_more(to: str) -> None:
    with pytest.raises(mail.NotSent) as refused:
        letter(to)
    assert not refused.value.retryable


def test_without_a_mail_server_letters_are_files_for_the_owner_only(tmp_path: Path) -> None:
    config = Config.load(None, tmp_path)
    mail.open_mailbox(config).send(letter())
    (path,) = config.mail_dir.glob("*.eml")
    came = message_from_bytes(path.read_bytes(), policy=policy.default)
    assert came["To"] == "ada@example.org" and "a" * 43 in came.get_content()  # type: ignore[attr-defined]
    assert path.stat().st_mode & 0o777 == 0o600 and config.mail_dir.stat().st_mode & 0o777 == 0o700
