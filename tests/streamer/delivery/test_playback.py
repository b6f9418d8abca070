"""Independent players on a signed address of a real package: two FFmpegs, straight from the origin and from behind nginx."""

from __future__ import annotations

import gzip
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import imageio_ffmpeg
import m3u8
import pytest

from packager import pipeline
from packager.check import check
from streamer.delivery import cdn
from tests.servers import die_with_parent, free_port
from tests.streamer.delivery.serving import Answer, Served, ask, configuration, serving

SECONDS = 13
ASSET = "ast_real"


@dataclass(frozen=True)
class Package:
    """A film in the origin's store; `url` signs its entry."""

    served: Served
    path: str
    port: int

    def url(self, *, cap: int = 9999, exp_in: int = 3600) -> str:
        services = self.served.services
        exp = int(time.time()) + exp_in
        here = f"http://127.0.0.1:{self.port}"
        return cdn.manifest_url(
            services.config, services.secrets, self.path, sid="pbs_real", exp=exp, cap=cap, here=here
        )

    def get(self, name: str, method: str = "GET", **headers: str) -> Answer:
        address = self.url().replace("master.m3u8", name).partition(f":{self.port}")[2]
        return ask(self.port, address, method, **headers)


@pytest.fixture(scope="module")
def straight(valkey: str, ffmpeg: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Package]:
    folder = tmp_path_factory.mktemp("playback")
    source = make_film(ffmpeg, folder / "film.mp4")
    with serving(configuration(folder / "data", valkey)) as served:
        package = pipeline.encode(source, served.services.store, lambda version: f"{ASSET}/{version}")
        yield Package(served, package.prefix.strip("/"), served.port)


@pytest.fixture(scope="module")
def proxied(straight: Package, nginx: str) -> Iterator[Package]:
    with proxy(nginx, straight.port) as port:
        yield replace(straight, port=port)


@pytest.fixture(params=["straight", "proxied"])
def package(request: pytest.FixtureRequest) -> Package:
    found: Package = request.getfixturevalue(request.param)
    return found


def make_film(ffmpeg: str, path: Path) -> Path:
    """Pictures that move and a tone, 480 lines so that there are several rungs."""
    picture = f"testsrc2=size=854x480:rate=30:duration={SECONDS}"
    tone = f"sine=frequency=440:sample_rate=48000:duration={SECONDS}"
    command = [ffmpeg, "-v", "error", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone]
    subprocess.run([*command, "-c:v", "libx264", "-preset", "ultrafast", "-c:a", "aac", str(path)], check=True)
    return path


@contextmanager
def proxy(nginx: str, origin: int) -> Iterator[int]:
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="ngx-") as folder:
        user = "user root;" if os.geteuid() == 0 else ""
        Path(folder, "nginx.conf").write_text(
            f"daemon off; {user} worker_processes 1; pid {folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; proxy_temp_path {folder}/tmp; client_body_temp_path {folder}/body;\n"
            f"fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;\n"
            f"server {{ listen 127.0.0.1:{port}; location /p/ {{ proxy_pass http://127.0.0.1:{origin};\n"
            f'proxy_http_version 1.1; proxy_set_header Connection ""; }} }} }}\n'
        )
        process = subprocess.Popen([nginx, "-c", f"{folder}/nginx.conf", "-p", folder], preexec_fn=die_with_parent)
        try:
            wait_until_it_answers(port)
            yield port
        finally:
            process.terminate()
            process.wait()


def wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        try:
            ask(port, "/")
            return
        except ConnectionError:
            assert time.monotonic() < deadline, "nginx did not start"
            time.sleep(0.02)


@pytest.fixture(params=["debian", "imageio"])
def player(request: pytest.FixtureRequest, ffmpeg: str) -> str:
    return ffmpeg if request.param == "debian" else imageio_ffmpeg.get_ffmpeg_exe()


def play(player: str, url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [player, "-v", "warning", "-nostdin", *arguments, "-i", url, "-map", "0", "-f", "null", "-"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_ffmpeg_plays_every_rendition_without_a_warning(package: Package, player: str) -> None:
    done = play(player, package.url())
    assert (done.returncode, done.stderr) == (0, "")


def test_ffmpeg_seeks_into_the_film(package: Package) -> None:
    """The newer one: 5.1 garbles the first pictures after any seek in fragmented MP4, its own packages too, and both repeat what is below."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "warning", "-ss", "7", "-i", package.url(), "-map", "0:v:0"]
    done = subprocess.run([*command, "-f", "framecrc", "-"], capture_output=True, text=True, timeout=120)
    assert all("Found duplicated MOOV Atom. Skipped it" in line for line in done.stderr.splitlines())
    frames = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    assert len(frames) == (SECONDS - 7) * 30


def test_ffmpeg_is_refused_an_address_that_expired(package: Package, player: str) -> None:
    done = play(player, package.url(exp_in=-3600))
    assert done.returncode != 0 and "403" in done.stderr


def test_every_uri_of_the_package_opens_under_the_token_it_came_with(package: Package) -> None:
    master = m3u8.loads(package.get("master.m3u8").body.decode())
    folders = [playlist.uri for playlist in (*master.playlists, *master.media, *master.iframe_playlists)]
    assert len(folders) > 3
    for uri in folders:
        media = m3u8.loads(package.get(uri).body.decode())
        folder = uri.rpartition("/")[0]
        for name in {*(segment.uri for segment in media.segments), *(part.uri for part in media.segment_map)}:
            head = package.get(f"{folder}/{name}", "HEAD")
            assert head.status == 200 and int(head.headers["content-length"]) > 0
            assert head.headers["content-type"] in ("video/mp4", "video/iso.segment")


def test_an_i_frame_range_is_the_bytes_it_names(package: Package) -> None:
    master = m3u8.loads(package.get("master.m3u8").body.decode())
    uri = master.iframe_playlists[0].uri
    folder = uri.rpartition("/")[0]
    for segment in m3u8.loads(package.get(uri).body.decode()).segments:
        size, offset = (int(number) for number in segment.byterange.split("@"))
        part = package.get(f"{folder}/{segment.uri}", range=f"bytes={offset}-{offset + size - 1}")
        assert (part.status, len(part.body), part.body[4:8]) == (206, size, b"moof")


def test_the_conformance_checker_finds_nothing_wrong_with_what_is_delivered(package: Package) -> None:
    assert list(check(package.url()).findings) == []


def test_a_capped_session_gets_and_plays_the_small_rungs_alone(package: Package, player: str) -> None:
    address = package.url(cap=360)
    entry = ask(package.port, address.partition(f":{package.port}")[2]).body.decode()
    sides = [min(playlist.stream_info.resolution) for playlist in m3u8.loads(entry).playlists]
    assert sides and max(sides) <= 360
    assert play(player, address).stderr == ""


def test_gzip_conditions_and_refusals_pass_a_proxy_unchanged(package: Package) -> None:
    plain, packed = package.get("master.m3u8"), package.get("master.m3u8", accept_encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip" and gzip.decompress(packed.body) == plain.body
    assert package.get("master.m3u8", if_none_match=plain.headers["etag"]).status == 304
    refused = package.get("..%2fmaster.m3u8")
    assert (refused.status, refused.headers["cache-control"]) == (403, "no-store")
    assert refused.headers["content-type"] == "application/problem+json"
