import threading

import redis

from streamer import rounds


def test_a_step_that_fails_stops_neither_the_others_nor_itself() -> None:
    stop, done = threading.Event(), []

    def away() -> None:
        done.append("away")
        raise redis.ConnectionError("away")

    def broken() -> None:
        done.append("broken")
        if len(done) > 5:
            stop.set()
        raise ZeroDivisionError

    rounds.until(stop, away=away, broken=broken)
    assert done == ["away", "broken"] * 3
