"""Built files by their plain name: `asset("player.js")` is "/static/player-1a2b3c4d5e.js".

Names carry a hash of the content, so they may be cached for a year; `static/manifest.json`, written by `npm run build`,
maps plain names to them and is read once per process. Compressed copies are made once per process too, when first asked for
(the player shrinks to a third), so that the repository holds each file once.
"""

import gzip
import json
import mimetypes
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
IMMUTABLE = "public, max-age=31536000, immutable"
BRIEF = "public, max-age=300"
_NEVER = re.compile(r"q=0(\.0*)?")


def asset(name: str) -> str:
    """The URL path of a built file; KeyError when the build has no such file."""
    return f"/static/{manifest()[name]}"


@cache
def manifest() -> Mapping[str, str]:
    """Plain name to hashed name, as the build wrote it."""
    names: dict[str, str] = json.loads((FOLDER / "manifest.json").read_text())
    return names


class BuiltFiles(StaticFiles):
    """Serves `static/`, to be mounted at /static: hashed names for a year and compressed, the licence texts for minutes."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        hashed = path in manifest().values()
        if hashed and scope["method"] in ("GET", "HEAD") and _takes_gzip(scope):
            response = await run_in_threadpool(_compressed, path)
        else:
            response = await super().get_response(path, scope)
        response.headers["cache-control"] = IMMUTABLE if hashed else BRIEF
        response.headers["vary"] = "Accept-Encoding"
        response.headers["x-content-type-options"] = "nosniff"
        return response


def _takes_gzip(scope: Scope) -> bool:
    """Whether gzip is offered by name and not with weight zero (RFC 9110, 12.5.3)."""
    offers = Headers(scope=scope).get("accept-encoding", "").lower().replace(" ", "").split(",")
    weights = {name: weight for name, _, weight in (offer.partition(";") for offer in offers)}
    return "gzip" in weights and not _NEVER.fullmatch(weights["gzip"])


def _compressed(path: str) -> Response:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return Response(_gzip(path), media_type=kind, headers={"content-encoding": "gzip"})


@cache
def _gzip(path: str) -> bytes:
    return gzip.compress((FOLDER / path).read_bytes(), mtime=0)
