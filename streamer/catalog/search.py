"""Films by words of their titles (`streamer.words`): a postings table that both databases read the same way, in the order of the list, so that a page of results
costs as much in a large library as in a small one. All inside the caller's transaction.

A database's own full-text index would return every film that matches before it sorts them, and the two databases would disagree on what a word is.
"""

from typing import Any

from sqlalchemy import Select, delete, false, insert, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from streamer import words
from streamer.catalog.tables import Asset, TitleWord


def index(s: Session, asset: Asset) -> None:
    """Let the film be found by the title and the owner it has now."""
    forget(s, asset.id)
    if rows := [
        {"word": word, "asset_id": asset.id, "owner_id": asset.owner_id} for word in words.beginnings(asset.title)
    ]:
        s.execute(insert(TitleWord), rows)


def forget(s: Session, asset_id: str) -> None:
    """Let nobody find it any more."""
    s.execute(delete(TitleWord).where(TitleWord.asset_id == asset_id))


def found(text: str, owner_id: str | None = None) -> tuple[Select[Asset], InstrumentedAttribute[str]]:
    """The films whose titles have all words of `text` (that are this owner's), and the column to order and page by. Deleted ones have no words."""
    wanted = words.wanted(text)
    if not wanted:
        return select(Asset).where(false()), Asset.id
    lead: Any = aliased(TitleWord)
    query = select(Asset).select_from(lead).where(lead.word == wanted[0])
    if owner_id is not None:
        query = query.where(lead.owner_id == owner_id)
    for word in wanted[1:]:
        other: Any = aliased(TitleWord)
        query = query.join(other, other.asset_id == lead.asset_id).where(other.word == word)
    # MariaDB would rather collect all films with a frequent word and sort them than stop at the first page's last.
    query = query.join(Asset, Asset.id == lead.asset_id).prefix_with("STRAIGHT_JOIN", dialect="mysql")
    return query, lead.asset_id
