"""For processes that have this folder on PYTHONPATH: the clock is as many seconds wrong as the file $WRONG_CLOCK says, from half a second after it says so.

The monotonic clock stays right, as it does on a machine whose clock somebody sets.
"""

import os
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

_LOOK_S = 0.5


def _follow(file: Path) -> None:
    import time_machine

    said, travel = 0, None
    while True:
        time.sleep(_LOOK_S)
        with suppress(OSError, ValueError):
            wanted = int(file.read_text())
            if wanted != said:
                if travel is not None:
                    travel.stop()
                travel = (
                    time_machine.travel(datetime.now(UTC) + timedelta(seconds=wanted), tick=True) if wanted else None
                )
                if travel is not None:
                    travel.start()
                said = wanted


if file := os.environ.get("WRONG_CLOCK"):
    threading.Thread(target=_follow, args=(Path(file),), name="wrong clock", daemon=True).start()
