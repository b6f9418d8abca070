"""Words to find texts by, the same whatever database keeps them.

Each word is found by its beginnings ("wint" finds "Winter"), whatever its case and accents. Scripts without spaces between words are
found by any of their parts.
"""

import re
import unicodedata
from collections.abc import Iterator

_LONGEST = 16  # characters of a word that count
_PIECE = 3  # of a script without spaces
_WORDS = 8  # of a question; the longest say most
# Thai, Lao, Myanmar, Khmer, and Chinese and Japanese with all their extensions.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\uff66-\uff9f\U0001b000-\U0003ffff]"
)


def beginnings(text: str) -> list[str]:
    """All that this text is found by."""
    return sorted({beginning for word in _words(text) for beginning in _beginnings(word)})


def wanted(text: str) -> list[str]:
    """What must be found for a question, the most telling first."""
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
