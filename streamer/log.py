"""Logs: one JSON object per line, or coloured lines on a terminal, from structlog and from every library, on stderr.

A playback token opens a film to whoever reads it, so the last step before a line is written takes tokens out of it,
wherever they came in: a path, an exception, a library's message.
"""

import logging
import re
import sys
from typing import Any

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from streamer.config import Log

_CHATTY = ("alembic", "rq", "uvicorn")  # they tell each step at "info"
_TOKEN = re.compile(r"/p/[^/\s\"']*~[^/\s\"']*")


def setup(config: Log, process: str) -> None:
    """Send all logging of this process, called `process` in each line, to stderr."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )
    final = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _named(process), *_renderers(config)]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
    logging.basicConfig(handlers=[handler], level=config.level.upper(), force=True)
    logging.captureWarnings(True)
    for name in _CHATTY:
        logging.getLogger(name).setLevel("DEBUG" if config.level == "debug" else "WARNING")


def is_console(config: Log) -> bool:
    """Whether lines are for people."""
    return config.format == "console" or (config.format == "auto" and sys.stderr.isatty())


def redact(text: str) -> str:
    """The text without playback tokens."""
    return _TOKEN.sub("/p/[token]", text) if "~" in text else text


def _renderers(config: Log) -> list[Processor]:
    if is_console(config):
        # Plain tracebacks: the pretty ones show local variables, and so passwords.
        console = structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
        return [_redacting(console)]
    return [structlog.processors.format_exc_info, _redacting(structlog.processors.JSONRenderer())]


def _redacting(render: Processor) -> Processor:
    def rendered(logger: WrappedLogger, name: str, event: EventDict) -> str:
        return redact(str(render(logger, name, event)))

    return rendered


def _named(process: str) -> Processor:
    def add(logger: WrappedLogger, name: str, event: EventDict) -> dict[str, Any]:
        return {"process": process, **event}

    return add
