"""Where a long command is, on one line of a terminal; nothing anywhere else."""

import sys
import time

_TELL_S = 0.5


class Where:
    """`tell` as often as you like; `clear` before printing anything that stays."""

    def __init__(self) -> None:
        self._told, self._shown = 0.0, False

    def tell(self, where: str) -> None:
        if sys.stderr.isatty() and time.monotonic() - self._told > _TELL_S:
            self._told, self._shown = time.monotonic(), True
            print(f"\r\x1b[K{where}", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
            self._shown = False
