"""The newest events as a Redis stream, for whoever wants to hear of them at once. SQL is the truth: an empty Redis is filled again.

An entry's id is `<sequence>-0` and its field `event` the JSON document. Sequences have no gaps, so a listener that sees one (it slept
longer than the stream is long) knows that it has to ask SQL.
"""

import json

import redis

from streamer import db
from streamer.events import outbox
from streamer.services import Services

KEY = "events"
LENGTH = 10_000  # about: Redis cuts in whole blocks
_BATCH = 200


def publish_missing(services: Services) -> int:
    """Add what the stream lacks of its last LENGTH events; how many were added."""
    with db.reading(services) as s:
        head = outbox.head(s)
    try:
        with services.kv_sync.pipeline() as pipeline:
            return _publish(services, pipeline, head)
    except redis.WatchError:
        return 0  # another relay is at it


def _publish(services: Services, pipeline: redis.client.Pipeline, head: int) -> int:
    pipeline.watch(KEY)  # type: ignore[no-untyped-call]
    last = _last(pipeline)
    if last == head:
        return 0
    known = max(last, head - LENGTH) if last < head else max(0, head - LENGTH)
    with db.reading(services) as s:
        events = outbox.between(s, known, head, _BATCH)
    pipeline.multi()
    if last > head:  # the database is older than Redis: it came from a backup
        pipeline.delete(KEY)
    for event in events:
        fields: dict[str | bytes, str] = {"event": json.dumps(outbox.document(event))}
        pipeline.xadd(KEY, fields, id=f"{event.sequence}-0", maxlen=LENGTH, approximate=True)  # type: ignore[arg-type]
    pipeline.execute()
    return len(events)


def _last(pipeline: redis.client.Pipeline) -> int:
    newest = pipeline.xrevrange(KEY, count=1)
    return int(str(newest[0][0]).partition("-")[0]) if newest else 0
