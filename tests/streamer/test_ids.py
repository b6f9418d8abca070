import re
import time

from streamer import ids


def test_an_id_is_its_prefix_and_twenty_characters() -> None:
    assert re.fullmatch(r"ast_[0-9a-z]{20}", ids.new("ast"))


def test_later_ids_sort_after_earlier_ones() -> None:
    first = ids.new("ast")
    time.sleep(0.002)
    assert first < ids.new("ast")


def test_ids_of_the_same_millisecond_differ() -> None:
    assert len({ids.new("ast") for _ in range(10_000)}) == 10_000
