"""The S3 backend's own: faults that real servers have, injected before a real server, and presigned URLs."""

import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

from storage import ObjectExists, ObjectStore, StorageDown, StorageError, open_store
from tests.servers import S3Server
from tests.storage.conftest import s3_store
from tests.storage.proxy import Fault, FaultyProxy, Matches

BIG = bytes(9 << 20)
TRIES = 8


@pytest.fixture
def store(seaweedfs: S3Server, proxy: FaultyProxy) -> ObjectStore:
    return s3_store(seaweedfs, proxy.endpoint)


def is_complete(method: str, path: str) -> bool:
    return method == "POST" and "uploadId=" in path


def is_part(method: str, path: str) -> bool:
    return method == "PUT" and "partNumber=" in path


def of(wanted: str) -> Matches:
    return lambda method, path: method == wanted


@pytest.mark.parametrize(("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (503, "ServiceUnavailable")])
def test_passing_faults_are_retried(store: ObjectStore, proxy: FaultyProxy, status: int, code: str) -> None:
    proxy.inject(Fault(of("PUT"), times=2, status=status, code=code))
    proxy.inject(Fault(of("GET"), times=2, status=status, code=code))
    store.put("a.vtt", b"hello", type="text/vtt")
    assert store.read("a.vtt") == b"hello"


def test_retries_are_bounded_and_then_say_that_storage_is_down(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.inject(Fault(of("PUT"), times=100, status=500, code="InternalError"))
    with pytest.raises(StorageDown, match=r"a\.vtt"):
        store.put("a.vtt", b"hello", type="text/vtt")
    assert len([line for line in proxy.seen if line.startswith("PUT")]) == TRIES


def test_a_server_that_is_not_there_is_down(seaweedfs: S3Server) -> None:
    store = open_store("s3://bucket?endpoint=http://127.0.0.1:1", access_key="a", secret_key="b")
    with pytest.raises(StorageDown):
        store.head("a.vtt")


def test_a_part_that_fails_is_sent_again(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.inject(Fault(is_part, times=2, status=503, code="SlowDown"))
    store.put("film.mp4", BIG, type="video/mp4")
    assert store.head("film.mp4").size == len(BIG)


def test_complete_that_answers_200_with_an_error_is_retried(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.inject(Fault(is_complete, times=1, status=200, code="InternalError"))
    store.put("film.mp4", BIG, type="video/mp4")
    assert store.head("film.mp4").size == len(BIG)


def test_an_upload_that_cannot_be_finished_is_aborted(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.inject(Fault(is_complete, times=100, status=200, code="InternalError"))
    with pytest.raises(StorageDown):
        store.put("film.mp4", BIG, type="video/mp4")
    assert list(store.list("")) == []
    assert any(line.startswith("DELETE") and "uploadId=" in line for line in proxy.seen)


@pytest.mark.parametrize("body", [b"hello", BIG], ids=["small", "multipart"])
@pytest.mark.parametrize("if_absent", [True, False])
def test_a_write_whose_answer_was_lost_counts(
    store: ObjectStore, proxy: FaultyProxy, body: bytes, if_absent: bool
) -> None:
    last = is_complete if body is BIG else of("PUT")
    proxy.inject(Fault(last, times=1, status=500, code="InternalError", forward=True))
    assert store.put("film.mp4", body, type="video/mp4", if_absent=if_absent).size == len(body)


def test_another_writer_that_came_between_two_tries_wins(store: ObjectStore, proxy: FaultyProxy) -> None:
    def other() -> None:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(store.put, "index.json", b"theirs", type="application/json", if_absent=True).result()

    proxy.inject(Fault(of("PUT"), times=1, status=500, code="InternalError", before=other))
    with pytest.raises(ObjectExists):
        store.put("index.json", b"mine", type="application/json", if_absent=True)
    assert store.read("index.json") == b"theirs"


def test_a_conditional_put_that_meets_another_under_way_tries_again(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.inject(Fault(of("PUT"), times=2, status=409, code="ConditionalRequestConflict"))
    store.put("index.json", b"mine", type="application/json", if_absent=True)
    assert store.read("index.json") == b"mine"


def test_a_wrong_clock_is_named_and_passes(store: ObjectStore, proxy: FaultyProxy) -> None:
    proxy.inject(Fault(of("PUT"), times=1, status=403, code="RequestTimeTooSkewed"))
    with pytest.raises(StorageDown, match="clock is wrong"):
        store.put("index.json", b"mine", type="application/json")


def test_a_read_that_breaks_off_goes_on_where_it_broke(store: ObjectStore, proxy: FaultyProxy) -> None:
    data = bytes(range(256)) * 10_000
    store.put("film.mp4", data, type="video/mp4")
    proxy.inject(Fault(of("GET"), times=3, cut=500_000))
    assert b"".join(store.chunks("film.mp4", 100, 2_000_000)) == data[100:2_000_100]


def test_a_read_that_breaks_off_again_and_again_ends(store: ObjectStore, proxy: FaultyProxy) -> None:
    store.put("film.mp4", bytes(100_000), type="video/mp4")
    proxy.inject(Fault(of("GET"), times=100, cut=1))
    with pytest.raises(StorageDown, match="broke off"):
        store.read("film.mp4")


def test_a_read_never_mixes_two_versions(store: ObjectStore, proxy: FaultyProxy) -> None:
    store.put("film.mp4", bytes(100_000), type="video/mp4")
    proxy.inject(Fault(of("GET"), times=1, cut=50_000))
    proxy.inject(Fault(of("GET"), times=1, before=lambda: store.put("film.mp4", b"x" * 100_000, type="video/mp4")))
    with pytest.raises(StorageDown, match="replaced"):
        store.read("film.mp4")


def test_headers_are_kept(store: ObjectStore) -> None:
    store.put("a.m3u8.gz", b"1", type="text/x", cache="max-age=60", encoding="gzip")
    info = store.copy("a.m3u8.gz", "b.m3u8.gz")
    assert (info.type, info.cache, info.encoding) == ("text/x", "max-age=60", "gzip")


def test_a_presigned_url_reads_one_object_without_keys(seaweedfs: S3Server) -> None:
    store = s3_store(seaweedfs)
    store.put("a.vtt", b"hello", type="text/vtt")
    url = store.presign("a.vtt", ttl_s=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"hello"
    with pytest.raises(urllib.error.HTTPError, match="403") as refused:
        urllib.request.urlopen(url.replace("a.vtt", "b.vtt"))
    refused.value.close()


def test_wrong_keys_are_not_a_passing_fault(seaweedfs: S3Server) -> None:
    url = seaweedfs.url(seaweedfs.bucket())
    with pytest.raises(StorageError) as refused:
        open_store(url, access_key=seaweedfs.access_key, secret_key="wrong").head("a.vtt")
    assert not isinstance(refused.value, StorageDown)


def test_stores_with_different_prefixes_do_not_see_each_other(seaweedfs: S3Server) -> None:
    bucket, keys = seaweedfs.bucket(), {"access_key": seaweedfs.access_key, "secret_key": seaweedfs.secret_key}
    one, other = (open_store(seaweedfs.url(bucket, prefix), **keys) for prefix in ("one", "other"))
    one.put("a.vtt", b"1", type="text/vtt")
    assert [info.key for info in one.list("")] == ["a.vtt"]
    assert list(other.list("")) == []
