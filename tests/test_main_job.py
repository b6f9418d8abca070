"""The main job against the running product: a film goes in over HTTP and plays by its signed URL; what is not a film publishes nothing."""

import gzip
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import pytest

from tests.servers import S3Server
from tests.whole import Product, make_film


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with Product(tmp_path_factory.mktemp("main") / "var") as running:
        yield running


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_film(tmp_path_factory.mktemp("film") / "short.mp4", seconds=8, size="480x270")


@pytest.fixture(scope="module")
def asset(product: Product, film: Path) -> Any:
    return product.ready(film)


def test_the_ffmpeg_command_line_plays_the_signed_url_without_a_warning(
    product: Product, asset: Any, ffmpeg: str
) -> None:
    url = product.play(asset)["manifest_url"]
    for program in (ffmpeg, imageio_ffmpeg.get_ffmpeg_exe()):
        command = [program, "-hide_banner", "-v", "warning", "-i", url, "-map", "0:v", "-map", "0:a", "-f", "null", "-"]
        played = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert (played.returncode, played.stderr) == (0, "")


def test_manifests_are_compressed_and_media_answers_ranges(product: Product, asset: Any) -> None:
    url = product.play(asset)["manifest_url"]
    squeezed = product.get(url, Accept_Encoding="gzip")
    assert squeezed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(squeezed.body) == product.get(url).body
    segment = _first_segment(product, url)
    whole, part = product.get(segment), product.get(segment, Range="bytes=100-199")
    assert (part.status, part.body) == (206, whole.body[100:200])
    assert part.headers["Content-Range"] == f"bytes 100-199/{len(whole.body)}"
    assert whole.headers["Access-Control-Allow-Origin"] == "*"
    assert product.get(segment, If_None_Match=whole.headers["ETag"]).status == 304
    head = product.request("HEAD", segment)
    assert (head.status, head.headers["Content-Length"], head.body) == (200, str(len(whole.body)), b"")


def test_a_token_of_one_film_never_opens_another(product: Product, asset: Any, film: Path) -> None:
    other = product.ready(film)
    mine, theirs = product.play(asset)["manifest_url"], product.play(other)["manifest_url"]
    token, place = mine.split("/p/")[1].split("/", 1)
    stolen = mine.replace(place, theirs.split("/p/")[1].split("/", 1)[1])
    assert product.get(theirs).status == 200
    _assert_refused(product, stolen)
    _assert_refused(product, mine.replace(f"/p/{token}", "/p/none"))
    _assert_refused(product, mine.replace(f"/p/{token}/", "/p/"))


def test_every_changed_character_of_a_token_is_refused(product: Product, asset: Any) -> None:
    url = product.play(asset)["manifest_url"]
    head, rest = url.split("/p/")
    token, place = rest.split("/", 1)
    for position, letter in enumerate(token):
        changed = token[:position] + ("A" if letter != "A" else "B") + token[position + 1 :]
        _assert_refused(product, f"{head}/p/{changed}/{place}")


CANARY = "canary-7c1f"


@pytest.fixture
def listener() -> Iterator[tuple[str, list[bytes]]]:
    """A loopback server that nobody may call, and what it was told."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                heard.append(connection.recv(1000))
                connection.close()

        threading.Thread(target=listen, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", heard
        server.shutdown(socket.SHUT_RDWR)


def _not_films(url: str, canary: Path, film: bytes) -> dict[str, bytes]:
    return {
        "notes.txt": b"Once upon a time there was no film at all.\n" * 50,
        "cut.mp4": film[: len(film) * 2 // 3],
        "film.m3u8": f"#EXTM3U\n#EXT-X-TARGETDURATION:6\n#EXTINF:6,\n{url}/a.ts\n#EXTINF:6,\nfile://{canary}\n#EXT-X-ENDLIST\n".encode(),
        "film.mp4": f"ffconcat version 1.0\nfile '{canary}'\nfile '{url}/b.mp4'\n".encode(),
        "film.sdp": f"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {url.rpartition(':')[2]} RTP/AVP 96\n".encode(),
    }


def test_what_is_no_film_ends_in_a_clear_error_with_nothing_published(
    product: Product, film: Path, listener: tuple[str, list[bytes]], tmp_path: Path
) -> None:
    url, heard = listener
    canary = tmp_path / "canary.txt"
    canary.write_text(CANARY * 100)
    for name, body in _not_films(url, canary, film.read_bytes()).items():
        asset_id = product.upload(body, name=name).json["asset"]["id"]
        asset = product.settled(asset_id)
        assert asset["processing"] == "errored", name
        assert not asset["error"]["retryable"] and len(asset["error"]["detail"]) > 40, name
        assert not asset["playable"] and not (product.data / "media" / asset_id).exists(), name
        refused = product.api("POST", "/playback-sessions", {"playback_id": asset["playback_ids"][0]["id"]})
        assert (refused.status, refused.json["code"]) == (409, "not_playable"), name
        assert CANARY not in str(asset)
    assert heard == []


def test_an_empty_file_is_refused_at_the_door(product: Product) -> None:
    before = product.api("GET", "/assets").json["data"]
    answer = product.upload(b"")
    assert answer.status == 400 and "empty" in answer.json["detail"].lower()
    assert product.api("GET", "/assets").json["data"] == before


def test_after_backup_wipe_and_restore_everything_plays_by_the_urls_it_had(
    tmp_path: Path, film: Path, ffmpeg: str
) -> None:
    with Product(tmp_path / "var") as product:
        asset = product.ready(film)
        url = product.play(asset)["manifest_url"]
        done = product.command("backup", str(tmp_path / "backups"))
        assert done.returncode == 0, done.stderr
    shutil.rmtree(product.data)
    done = product.command("restore", str(tmp_path / "backups"))
    assert done.returncode == 0, done.stderr
    assert product.command("fsck", "--settled", "0").stdout == "0 differences.\n"
    with product:
        played = subprocess.run([ffmpeg, "-v", "warning", "-i", url, "-f", "null", "-"], capture_output=True, text=True)
        assert (played.returncode, played.stderr) == (0, "")
        assert product.asset(asset["id"])["title"] == asset["title"]  # by the same API key


@pytest.mark.timeout(240)
def test_the_same_code_runs_on_mariadb_redis_and_s3(
    tmp_path: Path, film: Path, mariadb_url: str, redis_url: str, s3_url: str, seaweedfs: S3Server, ffmpeg: str
) -> None:
    servers = {
        "STREAMER_DATABASE__URL": mariadb_url,
        "STREAMER_REDIS__URL": redis_url,
        "STREAMER_STORAGE__URL": s3_url,
        "STREAMER_STORAGE__ACCESS_KEY": seaweedfs.access_key,
        "STREAMER_STORAGE__SECRET_KEY": seaweedfs.secret_key,
    }
    with Product(tmp_path / "var", **servers) as product:
        asset = product.ready(film)
        url = product.play(asset)["manifest_url"]
        played = subprocess.run([ffmpeg, "-v", "warning", "-i", url, "-f", "null", "-"], capture_output=True, text=True)
        assert (played.returncode, played.stderr) == (0, "")
        assert not product.pids("valkey-server")
        assert not (product.data / "media").exists() and not (product.data / "streamer.db").exists()


def _first_segment(product: Product, master: str) -> str:
    base = master.rpartition("/")[0]
    media = next(line for line in product.get(master).body.decode().splitlines() if line and not line.startswith("#"))
    uris = product.get(f"{base}/{media}").body.decode().splitlines()
    return f"{base}/{media.rpartition('/')[0]}/{next(uri for uri in uris if uri and not uri.startswith('#'))}"


def _assert_refused(product: Product, url: str) -> None:
    answer = product.get(url)
    assert answer.status == 403, url
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.headers["Cache-Control"] == "no-store"
