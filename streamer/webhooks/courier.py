"""Sends what is due: endpoints side by side, the deliveries of one endpoint one after another in the order of their events.

Runs in every scheduler. A courier holds an endpoint by a lease in SQL, so that only one sends to it at a time; one that is killed between
the answer and its note sends again a minute later: at least once, and receivers know a repetition by `webhook-id`. An endpoint that hangs
costs a thread for `webhooks.timeout_s` and then waits for its next turn; the sweep and the other endpoints don't notice.
"""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from threading import Event as Flag

import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from streamer import db, ids, outbound, rounds
from streamer.events import outbox
from streamer.events.tables import Event
from streamer.outbound import Refused, Resolver
from streamer.sealing import Unreadable
from streamer.services import Services
from streamer.webhooks import deliveries, endpoints, signatures
from streamer.webhooks.deliveries import Outcome
from streamer.webhooks.tables import Delivery, Endpoint

THREADS = 16
LEASE_S = 60.0  # longer than any attempt: resolving a name has no timeout of ours
LONGEST_PAUSE_S = 24 * 3600.0  # that a receiver may ask for
_TURN = 50  # deliveries before others get the thread

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Errand:
    """One attempt to make: the rows as they were when it began."""

    endpoint: Endpoint
    delivery: Delivery
    event: Event


@dataclass
class Courier:
    """`busy` are the endpoints its threads are at."""

    services: Services
    resolver: Resolver = outbound.resolve
    stop: Flag = field(default_factory=Flag)
    name: str = field(default_factory=lambda: ids.new("cou"))
    busy: set[str] = field(default_factory=set)

    def send_due(self, pool: ThreadPoolExecutor) -> int:
        """Give each endpoint that something waits for a thread; to how many."""
        with db.reading(self.services) as s:
            waiting = [one for one in deliveries.due_endpoints(s) if one not in self.busy]
        for endpoint_id in waiting:
            self.busy.add(endpoint_id)
            pool.submit(self._served, endpoint_id)
        return len(waiting)

    def serve(self, endpoint_id: str) -> int:
        """Send what is due to one endpoint, until something fails; how many attempts that were."""
        sent, going = 0, True
        while going and sent < _TURN and not self.stop.is_set():
            errand = db.retrying(self.services, lambda s: self._next(s, endpoint_id))
            if errand is None:
                break
            going = self._delivered(errand)
            sent += 1
        db.retrying(self.services, lambda s: endpoints.release(s, endpoint_id, self.name))
        return sent

    def attempt(self, errand: Errand) -> Outcome:
        """One POST and what came of it."""
        try:
            return _judged(*self._post(errand))
        except Refused as refused:
            return Outcome(error=f"Nothing was sent to this url: {refused}.")
        except Unreadable:
            return Outcome(error="The server can't read the endpoint's secret any more; rotate it.")
        except TimeoutError:
            return Outcome(error="The endpoint did not answer in time.")
        except (OSError, http.client.HTTPException) as error:
            return Outcome(error=f"The endpoint can't be reached: {type(error).__name__}: {error}")

    def _served(self, endpoint_id: str) -> None:
        try:
            self.serve(endpoint_id)
        except SQLAlchemyError as error:
            log.warning("webhooks wait", endpoint=endpoint_id, error=str(error))
        except Exception:
            log.exception("webhooks wait", endpoint=endpoint_id)
        finally:
            self.busy.discard(endpoint_id)

    def _next(self, s: Session, endpoint_id: str) -> Errand | None:
        endpoint = endpoints.hold(s, endpoint_id, self.name, LEASE_S)
        due = deliveries.next_due(s, endpoint_id) if endpoint else None
        return Errand(endpoint, *due) if endpoint and due else None

    def _delivered(self, errand: Errand) -> bool:
        began = time.monotonic()
        outcome = self.attempt(errand)
        took_s, settings = time.monotonic() - began, self.services.config.webhooks
        db.retrying(self.services, lambda s: deliveries.settle(s, errand.delivery, outcome, settings, took_s))
        told = {"endpoint": errand.endpoint.id, "event_id": errand.event.id, "status": outcome.status}
        log.info("webhook sent", **told, attempt=errand.delivery.attempts + 1, error=outcome.error)
        return outcome.error is None

    def _post(self, errand: Errand) -> tuple[int, str | None]:
        """Status and Retry-After."""
        config = self.services.config
        body = json.dumps(outbox.document(errand.event), ensure_ascii=False).encode()
        keys = endpoints.keys(errand.endpoint, self.services.secrets)
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "streamer-webhooks/1",
            "Connection": "close",
            **signatures.headers(keys, errand.event.id, int(time.time()), body),
        }
        url, timeout_s = errand.endpoint.url, config.webhooks.timeout_s
        with outbound.connection(url, config.outbound, timeout_s=timeout_s, resolver=self.resolver) as client:
            client.request("POST", outbound.target(url), body, headers)
            with client.getresponse() as answer:
                retry_after = answer.getheader("Retry-After")
                return answer.status, retry_after  # the body is of no use, and might be without an end


def run(services: Services, stop: Flag) -> None:
    """Send until told to stop; attempts under way are finished first."""
    courier = Courier(services, stop=stop)
    with ThreadPoolExecutor(THREADS, "webhook") as pool:
        rounds.until(stop, send=lambda: courier.send_due(pool))
        pool.shutdown(cancel_futures=True)


def _judged(status: int, retry_after: str | None) -> Outcome:
    if 200 <= status < 300:
        return Outcome(status)
    if (wait_s := _pause(retry_after)) is not None:
        return Outcome(status, f"The endpoint answered {status} and asked to wait {wait_s:.0f} s.", wait_s)
    if 300 <= status < 400:
        return Outcome(status, f"The endpoint answered {status}; redirects are not followed, give its final url.")
    return Outcome(status, f"The endpoint answered {status}.")


def _pause(retry_after: str | None) -> float | None:
    """Seconds, of a number of them or a date (RFC 9110, 10.2.3), within a day; None for anything else."""
    if retry_after is None:
        return None
    if retry_after.strip().isascii() and retry_after.strip().isdigit():
        return min(float(retry_after), LONGEST_PAUSE_S)
    try:
        until = parsedate_to_datetime(retry_after)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(0.0, (aware - db.now()).total_seconds()), LONGEST_PAUSE_S)
