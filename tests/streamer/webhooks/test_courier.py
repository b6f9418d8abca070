"""What a customer's server sees: everything, in order, signed, for as long as it takes; and nothing where it must not go."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler

import pytest
from sqlalchemy import select

from streamer import db
from streamer.config import Outbound, Webhooks
from streamer.errors import Conflict
from streamer.events import relay
from streamer.services import Services
from streamer.webhooks import courier, deliveries, endpoints
from streamer.webhooks.courier import Courier
from streamer.webhooks.deliveries import Outcome
from streamer.webhooks.tables import Delivery, Endpoint
from tests.streamer.events.following import record
from tests.streamer.stack import wait_for
from tests.streamer.webhooks.receiver import Receiver, verified


def subscribe(services: Services, url: str, types: Sequence[str] = ("*",)) -> tuple[str, str]:
    """The new endpoint's id and secret."""
    rules = services.config.outbound
    with db.session(services) as s:
        row, secret = endpoints.create(s, services.secrets, rules, url=url, types=types, description="")
    return row.id, secret


def happen(services: Services, *names: str) -> None:
    record(services, *names)
    relay.number_waiting(services)


def send(services: Services, courier: Courier | None = None) -> int:
    """One turn for each endpoint that something is due to; how many attempts that made."""
    courier = courier or Courier(services)
    with db.reading(services) as s:
        due = deliveries.due_endpoints(s)
    return sum(courier.serve(one) for one in due)


def rows(services: Services) -> list[Delivery]:
    with db.reading(services) as s:
        return list(s.scalars(select(Delivery).order_by(Delivery.id)))


def states(services: Services) -> list[str]:
    return sorted(one.state for one in rows(services))


def endpoint(services: Services, endpoint_id: str) -> Endpoint:
    with db.reading(services) as s:
        return s.get_one(Endpoint, endpoint_id)


def test_events_arrive_in_order_and_signed(services: Services, receiver: Receiver) -> None:
    _, secret = subscribe(services, receiver.url)
    happen(services, "a", "b", "c")
    assert send(services) == 3
    assert receiver.sequences == [1, 2, 3]
    first = receiver.received[0]
    assert (first.path, first.document["subject_id"], first.document["type"]) == (
        "/hook?from=streamer", "a", "asset.updated"
    )  # fmt: skip
    assert first.headers["webhook-id"] == first.document["id"] and first.headers["content-type"] == "application/json"
    assert all(verified(one, secret) for one in receiver.received)
    assert not verified(first, "whsec_" + "A" * 44)
    assert states(services) == ["delivered"] * 3 and send(services) == 0


def test_an_endpoint_that_was_down_gets_all_of_it_when_it_is_up(services: Services, receiver: Receiver) -> None:
    endpoint_id, secret = subscribe(services, receiver.url)
    receiver.down()
    happen(services, "a", "b")
    assert send(services) == 1, "what follows waits for its turn"
    assert endpoint(services, endpoint_id).failing_since is not None
    receiver.up()
    receiver.answers = [503]
    wait_for(lambda: send(services) and states(services) == ["delivered"] * 2)
    assert sorted(set(receiver.sequences)) == [1, 2] and len(receiver.received) == 3
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 2, "a repetition has the id of the first"
    assert all(verified(one, secret) for one in receiver.received)
    assert endpoint(services, endpoint_id).failing_since is None


def test_a_courier_killed_before_it_noted_the_answer_is_followed_by_another(
    services: Services, receiver: Receiver
) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    happen(services, "a")
    killed = Courier(services)
    with db.session(services) as s:
        errand = killed._next(s, endpoint_id)
    assert errand is not None and killed.attempt(errand) == Outcome(204)
    assert send(services) == 0, "its lease holds"
    with db.session(services) as s:
        s.get_one(Endpoint, endpoint_id).courier_until = db.database_now(-1)  # type: ignore[assignment]
    assert send(services) == 1
    assert len({one.headers["webhook-id"] for one in receiver.received}) == 1 and len(receiver.received) == 2


def test_attempts_end_and_what_is_dead_can_be_sent_again(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    receiver.answers = [500, 500, 500]
    happen(services, "a")
    wait_for(lambda: send(services) and states(services) == ["dead"])
    (dead,) = rows(services)
    assert (dead.attempts, dead.status, dead.error) == (3, 500, "The endpoint answered 500.")
    assert endpoint(services, endpoint_id).disabled_at is None
    with db.session(services) as s:
        deliveries.resend(s, endpoint_id, dead.id)
    assert send(services) == 1
    assert states(services) == ["delivered"] and receiver.sequences == [1] * 4


def test_the_pauses_are_those_of_the_settings_and_add_up_to_three_days(services: Services) -> None:
    settings = Webhooks()
    endpoint_id, _ = subscribe(services, "https://hooks.example/")
    happen(services, "a")
    pauses = []
    for _ in range(10):
        (row,) = rows(services)
        with db.session(services) as s:
            assert deliveries.settle(s, row, Outcome(500, "no"), settings)
            assert not deliveries.settle(s, row, Outcome(200), settings), "an attempt is settled once"
        (after,) = rows(services)
        assert after.tried_at is not None
        pauses.append((after.due_at - after.tried_at).total_seconds())
    for planned, pause in zip(settings.retry_s, pauses, strict=False):
        assert planned <= pause <= planned * 1.1 + 0.001
    assert states(services) == ["dead"]
    assert 3 * 86_400 < sum(settings.retry_s) < 3.5 * 86_400


def answering(status: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return answer


def test_a_receiver_that_asks_for_a_pause_gets_it_for_everything(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    receiver.answers = [answering(429, Retry_After="3600")]
    happen(services, "a", "b")
    assert send(services) == 1
    (tried,) = [row for row in rows(services) if row.attempts]
    assert tried.error == "The endpoint answered 429 and asked to wait 3600 s." and tried.tried_at is not None
    assert 3599 < (tried.due_at - tried.tried_at).total_seconds() < 3601
    time.sleep(0.06)
    assert send(services) == 0, "the other one is due, and waits too"
    with db.session(services) as s:
        s.get_one(Endpoint, endpoint_id).quiet_until = db.now()
    assert send(services) == 1 and receiver.sequences == [1, 2]
    with db.session(services) as s:
        deliveries.resend(s, endpoint_id, tried.id)
    assert send(services) == 1 and states(services) == ["delivered"] * 2


@pytest.mark.parametrize(
    ("said", "seconds"),
    [("120", 120), ("0", 0), ("999999999", 86_400), ("Fri, 31 Dec 1999 23:59:59 GMT", 0), ("soon", None), ("-5", None),
     ("1e3", None), ("²", None), (None, None)],
)  # fmt: skip
def test_a_pause_is_seconds_or_a_date_and_never_more_than_a_day(said: str | None, seconds: float | None) -> None:
    assert courier._pause(said) == seconds
    ahead = courier._pause(format_datetime(db.now() + timedelta(seconds=300)))
    assert ahead is not None and 290 < ahead <= 300


def test_each_attempt_is_remembered_with_what_it_came_to(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    slow = answering(204)
    receiver.answers = [500, lambda handler: (time.sleep(0.2), slow(handler))[1]]
    happen(services, "a")
    wait_for(lambda: send(services) and states(services) == ["delivered"])
    (row,) = rows(services)
    with db.reading(services) as s:
        first, second = deliveries.attempts(s, [row.id])[row.id]
    assert (first.status, first.error, second.status, second.error) == (500, "The endpoint answered 500.", 204, None)
    assert second.took_ms >= 200 and first.tried_at < second.tried_at


def test_a_test_event_goes_to_one_endpoint_whatever_it_listens_to(services: Services, receiver: Receiver) -> None:
    tried, secret = subscribe(services, receiver.url, ["asset.deleted"])
    other, _ = subscribe(services, receiver.url)
    with db.session(services) as s:
        endpoints.ping(s, tried)
    relay.number_waiting(services)
    assert send(services) == 1
    (ping,) = receiver.received
    assert (ping.document["type"], ping.document["subject_id"], verified(ping, secret)) == ("webhook.ping", tried, True)
    with db.session(services) as s:
        endpoints.change(s, s.get_one(Endpoint, other), services.config.outbound, enabled=False)
    with pytest.raises(Conflict), db.session(services) as s:
        endpoints.ping(s, other)


def test_what_was_missed_is_replayed_and_what_was_sent_is_sent_again(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    happen(services, "a", "b")
    send(services)
    with db.session(services) as s:
        endpoints.change(s, s.get_one(Endpoint, endpoint_id), services.config.outbound, enabled=False)
    happen(services, "c", "d")
    with pytest.raises(Conflict), db.session(services) as s:
        deliveries.replay(s, endpoint_id, 0)
    with db.session(services) as s:
        endpoints.change(s, s.get_one(Endpoint, endpoint_id), services.config.outbound, enabled=True)
        assert deliveries.replay(s, endpoint_id, 1, limit=2) == (2, 3)
        assert deliveries.replay(s, endpoint_id, 3, limit=2) == (1, None)
    assert send(services) == 3 and receiver.sequences == [1, 2, 2, 3, 4]
    assert states(services) == ["delivered"] * 4


def test_days_without_success_disable_an_endpoint_and_say_why(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    with db.session(services) as s:
        s.get_one(Endpoint, endpoint_id).failing_since = db.database_now(-61)  # type: ignore[assignment]
    receiver.answers = [500]
    happen(services, "a", "b")
    send(services)
    assert endpoint(services, endpoint_id).disabled_reason == "failing"
    happen(services, "not planned")
    time.sleep(0.1)
    assert (send(services), states(services)) == (0, ["pending", "pending"])
    with db.session(services) as s:
        endpoints.change(s, s.get_one(Endpoint, endpoint_id), services.config.outbound, enabled=True)
    assert send(services) == 2 and receiver.sequences == [1, 1, 2]


def test_gone_disables_at_once_and_redirects_are_refused(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)
    receiver.answers = [302, 410]
    happen(services, "a", "b")
    send(services)
    assert "redirects are not followed" in str(rows(services)[0].error) + str(rows(services)[1].error)
    time.sleep(0.06)
    send(services)
    assert [one.path for one in receiver.received] == ["/hook?from=streamer"] * 2
    assert endpoint(services, endpoint_id).disabled_reason == "gone"
    assert (states(services), send(services)) == (["dead", "pending"], 0)


def test_while_a_secret_rotates_both_sign_and_then_only_the_new_one(services: Services, receiver: Receiver) -> None:
    endpoint_id, old = subscribe(services, receiver.url)
    with db.session(services) as s:
        new = endpoints.rotate(s, s.get_one(Endpoint, endpoint_id), services.secrets, 1000)
    happen(services, "a")
    send(services)
    with db.session(services) as s:
        s.get_one(Endpoint, endpoint_id).old_secret_until = db.now()
    happen(services, "b")
    send(services)
    assert [(verified(one, old), verified(one, new)) for one in receiver.received] == [(True, True), (False, True)]
    row = endpoint(services, endpoint_id)
    assert "whsec" not in row.secret and new not in row.secret


def test_nothing_goes_to_private_addresses_also_when_the_name_changes(services: Services, receiver: Receiver) -> None:
    endpoint_id, _ = subscribe(services, f"http://hooks.example:{receiver.port}/")
    strict = services.config.model_copy(update={"outbound": Outbound(allow_http=True)})
    object.__setattr__(services, "config", strict)
    addresses = [["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["169.254.169.254"]]
    happen(services, "a")
    courier = Courier(services, resolver=lambda host, port: addresses.pop(0))
    wait_for(lambda: send(services, courier) and states(services) == ["dead"])
    assert receiver.received == [] and addresses == []
    assert rows(services)[0].error == "Nothing was sent to this url: its address is not on the open internet."


def test_an_endpoint_that_hangs_costs_only_itself(services: Services, receiver: Receiver) -> None:
    over = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        over.wait(30)

    # Time enough for the others on a machine that is busy with other tests.
    patient = services.config.webhooks.model_copy(update={"timeout_s": 3.0})
    services = replace(services, config=services.config.model_copy(update={"webhooks": patient}))
    with Receiver(answers=[hang]) as slow:
        subscribe(services, slow.url)
        subscribe(services, receiver.url, ["asset.updated"])
        subscribe(services, receiver.url, ["asset.ready"])
        happen(services, "a", "b")
        courier, began = Courier(services), time.monotonic()
        with ThreadPoolExecutor(4) as pool:
            assert courier.send_due(pool) == 2
            wait_for(lambda: len(receiver.received) == 2 and len(slow.received) == 1)
            quick_s = time.monotonic() - began
            assert courier.send_due(pool) == 0, "the slow one is held"
            assert send(services) == 0, "also for another courier"
        over.set()
        assert receiver.sequences == [1, 2] and quick_s < 3
    assert states(services) == ["delivered", "delivered", "pending", "pending"]
    assert {one.error for one in rows(services)} == {None, "The endpoint did not answer in time."}


def test_a_deleted_endpoint_gets_nothing_more_not_even_what_is_under_way(
    services: Services, receiver: Receiver
) -> None:
    endpoint_id, _ = subscribe(services, receiver.url)

    def delete(handler: BaseHTTPRequestHandler) -> None:
        with db.session(services) as s:
            s.delete(s.get_one(Endpoint, endpoint_id))
        handler.send_response(500)
        handler.end_headers()

    receiver.answers = [delete]
    happen(services, "a", "b")
    assert send(services) == 1
    happen(services, "c")
    assert (rows(services), send(services), receiver.sequences) == ([], 0, [1])
