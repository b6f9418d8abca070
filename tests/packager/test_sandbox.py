"""The parent's side: whatever a child does, the caller gets messages or one PackagerError, and no process is left."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO

import pytest

from packager import sandbox
from packager.errors import Cancelled, EncodeFailed, PackagerError, SourceRefused
from packager.sandbox import Limits, Message
from tests.packager import films
from tests.packager.processes import alive, children, wait_until

QUICK = Limits(stall_s=1.0)


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = children()
    yield
    wait_until(lambda: children() <= before, what="children to be gone")


def child_that(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a child in place that reads its request and then does what `script` says: the fault to be injected."""

    def start(stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        text = f"import os, signal, sys, time\nsys.stdin.read()\nout = sys.stdout.buffer\n{script}\nout.flush()"
        return subprocess.Popen(
            [sys.executable, "-c", text],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr, start_new_session=True,
        )  # fmt: skip

    monkeypatch.setattr(sandbox, "_start", start)


def heard(limits: Limits = QUICK) -> list[Message]:
    return list(sandbox.run("probe", {}, limits=limits))


def test_messages_arrive_whole_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that(
        """for n in range(3): out.write(b'{"kind": "segment", "size": 100000, "n": %d}\\n' % n + bytes([n]) * 100000)""",
        monkeypatch,
    )
    assert [(m.kind, m.fields, set(m.payload), len(m.payload)) for m in heard()] == [
        ("segment", {"n": n}, {n}, 100_000) for n in range(3)
    ]


def test_an_error_message_becomes_that_error(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that(
        """out.write(b'{"kind":"error","size":0,"type":"SourceRefused","code":"empty","title":"T","detail":"D"}\\n')""",
        monkeypatch,
    )
    with pytest.raises(SourceRefused) as caught:
        heard()
    assert (caught.value.code, caught.value.title, caught.value.detail) == ("empty", "T", "D")


NONSENSE = {
    "no JSON": "out.write(b'hello\\n')",
    "a list": "out.write(b'[1, 2]\\n')",
    "no kind": """out.write(b'{"size": 0}\\n')""",
    "a negative size": """out.write(b'{"kind": "x", "size": -1}\\n')""",
    "an endless size": """out.write(b'{"kind": "x", "size": 99999999999999}\\n')""",
    "a size in words": """out.write(b'{"kind": "x", "size": "ten"}\\n')""",
    "deep nesting": "out.write(b'[' * 100000 + b'\\n')",
    "an error without words": """out.write(b'{"kind": "error", "size": 0}\\n')""",
    "an error of an unknown kind": """out.write(b'{"kind": "error", "size": 0, "type": ["x"]}\\n')""",
}


@pytest.mark.parametrize("script", NONSENSE.values(), ids=NONSENSE.keys())
def test_a_child_that_sends_nonsense_costs_one_attempt(script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    child_that(script, monkeypatch)
    with pytest.raises(EncodeFailed):
        heard()


def test_a_header_without_end_is_cut_off_and_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_HEADER", 1 << 20)
    child_that("while True: out.write(b'x' * 65536)", monkeypatch)
    with pytest.raises(EncodeFailed, match="header"):
        heard(Limits(stall_s=30))


def test_a_crash_is_named_by_its_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("os.kill(os.getpid(), signal.SIGSEGV)", monkeypatch)
    with pytest.raises(EncodeFailed, match="Segmentation fault") as caught:
        heard()
    assert caught.value.code == "decoder_crashed" and caught.value.retryable


def test_a_real_time_signal_has_no_name_and_is_still_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("os.kill(os.getpid(), 40)", monkeypatch)
    with pytest.raises(EncodeFailed):
        heard()


def test_the_last_line_of_a_failure_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("raise RuntimeError('the reason')", monkeypatch)
    with pytest.raises(EncodeFailed, match="RuntimeError: the reason"):
        heard()


def test_a_locked_down_child_can_still_say_why_it_failed() -> None:
    """Its stderr is a file, and writing files is forbidden: but for this one."""
    with pytest.raises(EncodeFailed, match="KeyError: 'path'"):
        list(sandbox.run("probe", {}))


def test_dying_in_the_middle_of_a_message_gives_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("""out.write(b'{"kind": "x", "size": 10}\\nabc'); out.flush(); os._exit(7)""", monkeypatch)
    with pytest.raises(EncodeFailed):
        heard()


def test_a_child_that_stalls_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("time.sleep(60)", monkeypatch)
    with pytest.raises(EncodeFailed) as caught:
        heard()
    assert caught.value.code == "stalled"


def test_a_child_that_closes_its_output_and_hangs_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("os.close(1); time.sleep(60)", monkeypatch)
    with pytest.raises(EncodeFailed) as caught:
        heard()
    assert caught.value.code == "stalled"


def test_signs_of_life_hold_off_the_deadline_and_are_no_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that(
        """for _ in range(8): out.write(b'{"kind":"alive","size":0}\\n'); out.flush(); time.sleep(0.25)""", monkeypatch
    )
    assert heard() == []


def test_cancelling_ends_a_child_within_two_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("time.sleep(60)", monkeypatch)
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        list(sandbox.run("probe", {}, cancelled=asked.is_set))
    assert time.monotonic() - began < 2


def test_a_caller_that_loses_interest_ends_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that("""out.write(b'{"kind":"x","size":0}\\n'); out.flush(); time.sleep(60)""", monkeypatch)
    before = children()
    with closing(sandbox.run("probe", {})) as messages:
        next(messages)
        (child,) = children() - before
    assert not alive(child)


def test_what_a_child_started_ends_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    child_that(
        """import subprocess
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
out.write(b'{"kind":"x","size":0,"pid":%d}\\n' % other.pid); out.flush(); time.sleep(60)""",
        monkeypatch,
    )
    with closing(sandbox.run("probe", {})) as messages:
        other = next(messages).fields["pid"]
        assert alive(other)
    wait_until(lambda: not alive(other), what="the child's child to be gone")


def test_a_child_is_in_no_session_of_ours() -> None:
    with tempfile.TemporaryFile() as stderr, sandbox._start(stderr) as child:
        session = os.getsid(child.pid)
        child.kill()
    assert session == child.pid != os.getsid(0)


def test_a_child_dead_before_it_read_its_request_is_one_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(stderr: IO[bytes]) -> subprocess.Popen[bytes]:
        child = subprocess.Popen(
            [sys.executable, "-c", "raise SystemExit(3)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr
        )
        wait_until(lambda: not alive(child.pid))
        return child

    monkeypatch.setattr(sandbox, "_start", start)
    with pytest.raises(EncodeFailed):
        list(sandbox.run("probe", {"path": "x" * 1_000_000}))


def test_an_unknown_task_is_refused() -> None:
    with pytest.raises(PackagerError):
        list(sandbox.run("os", {}))


def test_a_child_out_of_memory_is_one_error(tmp_path: Path) -> None:
    source = films.make(tmp_path / "film.mp4")
    with pytest.raises(PackagerError):
        list(sandbox.run("probe", {"path": str(source)}, limits=Limits(memory_bytes=64 << 20)))


def test_the_child_sees_no_environment_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("http_proxy", "http://canary")
    with closing(sandbox.run("probe", {"path": "/dev/zero"})) as messages:
        before = children()
        caught: list[bytes] = []
        thread = threading.Thread(target=lambda: _drain(messages))
        thread.start()
        wait_until(lambda: children() - before)
        for pid in children() - before:
            wait_until(lambda pid=pid: b"packager.child" in Path(f"/proc/{pid}/cmdline").read_bytes() or not alive(pid))  # type: ignore[misc]
            caught.append(Path(f"/proc/{pid}/environ").read_bytes())
        thread.join()
    assert caught and b"canary" not in b"".join(caught)


def _drain(messages: Iterator[Message]) -> None:
    try:
        list(messages)
    except PackagerError:
        pass
