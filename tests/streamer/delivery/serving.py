"""The origin behind a real uvicorn, and a client that sends paths and headers exactly as they are given."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

from starlette.types import ASGIApp, Receive, Scope, Send

from storage import ObjectStore
from storage.mimes import media_type
from streamer import migrations
from streamer.config import Config, Data, Delivery, Redis
from streamer.delivery import tokens
from streamer.delivery.origin import Origin
from streamer.services import Services, close_services, open_services
from tests.streamer.running import running

ASSET, VERSION = "ast_0a", "5f3c9e"
PREFIX = f"/{ASSET}/{VERSION}/"

MASTER = """#EXTM3U
#EXT-X-VERSION:7
#EXT-X-INDEPENDENT-SEGMENTS
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a128",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,URI="a1-128k/vod.m3u8"
#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a48",NAME="English",LANGUAGE="en",DEFAULT=YES,AUTOSELECT=YES,URI="a1-48k/vod.m3u8"
#EXT-X-STREAM-INF:BANDWIDTH=2600000,AVERAGE-BANDWIDTH=2100000,CODECS="avc1.64001f,mp4a.40.2",RESOLUTION=960x540,AUDIO="a128"
v540-2000k/vod.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=7000000,AVERAGE-BANDWIDTH=6100000,CODECS="avc1.640028,mp4a.40.2",RESOLUTION=1920x1080,AUDIO="a128"
v1080-6000k/vod.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=1500000,AVERAGE-BANDWIDTH=1200000,CODECS="avc1.64001e,mp4a.40.2",RESOLUTION=768x432,AUDIO="a128"
v432-1100k/vod.m3u8
#EXT-X-STREAM-INF:BANDWIDTH=190000,AVERAGE-BANDWIDTH=150000,CODECS="avc1.64000c,mp4a.40.2",RESOLUTION=416x234,AUDIO="a48"
v234-145k/vod.m3u8
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=300000,CODECS="avc1.64001f",RESOLUTION=960x540,URI="v540-2000k/iframes.m3u8"
#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=800000,CODECS="avc1.640028",RESOLUTION=1920x1080,URI="v1080-6000k/iframes.m3u8"
"""

VOD = (
    '#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:6\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MAP:URI="init-0.mp4"\n'
    + "".join(f"#EXTINF:6.000000,\n0000-a1/{n:06d}.m4s\n" for n in range(50))
    + "#EXT-X-ENDLIST\n"
)

SEGMENT = bytes(range(256)) * 4000


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Served:
    """A running origin. `path` signs a name of the small package that `fill` stored."""

    services: Services
    port: int

    def path(
        self, rest: str, *, exp: int | None = None, cap: int = 1080, sid: str = "pbs_test", prefix: str = PREFIX
    ) -> str:
        keys = self.services.secrets
        end = int(time.time()) + 3600 if exp is None else exp
        token = tokens.sign(keys.playback, prefix, kid=keys.playback_kid, exp=end, cap=cap, sid=sid)
        return f"/p/{token}{prefix}{rest}"

    def ask(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Header names have underscores for dashes."""
        return ask(self.port, path, method, **headers)


def ask(port: int, path: str, method: str = "GET", **headers: str) -> Answer:
    lines = [f"{method} {path} HTTP/1.1", "host: test", "connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
        with HTTPResponse(connection, method=method) as response:
            response.begin()
            body = response.read()
            return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def fill(store: ObjectStore, path: str = f"{ASSET}/{VERSION}") -> None:
    """A package of the usual layout: real playlists, segments of counted bytes."""
    objects = {
        "master.m3u8": MASTER.encode(),
        "poster.jpg": b"\xff\xd8poster",
        "report.json": b"{}",
        "t1/vod.vtt": b"WEBVTT\n",
        "v540-2000k/vod.m3u8": VOD.encode(),
        "v1080-6000k/vod.m3u8": VOD.encode(),
        "v540-2000k/init-0.mp4": b"init",
        "v540-2000k/0000-a1/000001.m4s": SEGMENT,
        "v540-2000k/0000-a1/000002.m4s": b"",
        "v1080-6000k/0000-a1/000001.m4s": SEGMENT,
        "a1-128k/0000-a1/000001.m4s": b"audio",
    }
    for name, body in objects.items():
        store.put(f"{path}/{name}", body, type=media_type(name))


def configuration(folder: Path, redis_url: str, **delivery: object) -> Config:
    return Config(
        data=Data(dir=folder),
        redis=Redis(url=redis_url, timeout_s=2.0),
        delivery=Delivery(**delivery),
    )


@contextmanager
def serving(config: Config) -> Iterator[Served]:
    """The origin of a fresh database and store, running in a thread until the block ends."""
    services = open_services(config)
    migrations.upgrade(services.engine)
    try:
        with running(_with_lifespan(Origin(services), services)) as url:
            yield Served(services, int(url.rpartition(":")[2]))
    finally:
        close_services(services)


def _with_lifespan(origin: Origin, services: Services) -> ASGIApp:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            return await origin(scope, receive, send)
        await receive()
        async with origin.running():
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await services.kv.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    return app
