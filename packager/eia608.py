"""Closed captions of the EIA-608 kind (ANSI/CTA-608-E, 47 CFR 15.119) as cues: a decoder of what a television set would show.

The codes write on a screen of 15 rows by 32 columns, in three manners: a caption made unseen and then shown (pop-on), lines that push each other up
(roll-up), letters that appear one by one (paint-on). A cue is what stood on the screen between two moments at which it changed as a whole; single
letters don't make cues of their own. Colours and places are not kept. Anybody may have written these bytes: nothing in them is an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

ROWS, COLUMNS = 15, 32
Pair = tuple[float, bytes]
"""Seconds, and two bytes without parity."""
Cue = tuple[float, float, str]
Screen = dict[int, dict[int, str]]
"""Letters by row and column."""

_BASIC: Final = dict(zip(b"*\\^_`{|}~\x7f", "áéíóúç÷Ññ█", strict=True))
_SPECIAL: Final = "®°½¿™¢£♪à\N{NO-BREAK SPACE}èâêîôû"
_EXTENDED: Final = {
    0x12: "ÁÉÓÚÜü‘¡*’—©℠•“”ÀÂÇÈÊËëÎÏïÔÙùÛ«»",
    0x13: "ÃãÍÌìÒòÕõ{}\\^_|~ÄäÖöß¥¤│ÅåØø┌┐└┘",
}
_ROW_OF: Final = {0x10: 11, 0x11: 1, 0x12: 3, 0x13: 12, 0x14: 14, 0x15: 5, 0x16: 7, 0x17: 9}
_SECOND_CHANNEL: Final = 8
_RESUME, _BACKSPACE, _DELETE_ROW, _ROLL, _PAINT = 0x20, 0x21, 0x24, (0x25, 0x26, 0x27), 0x29
_TEXT, _ERASE, _RETURN, _ERASE_UNSEEN, _SHOW = (0x2A, 0x2B), 0x2C, 0x2D, 0x2E, 0x2F


def cues(pairs: Iterable[Pair], field: int, channel: int, end: float) -> Iterator[Cue]:
    """Cues of one channel (0 or 1) of a field's pairs, in order of time; what is still shown at the end is shown until `end`."""
    decoder = _Decoder()
    for seconds, pair in _addressed(pairs, field, channel):
        if cue := decoder.read(seconds, pair[0], pair[1]):
            yield cue
    if cue := decoder.cut(end):
        yield cue


def _addressed(pairs: Iterable[Pair], field: int, channel: int) -> Iterator[Pair]:
    """What is meant for a channel: a code says which, and letters follow the last code. Codes come twice, for safety."""
    ours, last = False, b""
    for seconds, pair in pairs:
        first = pair[0]
        if first < 0x10:  # field 2 carries programme data (XDS) between captions, until the next code
            ours = ours and not (field and first)
        elif first < 0x20:
            if pair == last:
                last = b""
                continue
            ours = bool(first & _SECOND_CHANNEL) == bool(channel)
        last = pair if 0x10 <= first < 0x20 else b""
        if ours:
            yield seconds, bytes((first & ~_SECOND_CHANNEL, pair[1])) if last else pair


class _Decoder:
    """One channel's screens. Each pair may end what was shown until then: that is the cue it gives."""

    def __init__(self) -> None:
        self._shown: Screen = {}
        self._unseen: Screen = {}
        self._since: float | None = None  # when the first letter of what is shown appeared
        self._row, self._column = ROWS, 0
        self._manner = 0  # the code that began it: 0 until there is one, and in text mode
        self._now = 0.0

    def read(self, now: float, first: int, second: int) -> Cue | None:
        self._now = now
        if not 0 < first < 0x20:
            self._letters(first, second)
        elif first >= 0x10 and second >= 0x40:
            return self._place(first, second)
        elif first in (0x14, 0x15) and second >= 0x20:
            return self._command(second)
        elif first >= 0x10:
            self._sign(first, second)
        return None

    def cut(self, now: float) -> Cue | None:
        """The cue that ends now; what stands on the screen goes on in the next."""
        since, text = self._since, self._text() if self._since is not None and now > self._since else ""
        self._since = now if any(self._shown.values()) else None
        return (since, now, text) if text and since is not None else None

    def _text(self) -> str:
        lines = (self._shown[row] for row in sorted(self._shown))
        spread = ("".join(line.get(at, " ") for at in range(max(line) + 1)) for line in lines if line)
        return "\n".join(text for line in spread if (text := " ".join(filter(None, line.split(" ")))))

    def _letters(self, *codes: int) -> None:
        for code in codes:
            if code >= 0x20:
                self._write(_BASIC.get(code) or chr(code))

    def _write(self, letter: str) -> None:
        if not self._manner:
            return
        screen = self._screen()
        screen.setdefault(self._row, {})[self._column] = letter
        self._column = min(self._column + 1, COLUMNS - 1)
        if screen is self._shown and self._since is None:
            self._since = self._now

    def _screen(self) -> Screen:
        return self._unseen if self._manner == _RESUME else self._shown

    def _sign(self, first: int, second: int) -> None:
        """Letters of the larger sets, a change of style in mid-row, which takes the room of a space, and steps to the right."""
        if first == 0x11 and second >= 0x30:
            self._write(_SPECIAL[second - 0x30])
        elif first == 0x11 and second >= 0x20:
            self._write(" ")
        elif first in _EXTENDED and second >= 0x20:
            self._back()  # for sets that don't know them, a plainer letter came first
            self._write(_EXTENDED[first][second - 0x20])
        elif first == 0x17 and 0x21 <= second <= 0x23:
            self._column = min(self._column + second - 0x20, COLUMNS - 1)

    def _back(self) -> None:
        self._column = max(0, self._column - 1)
        self._screen().get(self._row, {}).pop(self._column, None)

    def _place(self, first: int, second: int) -> Cue | None:
        """A preamble: the row to write in, and how far from its start."""
        row = _ROW_OF[first] + (1 if second & 0x20 and first != 0x10 else 0)
        cue = self.cut(self._now) if self._manner == _PAINT and row != self._row else None
        if self._manner in _ROLL and row != self._row:
            moved = {at + row - self._row: line for at, line in self._shown.items()}
            self._shown = {at: line for at, line in moved.items() if 1 <= at <= ROWS}
        self._row, self._column = row, (second & 0x0E) * 2 if second & 0x10 else 0
        return cue

    def _command(self, code: int) -> Cue | None:
        if code in (_RESUME, _PAINT, *_ROLL, *_TEXT):
            return self._turn(code)
        if code == _BACKSPACE:
            self._back()
        elif code == _DELETE_ROW:
            line = self._screen().get(self._row, {})
            self._screen()[self._row] = {at: letter for at, letter in line.items() if at < self._column}
        elif code == _ERASE_UNSEEN:
            self._unseen = {}
        elif code in (_ERASE, _SHOW) or (code == _RETURN and self._manner in _ROLL):
            return self._change(code)
        return None

    def _turn(self, code: int) -> Cue | None:
        """Another manner of writing. Rolling starts with an empty screen; a new caption that is painted is a new cue."""
        before, self._manner = self._manner, 0 if code in _TEXT else code
        if code in _ROLL and before not in _ROLL:
            self._row, self._column, self._unseen = ROWS, 0, {}
            return self._change(_ERASE)
        return self.cut(self._now) if code == _PAINT else None

    def _change(self, code: int) -> Cue | None:
        """The whole screen changes: a cue ends."""
        cue = self.cut(self._now)
        if code == _RETURN:
            self._roll()
        elif code == _SHOW:
            self._shown, self._unseen, self._manner = self._unseen, self._shown, _RESUME
        else:
            self._shown = {}
        self._since = self._now if any(self._shown.values()) else None
        return cue

    def _roll(self) -> None:
        """Up by a row; as many rows are seen as the manner says."""
        top = self._row - (self._manner - _ROLL[0] + 2) + 1
        self._shown = {row - 1: line for row, line in self._shown.items() if top < row <= self._row}
        self._column = 0
