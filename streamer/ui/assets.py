"""Built files by their plain name: `asset("player.js")` is "/static/player-1a2b3c4d.js".

Names carry a hash of the content, so they may be cached for a year; `static/manifest.json`, written by `npm run build`,
maps plain names to them and is read once per process.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

FOLDER = Path(__file__).parent / "static"
IMMUTABLE = "public, max-age=31536000, immutable"
BRIEF = "public, max-age=300"


def asset(name: str) -> str:
    """The URL path of a built file; KeyError when the build has no such file."""
    return f"/static/{manifest()[name]}"


@cache
def manifest() -> Mapping[str, str]:
    """Plain name to hashed name, as the build wrote it."""
    names: dict[str, str] = json.loads((FOLDER / "manifest.json").read_text())
    return names


class BuiltFiles(StaticFiles):
    """Serves `static/`, to be mounted at /static: hashed names for a year, the licence texts for minutes."""

    def __init__(self) -> None:
        super().__init__(directory=FOLDER)

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = IMMUTABLE if path in manifest().values() else BRIEF
        response.headers["x-content-type-options"] = "nosniff"
        return response
