"""The Redis stream is what SQL says, and is made again from it."""

import json
from typing import Any

from streamer.events import relay, stream
from streamer.services import Services
from tests.streamer.events.following import record


def entries(services: Services) -> list[tuple[str, str]]:
    told: Any = services.kv_sync.xrange(stream.KEY)
    return [(name, json.loads(fields["event"])["subject_id"]) for name, fields in told]


def test_the_stream_holds_each_event_once_under_its_number(services: Services) -> None:
    record(services, "a", "b")
    assert stream.publish_missing(services) == 0
    relay.number_waiting(services)
    assert (stream.publish_missing(services), stream.publish_missing(services)) == (2, 0)
    record(services, "c")
    relay.number_waiting(services)
    assert stream.publish_missing(services) == 1
    assert entries(services) == [("1-0", "a"), ("2-0", "b"), ("3-0", "c")]


def test_an_emptied_redis_is_filled_again_and_one_from_the_future_is_emptied(services: Services) -> None:
    record(services, "a", "b")
    relay.number_waiting(services)
    stream.publish_missing(services)
    services.kv_sync.flushall()
    assert stream.publish_missing(services) == 2
    services.kv_sync.xadd(stream.KEY, {"event": "{}"}, id="99-0")
    assert stream.publish_missing(services) == 2
    assert entries(services) == [("1-0", "a"), ("2-0", "b")]
