#!/usr/bin/env python
"""Make the demo film: a moving test picture whose every frame says which one it is, with a beep at each whole second.

For eyes: a large frame counter, a timecode, hills that glide and a line that fills once a second. For machines: a strip
of black and white blocks on top holds the frame number (see `read_frame_number`), and while the 60 ms beep
sounds the sun and a band at the bottom are white, so a picture that left its sound can be seen, heard and measured.
Drawing is plain bytes: rows are cut from ready ones and pasted into the planes of a frame, which is fast enough.
"""

import argparse
import math
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

BITS = 16
CELLS = BITS + 4  # white, black, the bits (most significant first), odd parity, white
STRIP = Fraction(1, 30)  # of the height, on top, where no player puts its controls
BAND = Fraction(1, 18)  # of the height, at the bottom
BEEP_S = Fraction(60, 1000)
BEEP_HZ = 1000
RATE = 48000

BLACK, WHITE = 16, 235
PANEL, INK = 30, 232
SUN = (206, 98, 150)
# Y, Cb, Cr of the sky from the top down to the horizon.
SKY = ((38, 148, 122), (62, 154, 132), (98, 140, 156), (150, 114, 158), (190, 96, 146))
# Hills from far to near: colour, height of the picture, speed in widths per second, roughness of the ground.
HILLS = (
    ((92, 142, 138), 0.30, 0.030, 5),
    ((66, 138, 124), 0.22, 0.060, 9),
    ((44, 132, 120), 0.14, 0.110, 13),
)
GROUND_ROWS = 64

Colour = tuple[int, int, int]

# Seven segments per digit: top, top right, bottom right, bottom, bottom left, top left, middle.
SEGMENTS = ("abcdef", "bc", "abged", "abgcd", "fgbc", "afgcd", "afgedc", "abc", "abcdefg", "abcdfg")


@dataclass(frozen=True)
class Picture:
    """A small opaque picture in luma, row by row, to be pasted at even places."""

    width: int
    rows: tuple[bytes, ...]


class Canvas:
    """The three planes of a yuv420p frame, open for pasting."""

    def __init__(self, frame: VideoFrame) -> None:
        self.width, self.height = frame.width, frame.height
        self._planes = [(memoryview(plane).cast("B"), plane.line_size) for plane in frame.planes]

    def run(self, y: int, start: int, end: int, colour: Colour) -> None:
        """Fill `[start, end)` of one row; chroma has half the columns and half the rows."""
        self.put(0, y, start, bytes((colour[0],)) * (end - start))
        self.tint(y, start, end, colour)

    def tint(self, y: int, start: int, end: int, colour: Colour) -> None:
        """The chroma of `run` alone."""
        if y % 2 == 0:
            for plane in (1, 2):
                self.put(plane, y // 2, start // 2, bytes((colour[plane],)) * (end // 2 - start // 2))

    def box(self, x: int, y: int, width: int, height: int, colour: Colour, radius: int = 0) -> None:
        for row in range(height):
            corner = radius - min(row + 0.5, height - row - 0.5)
            inset = round(radius - math.sqrt(radius * radius - corner * corner)) if corner > 0 else 0
            self.run(y + row, x + inset, x + width - inset, colour)

    def put(self, plane: int, y: int, x: int, values: bytes) -> None:
        view, stride = self._planes[plane]
        view[y * stride + x : y * stride + x + len(values)] = values

    def paste(self, picture: Picture, x: int, y: int) -> None:
        """Luma only: pictures stand on grey panels, whose chroma is already neutral."""
        luma, stride = self._planes[0]
        for row, line in enumerate(picture.rows, start=y):
            at = row * stride + x
            luma[at : at + picture.width] = line


class Sky:
    """A dusk that slowly sinks. Each row is one shade, dithered between two steps, since 8 bits show bands."""

    def __init__(self, width: int, height: int) -> None:
        self._spare = _even(height / 9)
        chance = random.Random(1)
        grain = [chance.random() for _ in range(2 * width)]
        starts = [chance.randrange(width) for _ in range(height + self._spare)]  # else the grain stands in columns
        self._rows = [
            _sky_row(width, y / (height * 0.75), grain[start : start + width]) for y, start in enumerate(starts)
        ]

    def draw(self, canvas: Canvas, seconds: float) -> None:
        first = _even(self._spare * (0.5 - 0.5 * math.cos(seconds / 4)))
        for y in range(canvas.height):
            for plane, values in enumerate(self._rows[first + y]):
                if plane == 0 or y % 2 == 0:
                    canvas.put(plane, y // 2 if plane else y, 0, values)


class Hills:
    """One range of hills: a periodic outline kept as the runs that each row crosses, over rough ground."""

    def __init__(self, width: int, height: int, colour: Colour, tall: float, speed: float, rough: int) -> None:
        self._colour, self._speed, self._period = colour, speed * width, 2 * width
        outline = [(1 - _outline(x / self._period, tall)) * height for x in range(self._period)]
        self._rows = {y: _runs([top < y for top in outline]) for y in range(_even(height / 3), height)}
        self._ground = _ground(self._period, colour[0], rough)

    def draw(self, canvas: Canvas, seconds: float) -> None:
        offset = int(seconds * self._speed) % self._period
        for y, runs in self._rows.items():
            ground = self._ground[y % GROUND_ROWS]
            for start, end in runs:
                for shift in (0, self._period):
                    left, right = max(start + shift - offset, 0), min(end + shift - offset, canvas.width)
                    if left < right:
                        at = (left + offset) % self._period
                        canvas.put(0, y, left, ground[at : at + right - left])
                        canvas.tint(y, left, right, self._colour)


class Film:
    """How each frame of one film is drawn; everything that does not change is made once."""

    def __init__(self, width: int, height: int, fps: Fraction) -> None:
        self.width, self.height, self.fps = width, height, fps
        self._strip = _even(height * STRIP)
        self._sky = Sky(width, height)
        self._hills = [Hills(width, height, *facts) for facts in HILLS]
        self._large = _digits(_even(height * 0.27))
        self._small = _digits(_even(height * 0.085))
        self._sun = _even(height * 0.09)

    def draw(self, frame: VideoFrame, number: int) -> None:
        seconds = number / self.fps
        canvas = Canvas(frame)
        flash = seconds % 1 < BEEP_S
        self._sky.draw(canvas, float(seconds))
        self._draw_sun(canvas, flash)
        for hills in self._hills:
            hills.draw(canvas, float(seconds))
        self._draw_panel(canvas, number, seconds)
        self._draw_strip(canvas, number)
        if flash:
            band = _even(self.height * BAND)
            canvas.box(0, self.height - band, self.width, band, (WHITE, 128, 128))

    def _draw_sun(self, canvas: Canvas, flash: bool) -> None:
        radius = self._sun
        x, y = _even(self.width * 0.86), _even(self.height * 0.26)
        for dy in range(-radius, radius):
            half = round(math.sqrt(radius * radius - (dy + 0.5) ** 2))
            canvas.run(y + dy, x - half, x + half, (WHITE, 128, 128) if flash else SUN)

    def _draw_panel(self, canvas: Canvas, number: int, seconds: Fraction) -> None:
        large, small = self._large[0], self._small[0]
        pad = _even(self.height * 0.045)
        width = 5 * large.width + 2 * pad
        height = len(large.rows) + len(small.rows) + 3 * pad
        x, y = _even((self.width - width) / 2), _even(self.height * 0.16)
        canvas.box(x, y, width, height, (PANEL, 128, 128), radius=pad // 2)
        self._write(canvas, self._large, f"{number:05d}", x + pad, y + pad)
        code = _timecode(number, seconds, self.fps)
        line = y + 2 * pad + len(large.rows)
        self._write(canvas, self._small, code, x + _even((width - self._length(code)) / 2), line)
        turn = _even((width - 2 * pad) * (seconds % 1))
        canvas.box(x + pad, y + height - pad // 2, turn, _even(self.height * 0.012), SUN)

    def _write(self, canvas: Canvas, digits: list[Picture], text: str, x: int, y: int) -> None:
        for letter in text:
            picture = digits[10 if letter == ":" else int(letter)]
            canvas.paste(picture, x, y)
            x += picture.width

    def _length(self, text: str) -> int:
        return sum(self._small[10 if letter == ":" else int(letter)].width for letter in text)

    def _draw_strip(self, canvas: Canvas, number: int) -> None:
        for cell, white in enumerate(_cells(number)):
            left, right = (_even(self.width * Fraction(edge, CELLS)) for edge in (cell, cell + 1))
            canvas.box(left, 0, right - left, self._strip, (WHITE if white else BLACK, 128, 128))


def read_frame_number(luma: bytes | memoryview, width: int, height: int, stride: int) -> int | None:
    """The number in the strip of a decoded picture of any size, None when the strip is not whole.

    `luma` is the Y plane, `stride` its bytes per row.
    """
    row = int(height * STRIP / 2) * stride
    cells = [luma[row + int((cell + 0.5) * width / CELLS)] > (BLACK + WHITE) // 2 for cell in range(CELLS)]
    number = sum(bit << shift for shift, bit in enumerate(reversed(cells[2 : 2 + BITS])))
    return number if cells == _cells(number) else None


def make(out: Path, seconds: int, width: int, height: int, fps: Fraction) -> None:
    """Write the film: H.264 and AAC in mp4, BT.709, ready for progressive reading."""
    with av.open(str(out), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "17"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        context = video.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = 1, 1, 1, 1
        audio = container.add_stream("aac", rate=RATE, layout="stereo", bit_rate=160_000)
        sound = _sound(seconds)
        for number, frame in enumerate(_pictures(seconds, width, height, fps)):
            container.mux(video.encode(frame))
            if number % round(fps) == 0:
                container.mux([packet for part in _take(sound, RATE) for packet in audio.encode(part)])
        container.mux([packet for part in sound for packet in audio.encode(part)])
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _pictures(seconds: int, width: int, height: int, fps: Fraction) -> Iterator[VideoFrame]:
    film = Film(width, height, fps)
    for number in range(round(seconds * fps)):
        frame = VideoFrame(width, height, "yuv420p")
        film.draw(frame, number)
        frame.pts, frame.time_base = number, 1 / fps
        yield frame


def _sound(seconds: int) -> Iterator[AudioFrame]:
    """One second, again and again: a soft chord of whole hertz, which joins without a click, and the beep."""
    second = b"".join(struct.pack("<hh", *_sample(n)) for n in range(RATE))
    step = RATE // 50
    for start in range(0, seconds * RATE, step):
        frame = AudioFrame("s16", "stereo", step)
        at = start % RATE * 4
        frame.planes[0].update(second[at : at + step * 4])
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        yield frame


def _sample(n: int) -> tuple[int, int]:
    t = n / RATE
    root, fifth, octave = (math.sin(2 * math.pi * hertz * t) for hertz in (110, 165, 220))
    beep = 0.5 * math.sin(2 * math.pi * BEEP_HZ * t) if t < BEEP_S else 0.0
    left, right = (0.05 * root + 0.03 * upper + beep for upper in (fifth, octave))
    return round(32767 * left), round(32767 * right)


def _take(frames: Iterator[AudioFrame], samples: int) -> Iterator[AudioFrame]:
    while samples > 0 and (frame := next(frames, None)):
        samples -= frame.samples
        yield frame


def _cells(number: int) -> list[bool]:
    bits = [bool(number >> shift & 1) for shift in reversed(range(BITS))]
    return [True, False, *bits, sum(bits) % 2 == 0, True]


def _timecode(number: int, seconds: Fraction, fps: Fraction) -> str:
    whole = int(seconds)
    within = number - math.ceil(whole * fps)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}:{within:02d}"


def _digits(height: int) -> list[Picture]:
    """Pictures of 0 to 9 and the colon, drawn as soft-edged bars on the panel's grey."""
    return [*(_digit(height, lit) for lit in SEGMENTS), _colon(height)]


def _digit(height: int, lit: str) -> Picture:
    width = _even(height * 0.64)
    thick = height * 0.062
    left, right, top, bottom = width * 0.2, width * 0.8, thick * 1.2, height - thick * 1.2
    middle = height / 2
    bars = {
        "a": (left, top, right, top),
        "b": (right, top, right, middle),
        "c": (right, middle, right, bottom),
        "d": (left, bottom, right, bottom),
        "e": (left, middle, left, bottom),
        "f": (left, top, left, middle),
        "g": (left, middle, right, middle),
    }
    if lit == "bc":  # a one on the right edge leaves a hole in the number
        bars |= {"b": (width / 2, top, width / 2, middle), "c": (width / 2, middle, width / 2, bottom)}
    return _render(width, height, thick, [bars[name] for name in lit])


def _colon(height: int) -> Picture:
    width = _even(height * 0.3)
    dots = [(width / 2, height * part, width / 2, height * part) for part in (0.32, 0.68)]
    return _render(width, height, height * 0.062, dots)


def _render(width: int, height: int, thick: float, bars: list[tuple[float, float, float, float]]) -> Picture:
    def ink(x: int, y: int) -> int:
        near = min(_distance(x + 0.5, y + 0.5, bar) for bar in bars)
        cover = min(max(thick - near + 0.5, 0.0), 1.0)
        return round(PANEL + (INK - PANEL) * cover)

    return Picture(width, tuple(bytes(ink(x, y) for x in range(width)) for y in range(height)))


def _distance(x: float, y: float, bar: tuple[float, float, float, float]) -> float:
    """To the nearest point of an upright or level line."""
    x0, y0, x1, y1 = bar
    return math.hypot(x - min(max(x, x0), x1), y - min(max(y, y0), y1))


def _outline(turn: float, tall: float) -> float:
    """Height of the hills, in heights of the picture, at a place of their period."""
    angle = 2 * math.pi * turn
    waves = math.sin(2 * angle + tall * 40) * 0.5 + math.sin(5 * angle + tall * 17) * 0.3 + math.sin(9 * angle) * 0.12
    return tall * (0.75 + 0.35 * waves)


def _sky_row(width: int, down: float, grain: list[float]) -> tuple[bytes, bytes, bytes]:
    shade = min(down, 0.999) * (len(SKY) - 1)
    above, below, part = SKY[int(shade)], SKY[int(shade) + 1], shade % 1
    exact = [upper + (lower - upper) * part for upper, lower in zip(above, below, strict=True)]
    y, cb, cr = (bytes(int(value + noise) for noise in grain) for value in exact)
    return y, cb[: width // 2], cr[: width // 2]


def _ground(period: int, luma: int, rough: int) -> list[bytes]:
    """Rows of streaky noise around one shade, each repeated once so that a cut may run over the end."""
    chance = random.Random(rough)
    rows = []
    for _ in range(GROUND_ROWS):
        value, row = 0.0, bytearray()
        for _ in range(period):
            value = 0.6 * value + chance.uniform(-rough, rough) * 0.8
            row.append(max(BLACK, round(luma + value)))
        rows.append(bytes(row) * 2)
    return rows


def _runs(inside: list[bool]) -> list[tuple[int, int]]:
    """The `[start, end)` of each stretch of True."""
    edges = [at for at in range(len(inside) + 1) if (at and inside[at - 1]) != (at < len(inside) and inside[at])]
    return list(zip(edges[::2], edges[1::2], strict=True))


def _even(value: float | Fraction) -> int:
    return int(value) // 2 * 2


def _size(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return _even(int(width)), _even(int(height))


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the demo film.")
    parser.add_argument("--seconds", type=int, default=12, help="length (default 12)")
    parser.add_argument("--size", type=_size, default=(1280, 720), help="picture size (default 1280x720)")
    parser.add_argument("--fps", type=Fraction, default=Fraction(30), help="frame rate, such as 25 or 30000/1001")
    parser.add_argument("--out", type=Path, default=Path("samples/sample.mp4"), help="file to write")
    options = parser.parse_args()
    width, height = options.size
    make(options.out, options.seconds, width, height, options.fps)
    print(f"{options.out}: {options.seconds} s, {width}x{height}, {options.out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
