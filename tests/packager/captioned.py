"""Films whose pictures carry closed captions, written as a broadcaster's encoder would: a pair of bytes with each picture, mostly padding."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import av

from tests.packager import films
from tests.packager.films import Film

RESUME, ERASE, RETURN, ERASE_UNSEEN, SHOW = (0x14, 0x20), (0x14, 0x2C), (0x14, 0x2D), (0x14, 0x2E), (0x14, 0x2F)
ROLL_UP_2, PAINT = (0x14, 0x25), (0x14, 0x29)
ROW_14, ROW_15 = (0x14, 0x50), (0x14, 0x70)
PADDING = (0, 0)
OTHER_MESSAGE = (
    b"\x05\x14" + b"sixteen byte uuid" + b"keep"[:3]
)  # user data that nobody registered: no business of ours
Pair = tuple[int, int]
Extra = Callable[[int], bytes]


def letters(text: str) -> list[Pair]:
    """Two to a pair; a note is a code of its own."""
    found: list[Pair] = []
    for part in re.findall("♪|[^♪]+", text):
        codes = [0x5C if letter == "é" else ord(letter) for letter in part]
        codes += [0] * (len(codes) % 2)
        found += [(0x11, 0x37)] * 2 if part == "♪" else list(zip(codes[::2], codes[1::2], strict=True))
    return found


def twice(*codes: Pair) -> list[Pair]:
    """As they are sent, for safety."""
    return [code for code in codes for _ in range(2)]


def pop_on(*captions: tuple[int, int, str]) -> dict[int, Pair]:
    """Pairs by frame for captions of (first frame, frame after the last, text of one or two lines), made before they are shown."""
    made: dict[int, Pair] = {}
    for first, end, text in captions:
        lines = text.split("\n")
        rows = (ROW_15,) if len(lines) == 1 else (ROW_14, ROW_15)
        placed = [pair for row, line in zip(rows, lines, strict=True) for pair in [*twice(row), *letters(line)]]
        loading = [*twice(RESUME, ERASE_UNSEEN), *placed]
        made |= dict(enumerate(loading, first - len(loading)))
        made |= {first: SHOW, first + 1: SHOW, end: ERASE, end + 1: ERASE}
    return made


def odd(byte: int) -> int:
    """With the bit that makes the ones odd."""
    return byte | (0 if byte.bit_count() % 2 else 0x80)


def cc_data(pair: Pair = PADDING, field: int = 0) -> bytes:
    """What stands behind `GA94`: two fields, and CEA-708 padding."""
    ours, other = bytes(map(odd, pair)), b"\x80\x80"
    fields = (ours, other) if field == 0 else (other, ours)
    return b"\x03\x43\xff\xfc" + fields[0] + b"\xfd" + fields[1] + b"\xfa\x00\x00\xff"


def sei(data: bytes, header: bytes = b"\x06", other: bytes = OTHER_MESSAGE) -> bytes:
    """A NAL unit with captions and another message."""
    message = b"\xb5\x00\x31GA94" + data
    return header + b"\x04" + bytes([len(message)]) + message + other + b"\x80"


def film(
    path: Path, pairs: Mapping[int, Pair], made: Film, field: int = 0, data: Callable[[int], bytes] | None = None
) -> Path:
    """A film with the pairs in its pictures, in the order in which they are shown; `data` gives other bytes behind `GA94`."""
    plain = films.make(path.with_suffix(".plain.ts" if made.codec == "mpeg2video" else ".plain.mp4"), made)
    insert = {"libx264": _h264, "libx265": _hevc, "mpeg2video": _mpeg2}[made.codec]
    with av.open(str(plain)) as source, av.open(str(path), "w") as out:
        streams = {stream.index: out.add_stream_from_template(stream) for stream in source.streams}
        for stream in source.streams:
            streams[stream.index].metadata.update(stream.metadata)
        packets = [packet for packet in source.demux() if packet.size]
        times = sorted(p.pts for p in packets if p.stream.type == "video" and p.pts is not None)
        for packet in packets:
            stream = streams[packet.stream_index]
            if packet.stream.type == "video" and packet.pts is not None:
                number = times.index(packet.pts)
                said = data(number) if data else cc_data(pairs.get(number, PADDING), field)
                packet = _copy(packet, insert(bytes(packet), said))
            packet.stream = stream
            out.mux(packet)
    return path


def _copy(packet: av.Packet, data: bytes) -> av.Packet:  # type: ignore[type-arg]
    made = av.Packet(data)
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.time_base, made.is_keyframe = packet.time_base, packet.is_keyframe
    return made


def _h264(packet: bytes, data: bytes) -> bytes:
    unit = sei(data)
    return len(unit).to_bytes(4, "big") + unit + packet


def _hevc(packet: bytes, data: bytes) -> bytes:
    unit = sei(data, b"\x4e\x01")
    return len(unit).to_bytes(4, "big") + unit + packet


def _mpeg2(packet: bytes, data: bytes) -> bytes:
    """Before the first slice of the picture."""
    found = re.search(rb"\x00\x00\x01[\x01-\xaf]", packet)
    assert found
    return packet[: found.start()] + b"\x00\x00\x01\xb2GA94" + data + packet[found.start() :]


def texts(cues: Sequence[tuple[float, float, str]]) -> list[str]:
    return [text for _, _, text in cues]
