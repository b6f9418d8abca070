"""Documents of films as the cache keeps them: as long as nothing of them changes, and never while an encode makes progress.

They say nothing of who may see them; that is looked at each time, before they are shown.
"""

import hashlib
import json

from starlette.requests import Request

from streamer import cache, db, http, ids
from streamer.accounts.logins import Principal
from streamer.catalog import assets, documents
from streamer.catalog.documents import AssetDocument
from streamer.catalog.tables import Asset
from streamer.operations import Page
from streamer.services import Services


def asset(services: Services, asset_id: str) -> tuple[AssetDocument | None, bool]:
    """The film, None when there is none, and whether the cache had it."""
    if not ids.is_id(asset_id):
        return None, False

    def make() -> tuple[str, bool]:
        with db.reading(services) as s:
            row = s.get(Asset, asset_id)
            if row is None or row.deleted_at is not None:
                return json.dumps(None), row is not None
            document = documents.asset(services, s, row)
        return json.dumps(document), document["progress"] is None

    text, hit = services.cache.text("film", asset_id, cache.rows("films", asset_id), make)
    found: AssetDocument | None = json.loads(text)
    return found, hit


def page(request: Request, services: Services, who: Principal) -> tuple[str, bool]:
    """One page of the films that somebody sees who sees all of them, as JSON, and whether the cache had it."""
    asked = json.dumps([request.query_params.get("q", ""), http.cursor(request), http.limit(request)])

    def make() -> tuple[str, bool]:
        made = fresh_page(request, services, who)
        return json.dumps(made), all(one["progress"] is None for one in made["data"])

    key = hashlib.sha256(asked.encode()).hexdigest()
    return services.cache.text("films", key, cache.listed("films"), make)


def fresh_page(request: Request, services: Services, who: Principal) -> Page[AssetDocument]:
    """The same from the database, for anybody."""
    with db.reading(services) as s:
        rows, cursor = http.page(request, s, *assets.listed(who, request.query_params.get("q", "")))
        return {"data": documents.assets(services, s, rows), "next_cursor": cursor}
