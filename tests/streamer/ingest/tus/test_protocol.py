from base64 import b64encode

import pytest

from streamer.errors import Invalid
from streamer.ingest.tus import protocol
from streamer.ingest.tus.protocol import ChecksumMismatch, Concat, WrongType, WrongVersion

ONE, TWO = "upl_" + "1" * 20, "upl_" + "2" * 20
DIGESTS = {
    "sha1": "qvTGHdzF6KLavt4PO0gs2a6pQ00=",
    "sha256": "LPJNul+wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ=",
    "crc32": "NhCmhg==",
}


@pytest.mark.parametrize("text", [None, "", "-1", "+1", "1.5", "1e3", "0x10", "٣", "1 2", " 5", "1\n", "9" * 21, "NaN"])
def test_lengths_and_offsets_are_plain_numbers(text: str | None) -> None:
    with pytest.raises(Invalid) as refusal:
        protocol.number("Upload-Length", text)
    assert refusal.value.code == "tus_header" and "Upload-Length" in refusal.value.detail
    assert protocol.number("Upload-Length", str(1 << 63)) == 1 << 63


def test_a_length_is_said_now_or_later_and_not_both() -> None:
    assert protocol.length("7", None) == 7
    assert protocol.length(None, "1") is None
    for length, deferred in ((None, None), ("7", "1"), (None, "0"), (None, "yes")):
        with pytest.raises(Invalid):
            protocol.length(length, deferred)


def test_metadata_is_names_and_values_in_base64() -> None:
    name = b64encode("Füchse\r\n\0.mp4".encode()).decode()
    assert protocol.metadata(f"filename {name},is_draft,title ") == {
        "filename": "Füchse\r\n\0.mp4",
        "is_draft": "",
        "title": "",
    }
    assert protocol.metadata(None) == protocol.metadata(" ") == {}


@pytest.mark.parametrize(
    "text",
    [
        "filename !!!",
        "filename ÄÄ",
        "a YQ==,a YQ==",
        "a YQ==,,b YQ==",
        "filename /w==",
        "a\tYQ==",
        "ä YQ==",
        "x " + "Y" * 4096,
    ],
)
def test_other_metadata_is_refused(text: str) -> None:
    with pytest.raises(Invalid) as refusal:
        protocol.metadata(text)
    assert refusal.value.code == "tus_metadata"


@pytest.mark.parametrize("algorithm", DIGESTS)
def test_bytes_pass_when_they_are_the_announced_ones(algorithm: str) -> None:
    checksum = protocol.checksum(f"{algorithm} {DIGESTS[algorithm]}")
    assert checksum is not None
    assert list(checksum.passing(iter([b"hel", b"lo"]))) == [b"hel", b"lo"]
    with pytest.raises(ChecksumMismatch) as refusal:
        list(checksum.passing(iter([b"hel", b"la"])))
    assert refusal.value.status == 460


@pytest.mark.parametrize("text", ["", "md5 YQ==", "sha1", "sha1 !!!", "sha1 YQ==", "SHA1 " + DIGESTS["sha1"]])
def test_checksums_that_nobody_can_check_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        protocol.checksum(text)


def test_an_upload_is_a_part_or_a_whole_of_parts() -> None:
    assert protocol.concat(None) is None
    assert protocol.concat("partial") == Concat()
    assert protocol.concat(f"final;https://films.example.org/api/v1/tus/{ONE} /api/v1/tus/{TWO}") == Concat((ONE, TWO))


@pytest.mark.parametrize(
    "text",
    ["", "final", "final;", "partial;/a", "other", f"final;/{ONE} /{ONE}", "final;/../../etc", "final;/upl_%2e%2e",
     "final;" + " ".join(f"/upl_{n:020d}" for n in range(129))],
)  # fmt: skip
def test_other_wholes_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        protocol.concat(text)


def test_another_version_or_type_of_body_is_refused_with_what_to_send() -> None:
    for version in (None, "0.2.2", "1.0.1"):
        with pytest.raises(WrongVersion) as refusal:
            protocol.check_version(version)
        assert refusal.value.status == 412 and refusal.value.headers == {"Tus-Version": "1.0.0"}
    protocol.check_type("Application/Offset+Octet-Stream; x=y")
    for kind in (None, "application/octet-stream", "multipart/form-data"):
        with pytest.raises(WrongType) as wrong:
            protocol.check_type(kind)
        assert wrong.value.status == 415
