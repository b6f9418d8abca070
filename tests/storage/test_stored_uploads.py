"""What is S3's own about uploads: late writers, lost answers, parts by signed URL, and what is left when a process dies."""

import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

import pytest

from storage import ObjectMissing, ObjectStore, PartsChanged, PartStore, StorageFull, UploadBusy, in_parts
from storage.base import Part
from storage.ledger import MemoryLedger, Wish
from storage.stored_uploads import SMALLEST_PART, StoredUploads
from tests.servers import S3Server
from tests.storage.conftest import s3_store
from tests.storage.proxy import Fault, FaultyProxy

KEY = "sources/ast_1/upl_1"
SIZE = SMALLEST_PART


@dataclass
class Place:
    """A bucket, and two web hosts' views of the uploads in it; `there` is the second."""

    objects: ObjectStore
    parts: PartStore
    ledger: MemoryLedger
    here: StoredUploads
    there: StoredUploads

    def film(self) -> bytes:
        with self.here.hold("upl_1"):
            self.here.finish(["upl_1"], KEY)
        return self.objects.read(KEY)

    def litter(self) -> list[str]:
        return [info.key for info in self.objects.list("incoming/")]


@pytest.fixture
def place(seaweedfs: S3Server, proxy: FaultyProxy) -> Place:
    objects = s3_store(seaweedfs, proxy.endpoint)
    parts = in_parts(objects)
    assert parts is not None
    ledger = MemoryLedger()
    here, there = (StoredUploads(objects, parts, ledger, part_size=SIZE) for _ in range(2))
    here.create("upl_1", KEY)
    return Place(objects, parts, ledger, here, there)


def test_what_a_writer_sends_that_was_thought_dead_never_counts(place: Place) -> None:
    def overtaken() -> Iterator[bytes]:
        yield b"a" * SIZE
        place.ledger._entries["upl_1"].taken = False  # its lease ran out
        assert place.there.append("upl_1", SIZE, [b"b" * 2 * SIZE, b"b"]) == 3 * SIZE + 1
        yield b"c" * SIZE  # it wakes up, and sends on

    with pytest.raises(UploadBusy):
        place.here.append("upl_1", 0, overtaken())
    assert place.here.append("upl_1", 3 * SIZE + 1, [b"d"]) == 3 * SIZE + 2
    assert place.film() == b"a" * SIZE + b"b" * 2 * SIZE + b"bd"


def test_a_part_that_was_on_its_way_for_long_replaces_nothing(place: Place) -> None:
    """Its number was given out before its turn ended, and is nobody else's."""
    place.here.append("upl_1", 0, [b"a" * SIZE])
    late = place.ledger.take("upl_1", Wish.APPEND)
    number = place.ledger.claim(late)
    place.ledger.give_back(late)
    place.there.append("upl_1", SIZE, [b"b" * SIZE])
    assert late.handle is not None
    place.parts.put_part(KEY, late.handle, number, b"x" * SIZE)
    assert place.film() == b"a" * SIZE + b"b" * SIZE


def test_bytes_count_when_they_are_in_the_store_and_not_before(place: Place, proxy: FaultyProxy) -> None:
    place.here.append("upl_1", 0, [b"kept"])
    proxy.inject(Fault(lambda method, path: method == "PUT", times=1, status=507, code="QuotaExceeded"))
    with pytest.raises(StorageFull):
        place.here.append("upl_1", 4, [b"lost"])
    assert place.there.size("upl_1") == 4
    assert place.there.append("upl_1", 4, [b" on"]) == 7
    assert place.film() == b"kept on"


def test_a_sender_that_breaks_off_while_parts_are_sent_keeps_all_that_came(place: Place) -> None:
    def broken() -> Iterator[bytes]:
        yield b"a" * (SIZE + 100)
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        place.here.append("upl_1", 0, broken())
    assert place.there.size("upl_1") == SIZE + 100
    assert place.there.append("upl_1", SIZE + 100, [b"b" * SIZE]) == 2 * SIZE + 100
    assert place.film() == b"a" * (SIZE + 100) + b"b" * SIZE


def test_a_checked_piece_that_is_refused_leaves_nothing_that_counts(place: Place) -> None:
    def damaged() -> Iterator[bytes]:
        yield b"x" * 2 * SIZE
        raise ValueError("not what was announced")

    place.here.append("upl_1", 0, [b"kept"])
    with pytest.raises(ValueError, match="announced"):
        place.here.append("upl_1", 4, damaged(), whole=True)
    assert place.here.append("upl_1", 4, [b"y" * SIZE], whole=True) == SIZE + 4
    assert place.film() == b"kept" + b"y" * SIZE


def test_completing_that_was_done_and_not_heard_of_is_fine(place: Place, proxy: FaultyProxy) -> None:
    place.here.append("upl_1", 0, [b"a" * SIZE, b"b"])
    proxy.inject(
        Fault(lambda method, path: method == "POST" and "uploadId=" in path, 1, 500, "InternalError", forward=True)
    )
    assert place.film() == b"a" * SIZE + b"b"


def test_many_small_pieces_are_joined_before_they_are_too_many(place: Place) -> None:
    for n in range(40):
        place.here.append("upl_1", n, [bytes((n,))])
    assert len(place.litter()) <= 17
    assert place.film() == bytes(range(40))


def test_what_was_never_finished_goes_with_its_parts(place: Place) -> None:
    place.here.append("upl_1", 0, [b"a" * SIZE, b"b"])
    assert len(list(place.parts.unfinished("sources/"))) == 1
    place.there.abort("upl_1")
    assert list(place.parts.unfinished("")) == list(place.objects.list("")) == list(place.here.ids()) == []
    with pytest.raises(ObjectMissing):
        place.here.append("upl_1", SIZE + 1, [b"c"])


class TestPartsBySignedUrl:
    @pytest.fixture
    def place(self, place: Place) -> Place:
        place.here.abort("upl_1")
        place.here.create("upl_1")
        place.here.open_to_parts("upl_1")
        return place

    def test_are_the_upload_once_they_are_accepted(self, place: Place) -> None:
        for number, data in ((2, b"b" * 10), (1, b"a" * SIZE)):
            assert put(place.there.sign("upl_1", number, len(data), ttl_s=60), data) == 200
        sent = place.here.sent("upl_1")
        assert [(part.number, part.size) for part in sent] == [(1, SIZE), (2, 10)]
        assert place.here.size("upl_1") == 0
        assert place.here.accept("upl_1", sent) == place.there.accept("upl_1", sent) == SIZE + 10
        assert place.film() == b"a" * SIZE + b"b" * 10

    def test_are_refused_in_another_size_at_another_place_and_after_their_time(self, place: Place) -> None:
        url = place.here.sign("upl_1", 1, 10, ttl_s=60)
        assert put(url, b"a" * 11) == 403
        assert put(url.replace("partNumber=1", "partNumber=2"), b"a" * 10) == 403
        assert put(url.replace("/whole", "/other"), b"a" * 10) == 403
        brief = place.here.sign("upl_1", 1, 10, ttl_s=1)
        time.sleep(2.1)
        assert put(brief, b"a" * 10) == 403
        assert place.here.sent("upl_1") == []

    def test_that_are_replaced_after_they_were_counted_are_never_in_the_film(self, place: Place) -> None:
        """S3 refuses the old ETag, or (SeaweedFS) still has the part that it names."""
        url = place.here.sign("upl_1", 1, 4, ttl_s=60)
        put(url, b"good")
        place.here.accept("upl_1", place.here.sent("upl_1"))
        put(url, b"evil")
        with suppress(PartsChanged):
            assert place.film() == b"good"

    def test_find_nothing_to_be_a_part_of_when_the_film_is_made(self, place: Place) -> None:
        url = place.here.sign("upl_1", 1, 4, ttl_s=60)
        put(url, b"good")
        place.here.accept("upl_1", place.here.sent("upl_1"))
        assert place.film() == b"good"
        assert put(url, b"evil") == 404
        place.here.abort("upl_1")
        assert place.litter() == []
        assert place.objects.read(KEY) == b"good"

    def test_that_are_not_what_was_counted_make_no_object(self, place: Place) -> None:
        put(place.here.sign("upl_1", 1, 4, ttl_s=60), b"evil")
        place.here.accept("upl_1", [Part(1, 4, "0" * 32)])
        with pytest.raises(PartsChanged):
            place.film()
        with pytest.raises(ObjectMissing):
            place.objects.head(KEY)


def put(url: str, data: bytes) -> int:
    """What a browser does with a signed URL; the status."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, method="PUT"), timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
