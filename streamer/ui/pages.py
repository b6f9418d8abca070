"""Jinja2 for both web apps: autoescaped, strict about missing names, with the design system's macros in reach.

A web app calls `templates(folder)` once; its own folder is searched first, then `streamer/ui/templates`.
"""

from datetime import UTC, datetime
from pathlib import Path

from jinja2 import ChoiceLoader, Environment, FileSystemLoader, StrictUndefined
from starlette.templating import Jinja2Templates

from streamer.ui.assets import asset

FOLDER = Path(__file__).parent / "templates"


def templates(folder: Path) -> Jinja2Templates:
    """Templates of one web app, over those of the design system."""
    loader = ChoiceLoader([FileSystemLoader(folder), FileSystemLoader(FOLDER)])
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.globals["asset"] = asset
    env.filters["bytes"] = human_bytes
    env.filters["clock"] = clock
    env.filters["day"] = day
    env.filters["moment"] = moment
    return Jinja2Templates(env=env)


def human_bytes(size: float | None) -> str:
    """1536000 -> "1.5 MB"; decimal units, as file managers show them."""
    if size is None:
        return "unknown size"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit in ("B", "kB") else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def clock(seconds: float | None) -> str:
    """3725.4 -> "1:02:05"; empty when the length is not known yet."""
    if seconds is None:
        return ""
    hours, rest = divmod(max(1, round(seconds)), 3600)  # half a second is not 0:00
    minutes, secs = divmod(rest, 60)
    return f"{hours}:{minutes:02}:{secs:02}" if hours else f"{minutes}:{secs:02}"


def moment(when: datetime) -> str:
    """A UTC time to the second, "22 Nov 2025, 14:03:09 UTC"; for what operators compare with logs."""
    return f"{when.astimezone(UTC):%-d %b %Y, %H:%M:%S} UTC"


def day(moment: datetime | None) -> str:
    """A UTC date in words, "22 November 2025"; "never" when there is none."""
    return f"{moment.astimezone(UTC):%-d %B %Y}" if moment else "never"
