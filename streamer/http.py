"""What endpoints share: the services, reading a JSON body into a model, one page of a list.

`read(request, Model)` is for plain `def` endpoints (they run in the threadpool and cannot await); `read_async` and
`read_within` are for the event loop. All raise `Invalid` with one entry per wrong field.
"""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

import anyio.from_thread
from pydantic import BaseModel, ValidationError
from sqlalchemy import Select
from sqlalchemy.orm import InstrumentedAttribute, Session
from starlette.requests import Request
from starlette.responses import Response

from streamer import ids
from streamer.config import Server
from streamer.errors import Invalid, TooLarge, TooSlow, unfit
from streamer.services import Services

Model = TypeVar("Model", bound=BaseModel)
Row = TypeVar("Row")

PAGE, PAGE_MAX = 50, 200


def services(request: Request) -> Services:
    """What the endpoint works with."""
    found: Services = request.app.state.services
    return found


@overload
def time(moment: datetime) -> str: ...


@overload
def time(moment: None) -> None: ...


def time(moment: datetime | None) -> str | None:
    """A moment as the API writes it."""
    return moment.isoformat() if moment else None


def kept(text: str, hit: bool) -> Response:
    """JSON that the cache has or could have; which of the two is for whoever looks at the headers (RFC 9211)."""
    status = "streamer; hit" if hit else "streamer; fwd=miss"
    return Response(text, media_type="application/json", headers={"Cache-Status": status})


def read(request: Request, model: type[Model]) -> Model:
    """The JSON body as `model`, from a thread."""
    return _validate(anyio.from_thread.run(request.body), model)


async def read_async(request: Request, model: type[Model]) -> Model:
    """The JSON body as `model`, on the event loop."""
    return _validate(await request.body(), model)


async def read_within(request: Request, model: type[Model], settings: Server) -> Model:
    """The JSON body as `model`, of a route that takes large bodies too: held to the limits of all other routes."""
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            async for piece in request.stream():
                body += piece
                if len(body) > settings.max_body_bytes:
                    raise TooLarge("A JSON body here is small.", headers={"Connection": "close"})
    except TimeoutError:
        raise TooSlow from None
    return _validate(bytes(body), model)


def page(
    request: Request, s: Session, query: Select[Row], id_column: InstrumentedAttribute[str]
) -> tuple[Sequence[Row], str | None]:
    """One page of `query`, newest first, by `limit` and `cursor` of the request: the rows and the next cursor.

    Keyset: the cursor is the last id that was shown, and ids grow with time, so a deep page costs what the first one does.
    """
    count = limit(request)
    if before := cursor(request):
        query = query.where(id_column < before)
    rows = s.scalars(query.order_by(id_column.desc()).limit(count + 1)).all()
    shown = rows[:count]
    return shown, _id(shown[-1]) if len(rows) > count else None


def limit(request: Request) -> int:
    """How many rows the request wants to see at most."""
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and len(text) <= 6 and 1 <= int(text) <= PAGE_MAX):
        raise unfit("limit", f"must be a whole number from 1 to {PAGE_MAX}", text)
    return int(text)


def cursor(request: Request) -> str | None:
    """The next_cursor of the page before, if the request has one."""
    text = request.query_params.get("cursor")
    if text is not None and not ids.is_id(text):
        raise unfit("cursor", "must be a next_cursor from the page before", text)
    return text


def _validate(body: bytes, model: type[Model]) -> Model:
    try:
        return model.model_validate_json(body or b"{}")
    except ValidationError as error:
        raise Invalid("The body does not fit; see errors.", errors=[_entry(e) for e in error.errors()]) from error


def _entry(error: Any) -> dict[str, str]:
    return {"pointer": "".join(f"/{part}" for part in error["loc"]), "detail": error["msg"]}


def _id(row: Any) -> str:
    key: str = row.id
    return key
