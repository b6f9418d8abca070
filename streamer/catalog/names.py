"""Titles and file names from strangers: kept as text, never used as a path, cleaned of what only deceives the eye.

Markup is left alone; whoever shows a name escapes it.
"""

import re
import unicodedata
from pathlib import PurePosixPath

from streamer.errors import Invalid

TITLE_MAX = 200
FILE_NAME_MAX = 200
UNTITLED = "Untitled film"

# Controls, formats such as text direction, lone surrogates, private and unassigned code points, line ends.
_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
_JOINERS = "\u200c\u200d"  # invisible too, but Persian and emoji are spelt with them


def title(text: str, field: str = "title") -> str:
    """A title (or name) as it is stored, or Invalid when nothing is left of it or it is too long."""
    cleaned = _clean(text)
    if not cleaned:
        told = {"pointer": f"/{field}", "detail": "is empty"}
        raise Invalid(f"A {field} needs at least one visible character.", errors=[told])
    if len(cleaned) > TITLE_MAX:
        detail = f"has {len(cleaned)} characters, the limit is {TITLE_MAX}"
        raise Invalid(f"The {field} {detail}.", errors=[{"pointer": f"/{field}", "detail": detail}])
    return cleaned


def paragraphs(text: str) -> str:
    """A longer text as it is stored: its lines cleaned as titles are. It may be empty."""
    return "\n".join(_clean(line) for line in text.splitlines()).strip()


def file_name(text: str) -> str:
    """What the uploader's machine called the file: its last part, shortened in front of its ending."""
    name = _clean(re.split(r"[/\\]", text)[-1])
    ending = PurePosixPath(name).suffix[:16]
    return name if len(name) <= FILE_NAME_MAX else name[: FILE_NAME_MAX - len(ending)] + ending


def title_of(name: str) -> str:
    """A title for a film that came without one."""
    stem = PurePosixPath(name).stem if name not in ("", ".", "..") else ""
    return _clean(re.sub(r"[_\s]+", " ", stem))[:TITLE_MAX].strip() or UNTITLED


def _clean(text: str) -> str:
    """Composed, without what is hidden, spaces single; empty when nothing visible is left."""
    composed = unicodedata.normalize("NFC", text.encode("utf-8", "ignore").decode())
    shown = " ".join("".join(" " if _is_hidden(c) else c for c in composed).split())
    return shown if shown.strip(_JOINERS + " ") else ""


def _is_hidden(character: str) -> bool:
    return character not in _JOINERS and unicodedata.category(character) in _HIDDEN
