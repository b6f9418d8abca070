"""What everybody may see, as the cache keeps it: the front page's films, and a film behind a public link."""

import json
from dataclasses import asdict

from streamer import cache, db, ids
from streamer.catalog import documents
from streamer.catalog.documents import AssetDocument
from streamer.catalog.tables import Asset, PlaybackId
from streamer.delivery import policies
from streamer.delivery.policies import Verdict
from streamer.services import Services
from streamer.site.listing import Listed, newest

_FILMS: dict[str, str] = {}  # of playback ids, which never name another film
_MOST = 10_000


def on_now(services: Services) -> list[Listed]:
    """The films of the front page."""

    def make() -> tuple[str, bool]:
        with db.reading(services) as s:
            return json.dumps([asdict(one) for one in newest(services, s)]), True

    text, _ = services.cache.text("front-page", "", cache.listed("films"), make)
    return [Listed(**one) for one in json.loads(text)]


def to_everybody(services: Services, playback_id: str) -> AssetDocument | None:
    """The film that anybody may watch by this link; None when it is not for everybody, whatever else it is."""
    if (asset_id := _FILMS.get(playback_id)) is None:
        film: AssetDocument | None = json.loads(_make(services, playback_id)[0])
        return film
    tags = cache.rows("films", asset_id)
    text, _ = services.cache.text("link", playback_id, tags, lambda: _make(services, playback_id))
    film = json.loads(text)
    return film


def _make(services: Services, playback_id: str) -> tuple[str, bool]:
    """None is kept too; a film whose encode makes progress is not."""
    with db.reading(services) as s:
        playback = s.get(PlaybackId, playback_id) if ids.is_id(playback_id) else None
        asset = s.get(Asset, playback.asset_id) if playback else None
        if playback is None or asset is None:
            return json.dumps(None), False
        if len(_FILMS) >= _MOST:
            _FILMS.clear()
        _FILMS[playback_id] = asset.id
        if policies.decide(playback, asset, None, cap=services.config.delivery.max_short_side).verdict != Verdict.PLAY:
            return json.dumps(None), True
        film = documents.asset(services, s, asset)
        return json.dumps(film), film["progress"] is None
