"""Films by words of their titles: a postings table that both databases read the same way, in the order of the list, so that a page of results
costs as much in a large library as in a small one. All inside the caller's transaction.

Each word is found by its beginnings ("wint" finds "Winter"), whatever its case and accents. Scripts without spaces between words are found by any of their parts.
A database's own full-text index would return every film that matches before it sorts them, and the two databases would disagree on what a word is.
"""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Select, delete, false, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from streamer.catalog.tables import Asset, TitleWord

_LONGEST = 16  # characters of a word that count
_PIECE = 3  # of a script without spaces
_WORDS = 8  # of a question; the longest say most
# Thai, Lao, Myanmar, Khmer, and Chinese and Japanese with all their extensions.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0003ffff]"
)


def index(s: Session, asset: Asset) -> None:
    """Let the film be found by the title and the owner it has now."""
    forget(s, asset.id)
    if rows := [{"word": word, "asset_id": asset.id, "owner_id": asset.owner_id} for word in beginnings(asset.title)]:
        s.execute(insert(TitleWord), rows)


def forget(s: Session, asset_id: str) -> None:
    """Let nobody find it any more."""
    s.execute(delete(TitleWord).where(TitleWord.asset_id == asset_id))


def beginnings(title: str) -> list[str]:
    """All that a film with this title is found by."""
    return sorted({beginning for word in _words(title) for beginning in _beginnings(word)})


def found(text: str, owner_id: str | None = None) -> tuple[Select[Asset], InstrumentedAttribute[str]]:
    """The films whose titles have all words of `text` (that are this owner's), and the column to order and page by. Deleted ones have no words."""
    wanted = _wanted(text)
    if not wanted:
        return select(Asset).where(false()), Asset.id
    lead: Any = aliased(TitleWord)
    query = select(Asset).join(lead, lead.asset_id == Asset.id).where(lead.word == wanted[0])
    if owner_id is not None:
        query = query.where(lead.owner_id == owner_id)
    for word in wanted[1:]:
        other: Any = aliased(TitleWord)
        query = query.join(other, other.asset_id == lead.asset_id).where(other.word == word)
    return query, lead.asset_id


def _wanted(text: str) -> list[str]:
    """What must be found, the most telling first."""
    parts = {part for word in _words(text) for part in _parts(word)}
    return sorted(parts, key=lambda part: (-len(part), part))[:_WORDS]


def _words(text: str) -> Iterator[str]:
    plain = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(character for character in plain if not unicodedata.combining(character))
    for run in re.findall(r"[^\W_]+", unicodedata.normalize("NFC", bare)):
        yield from _split(run)


def _split(run: str) -> Iterator[str]:
    """`Blade東京2049` is three words."""
    for unspaced, spaced in re.findall(f"({_UNSPACED.pattern}+)|([^{_UNSPACED.pattern[1:]}+)", run):
        yield unspaced or spaced


def _beginnings(word: str) -> Iterator[str]:
    if _UNSPACED.match(word):
        yield from (word[at : at + length] for at in range(len(word)) for length in range(1, _PIECE + 1))
    else:
        yield from (word[:length] for length in range(1, min(len(word), _LONGEST) + 1))


def _parts(word: str) -> Iterator[str]:
    if _UNSPACED.match(word):
        yield from (word[at : at + _PIECE] for at in range(max(1, len(word) - _PIECE + 1)))
    else:
        yield word[:_LONGEST]
