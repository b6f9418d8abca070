"""How often the cache had the answer."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from typing_extensions import TypedDict

from streamer import http
from streamer.accounts import doors
from streamer.accounts.roles import Permission
from streamer.operations import Listed, Operation


class CacheDocument(TypedDict):
    """One kind of answer, since Redis was last empty: hits of all lookups as `hit_ratio`, 0 to 1."""

    name: str
    hits: int
    misses: int
    hit_ratio: float


def list_counts(request: Request) -> Response:
    counts = http.services(request).cache.counts()
    data: list[CacheDocument] = [
        {"name": name, "hits": one.hits, "misses": one.misses, "hit_ratio": round(one.ratio, 4)}
        for name, one in counts.items()
    ]
    return JSONResponse({"data": data})


routes = [
    doors.route(
        "/cache",
        list_counts,
        Operation("GET", "See how often the cache helps", doors.allowed(Permission.JOBS_READ), Listed[CacheDocument]),
    )
]
