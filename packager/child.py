"""The child process: the only place where FFmpeg meets bytes from strangers.

Started as `python -m packager.child PARENT` (its parent's process id) with a request as JSON on stdin. It locks itself down, runs one task and writes messages on stdout:
a JSON header line, then `size` bytes of payload. It never opens a socket, never starts a program and never writes a file.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
import threading
import time
import traceback
from typing import Any, BinaryIO

from packager import lockdown
from packager.errors import PackagerError

TASKS = ("probe", "glance", "chunk", "remux", "audio", "stills")
ALIVE_S = 1.0
LOADED = (
    "packager.plan",
    "packager.source",
)  # before there is a request: with FFmpeg they are most of what any task needs


class Emitter:
    """Writes whole messages from any thread; a full pipe blocks the writer, which is the backpressure."""

    def __init__(self, out: BinaryIO) -> None:
        self._out, self._lock = out, threading.Lock()
        self._alive = time.monotonic()

    def alive(self) -> None:
        """Say now and then that work goes on although there is nothing to show: reading a long file, decoding up to a chunk's start."""
        if time.monotonic() - self._alive > ALIVE_S:
            self._alive = time.monotonic()
            self("alive")

    def __call__(self, kind: str, payload: bytes = b"", **fields: Any) -> None:
        header = json.dumps({"kind": kind, "size": len(payload), **fields}, separators=(",", ":")).encode()
        with self._lock:
            self._out.write(header + b"\n")
            self._out.write(payload)
            self._out.flush()


def main() -> int:
    lockdown.die_with_parent(int(sys.argv[1]))
    gc.disable()  # no garbage in what is loaded
    for common in LOADED:
        importlib.import_module(common)
    gc.freeze()
    gc.enable()
    request = json.load(sys.stdin)
    emit = Emitter(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # a library that prints must not break the framing
    task = importlib.import_module(f"packager.{TASKS[TASKS.index(request['task'])]}")
    lockdown.enter(memory_bytes=request["memory_bytes"], cpu_s=request["cpu_s"])
    return _guarded(task.run, request, emit)


def _guarded(run: Any, request: dict[str, Any], emit: Emitter) -> int:
    try:
        run(request, emit)
    except PackagerError as error:
        emit("error", type=type(error).__name__, code=error.code, title=error.title, detail=error.detail)
    except MemoryError:
        emit("error", type="SourceRefused", code="too_much_memory", title="The file needs too much memory",
             detail="Decoding it would take more memory than one film is allowed.")  # fmt: skip
    except Exception:  # the parent turns the trace into one sentence and keeps the rest for the log
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    # os._exit: FFmpeg's own threads may still be alive after an error, and joining them could hang the exit.
    code = main()
    sys.stderr.flush()
    os._exit(code)
