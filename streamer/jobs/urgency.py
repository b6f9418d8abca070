"""How urgent a job is, as one number: its class, then the plan of whose it is, then how long the film is. Pure.

    URGENT               letters and deletions: moments of work that somebody waits for
    start(level)         what makes a film play at all, and imports
    rest(level, length)  all that comes after

So each film begins to play, whoever's it is, before anybody's is completed: a start is a small part of the work. Within a class the better plan comes
first, and within a plan short films. Who has waited for `jobs.patience_s` goes before the whole class (`late`), so plans and lengths only
decide who waits, never that somebody waits for ever.
"""

from enum import IntEnum

LEVELS = range(4)
"""What a plan may give; 0 is what there is without any."""
URGENT = 100
LATE_START, LATE_REST = 50, -50

_LEVEL, _REST = 10, -100


class Length(IntEnum):
    """Of a film."""

    SHORT = 0
    MIDDLE = 1
    LONG = 2


def start(level: int = 0) -> int:
    """The priority of a job that nothing has been done of."""
    return _LEVEL * level


def rest(level: int, length: Length) -> int:
    """Of what comes after the start."""
    return _REST + _LEVEL * level - length
