"""What every test may ask for, and the rule that none is skipped. The servers are real; see tests/servers.py."""

import os
import sys
from collections.abc import Generator

import pytest
import structlog

from tests.servers import (
    broom,
    chromium,
    ffmpeg,
    mariadb,
    mariadb_url,
    nginx,
    redis_url,
    s3_url,
    sample_film,
    seaweedfs,
    valkey,
)

# Containers often forbid Python to keep what it compiled; each of the hundreds of processes that tests start would compile all of us anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# As the product does: drawing one of the pretty tracebacks takes half a second.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)

__all__ = [
    "broom",
    "chromium",
    "ffmpeg",
    "mariadb",
    "mariadb_url",
    "nginx",
    "redis_url",
    "s3_url",
    "sample_film",
    "seaweedfs",
    "valkey",
]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A test that did not run proved nothing: count it as failed."""
    report = yield
    _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for whole modules (`importorskip`)."""
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.outcome == "skipped":
        report.outcome = "failed"
        report.longrepr = f"Tests are never skipped here; what is missing must be installed: {report.longrepr}"


# These take a minute or more each, most of it waiting for a film or a process; begun last, they would run alone.
FIRST = (
    "tests/faults/test_cycles.py",
    "streamer/site/test_growing.py",
    "streamer/jobs/test_worker.py",
    "streamer/test_supervisor.py",
    "streamer/ingest/test_transcode.py",
    "tests/test_kills.py",
    "tests/test_main_job.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The long files first (with `--no-loadscope-reorder`, which keeps this order among several workers)."""
    rank = {item.path: _rank(item.path.as_posix()) for item in items}
    items.sort(key=lambda item: rank[item.path])


def _rank(path: str) -> int:
    return next((place for place, end in enumerate(FIRST) if path.endswith(end)), len(FIRST))
