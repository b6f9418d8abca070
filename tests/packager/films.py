"""Small films made for one test each, whose pictures and sound can be measured after the encode.

Every picture is a grid of 4 x 4 black and white cells: a fixed top row that tells turned or mirrored pictures, then the frame's number in twelve
bits. Big cells survive the smallest rung. Sound is silence with a beep of 1 kHz at each multiple of BEEP_EVERY_S, so sync errors can be measured.
"""

from __future__ import annotations

import io
import struct
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import m3u8
import numpy as np
from av.codec.context import Flags
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

from storage.base import ObjectStore

CELLS = 4
TOP = (1, 0, 1, 1)
BLACK, WHITE = 30, 220
BEEP_EVERY_S, BEEP_S, BEEP_HZ = Fraction(1, 2), Fraction(60, 1000), 1000
RATE = 48000
LUMA = NDArray[np.uint8]


@dataclass(frozen=True)
class Sound:
    """One audio track: silence with beeps. `start` is its first stamp, `seconds` its length; beeps count from the film's zero.

    `level` is the amplitude of beeps, in the middle third of the track `swell`.
    """

    seconds: float = 3.0
    start: float = 0.0
    layout: str = "stereo"
    codec: str = "aac"
    hertz: int = BEEP_HZ
    language: str = ""
    title: str = ""
    level: float = 0.5
    swell: float | None = None


@dataclass(frozen=True)
class Film:
    """What to make. Frame n is stamped `times[n]` (seconds) if given, else `start + n / rate`; `gop` in frames."""

    seconds: float = 3.0
    rate: Fraction = Fraction(30)
    size: tuple[int, int] = (160, 96)
    start: Fraction = Fraction(0)
    times: tuple[Fraction, ...] = ()
    ticks: int = 90000
    codec: str = "libx264"
    pixels: str = "yuv420p"
    gop: int = 30
    sar: Fraction = Fraction(1)
    rotation: int = 0
    interlaced: bool = False
    colour: tuple[int, int, int, int] | None = None
    paint: tuple[int, int, int] | None = None
    sounds: tuple[Sound, ...] = (Sound(),)
    options: dict[str, str] = field(default_factory=dict, hash=False)
    video: bool = True
    title: str = ""

    @property
    def stamps(self) -> tuple[Fraction, ...]:
        return self.times or tuple(self.start + n / self.rate for n in range(round(self.seconds * self.rate)))


PLAIN = Film()


def make(path: Path, film: Film = PLAIN, movflags: str = "") -> Path:
    """Write the film; the container follows the name."""
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as out:
        out.metadata.update({"title": film.title} if film.title else {})
        video = _video_stream(out, film) if film.video else None
        tracks = [(_audio_stream(out, sound), sound) for sound in film.sounds]
        parts = [_pictures(out, video, film)] if video else []
        parts += [_beeping(out, stream, sound) for stream, sound in tracks]
        _interleave(parts)
    if film.rotation:
        path.write_bytes(rotated(path.read_bytes(), film.rotation))
    return path


def join(path: Path, sources: Sequence[Path]) -> Path:
    """All tracks of several files side by side, packets as they are."""
    with av.open(str(path), "w") as out:
        opened = [av.open(str(source)) for source in sources]
        pairs = [(c, {s.index: out.add_stream_from_template(s) for s in c.streams}) for c in opened]
        packets = [(p, streams[p.stream_index]) for c, streams in pairs for p in c.demux() if p.dts is not None]
        for packet, stream in sorted(packets, key=lambda item: item[0].dts * item[0].time_base):
            packet.stream = stream
            out.mux(packet)
        for container in opened:
            container.close()
    return path


def subtitled(path: Path, cues: Sequence[tuple[float, float, str]], film: Film = PLAIN) -> Path:
    """A Matroska film with one SubRip track in Swedish. PyAV makes no subtitle packets, so the ffmpeg program joins them."""
    lines = [f"{n}\n{_srt(start)} --> {_srt(end)}\n{text}\n" for n, (start, end, text) in enumerate(cues, 1)]
    text, plain = path.with_suffix(".srt"), make(path.with_suffix(".plain.mkv"), film)
    text.write_text("\n".join(lines))
    command = [get_ffmpeg_exe(), "-v", "error", "-i", plain, "-i", text, "-map", "0", "-map", "1", "-c", "copy"]
    subprocess.run([*command, "-metadata:s:s:0", "language=swe", "-y", path], check=True, timeout=60)
    return path


def trimmed(path: Path, source: Path, start: float, seconds: float) -> Path:
    """Part of a film as telephones cut it: packets from the key frame before on, and an edit list that hides what comes before `start`."""
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-ss",
        str(start),
        "-t",
        str(seconds),
        "-i",
        source,
        "-c",
        "copy",
        "-y",
        path,
    ]
    subprocess.run(command, check=True, timeout=60)
    return path


def _srt(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{seconds % 60:06.3f}".replace(".", ",")


def _interleave(parts: Sequence[Iterator[float]]) -> None:
    """Advance the track that is furthest behind, so that no demuxer has to look far for the other's packets."""
    at = dict.fromkeys(parts, float("-inf"))
    while at:
        behind = min(at, key=lambda part: at[part])
        reached = next(behind, None)
        if reached is None:
            del at[behind]
        else:
            at[behind] = reached


def _video_stream(out: Any, film: Film) -> Any:
    stream = out.add_stream(film.codec, rate=film.rate, options=_options(film))
    stream.width, stream.height, stream.pix_fmt = *film.size, film.pixels
    steady = out.format.name == "avi" or film.codec == "mpeg2video"
    stream.time_base = stream.codec_context.time_base = 1 / film.rate if steady else Fraction(1, film.ticks)
    stream.codec_context.sample_aspect_ratio = film.sar
    stream.codec_context.gop_size = film.gop
    if film.interlaced:
        stream.codec_context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    if film.colour:
        context = stream.codec_context
        context.color_primaries, context.color_trc, context.colorspace, context.color_range = film.colour
    return stream


def _options(film: Film) -> dict[str, str]:
    if film.codec != "libx264":
        return dict(film.options)
    params = f"keyint={film.gop}:scenecut=0:threads=1" + (":tff=1" if film.interlaced else "")
    return {"preset": "ultrafast", "crf": "18", "bf": "2", "x264-params": params, **film.options}


def _audio_stream(out: Any, sound: Sound) -> Any:
    stream = out.add_stream(sound.codec, rate=RATE, layout=sound.layout)
    stream.metadata.update({k: v for k, v in (("language", sound.language), ("title", sound.title)) if v})
    return stream


def _pictures(out: Any, stream: Any, film: Film) -> Iterator[float]:
    for number, stamp in enumerate(film.stamps):
        frame = _frame(film, number)
        frame.time_base = stream.codec_context.time_base
        frame.pts = round(stamp / frame.time_base)
        out.mux(stream.encode(frame))
        yield float(stamp)
    out.mux(stream.encode(None))


def _frame(film: Film, number: int) -> av.VideoFrame:
    if film.paint:
        array = np.full((film.size[1], film.size[0], 3), film.paint, np.uint8)
        return painted(array, film)
    luma = _stored(film, number)
    planes = np.full((film.size[1] * 3 // 2 if _even(film) else film.size[1], film.size[0]), 128, np.uint8)
    planes[: film.size[1]] = luma
    if _even(film):
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        return frame if film.pixels == "yuv420p" else frame.reformat(format=film.pixels)
    return av.VideoFrame.from_ndarray(planes, format="gray8").reformat(format=film.pixels)


def _stored(film: Film, number: int) -> LUMA:
    """The picture as the file holds it: turned the other way when a matrix will turn it, two moments woven when interlaced."""
    if film.interlaced:
        woven = grid(2 * number, film.size)
        woven[1::2] = grid(2 * number + 1, film.size)[1::2]
        return woven
    upright = film.size if film.rotation in (0, 180) else (film.size[1], film.size[0])
    return np.rot90(grid(number, upright), film.rotation // 90)


def painted(array: Any, film: Film) -> av.VideoFrame:
    """One colour, given in RGB, converted as the film's own tags say."""
    frame = av.VideoFrame.from_ndarray(array, format="rgb24")
    if film.pixels in ("gbrp", "rgb24", "bgr0"):
        return frame.reformat(format=film.pixels)
    matrix, full = (film.colour[2], film.colour[3] == 2) if film.colour else (6, False)
    return frame.reformat(format=film.pixels, dst_colorspace=matrix, dst_color_range=2 if full else 1)


def _even(film: Film) -> bool:
    return not (film.size[0] % 2 or film.size[1] % 2)


def grid(number: int, size: tuple[int, int]) -> LUMA:
    """The luma plane of frame `number`."""
    bits = [int(number >> shift & 1) for shift in reversed(range(12))]
    cells = np.array([*TOP, *bits], np.uint8).reshape(CELLS, CELLS)
    width, height = size
    rows, columns = np.arange(height) * CELLS // height, np.arange(width) * CELLS // width
    return np.where(cells[rows][:, columns] == 1, np.uint8(WHITE), np.uint8(BLACK))


def number_of(luma: LUMA) -> int | None:
    """The number a picture shows, None if it is not upright or not one of ours."""
    height, width = luma.shape
    bits = []
    for cell in range(CELLS * CELLS):
        y, x = (2 * (cell // CELLS) + 1) * height // (2 * CELLS), (2 * (cell % CELLS) + 1) * width // (2 * CELLS)
        near = luma[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2]
        bits.append(int(near.mean() > (BLACK + WHITE) / 2))
    return int("".join(map(str, bits[CELLS:])), 2) if tuple(bits[:CELLS]) == TOP else None


def _beeping(out: Any, stream: Any, sound: Sound) -> Iterator[float]:
    channels = stream.codec_context.layout.nb_channels
    samples = np.arange(round(sound.seconds * RATE)) + round(sound.start * RATE)
    within = samples % round(BEEP_EVERY_S * RATE)
    wave = np.where(within < float(BEEP_S * RATE), np.sin(within * (2 * np.pi * sound.hertz / RATE)) * sound.level, 0)
    if sound.swell is not None:
        wave[len(wave) // 3 : 2 * len(wave) // 3] *= sound.swell / sound.level
    step = stream.codec_context.frame_size or 1024
    for at in range(0, len(samples), step):
        part = wave[at : at + step]
        samples_of_all = np.repeat(part.astype(np.float32), channels)[None]
        frame = av.AudioFrame.from_ndarray(samples_of_all, format="flt", layout=sound.layout)
        frame.sample_rate, frame.time_base = RATE, Fraction(1, RATE)
        frame.pts = int(samples[at])
        if stream.codec_context.format.name != "flt":
            frame = _converted(frame, stream.codec_context.format.name, sound.layout)
        out.mux(stream.encode(frame))
        yield float(samples[at]) / RATE
    out.mux(stream.encode(None))


def recording(path: Path, wave: NDArray[np.float32], layout: str = "stereo") -> Path:
    """Any wave, one row a channel, as a WAV file of float samples."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_f32le", rate=RATE, layout=layout)
        for at in range(0, wave.shape[1], RATE):
            interleaved = np.ascontiguousarray(wave[:, at : at + RATE].T, np.float32).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(interleaved, format="flt", layout=layout)
            frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), at
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def _converted(frame: av.AudioFrame, name: str, layout: str) -> av.AudioFrame:
    made = av.AudioResampler(format=name, layout=layout, rate=RATE).resample(frame)[0]
    made.pts, made.time_base = frame.pts, frame.time_base
    return made


MATRICES = {
    90: (0, 1, 0, -1, 0, 0),
    180: (-1, 0, 0, 0, -1, 0),
    270: (0, -1, 0, 1, 0, 0),
}


def rotated(data: bytes, clockwise: int) -> bytes:
    """The same mp4 with a display matrix in its first track header (ISO/IEC 14496-12 8.3.2, version 0)."""
    a, b, u, c, d, v = MATRICES[clockwise]
    at = data.index(b"tkhd") + 4 + 40
    matrix = struct.pack(">9i", a << 16, b << 16, u, c << 16, d << 16, v, 0, 0, 1 << 30)
    return data[:at] + matrix + data[at + 36 :]


# ---- reading what was made ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """One output frame: when it is shown (seconds), its luma plane, and the number in it."""

    time: float
    luma: LUMA
    number: int | None


def playlist(store: ObjectStore, key: str) -> Any:
    return m3u8.loads(store.read(key).decode())


def joined(store: ObjectStore, prefix: str, folder: str) -> bytes:
    """Init and all segments of a rendition in playlist order: one fragmented mp4."""
    media = playlist(store, f"{prefix}/{folder}/vod.m3u8")
    uris = [media.segment_map[0].uri, *(segment.uri for segment in media.segments)]
    return b"".join(store.read(f"{prefix}/{folder}/{uri}") for uri in uris)


def frames(store: ObjectStore, prefix: str, folder: str) -> list[Any]:
    """Decoded frames of a video rendition."""
    with av.open(io.BytesIO(joined(store, prefix, folder))) as container:
        return list(container.decode(video=0))


def shown(store: ObjectStore, prefix: str, folder: str) -> list[Shown]:
    return [Shown(float(f.pts * f.time_base), (y := plane(f)), number_of(y)) for f in frames(store, prefix, folder)]


def plane(frame: Any, index: int = 0) -> LUMA:
    """One plane of a planar 8-bit frame without its line padding."""
    part = frame.planes[index]
    rows: LUMA = np.frombuffer(part, np.uint8).reshape(part.height, part.line_size)[:, : part.width]
    return rows.copy()


LUMA_OF = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114)}


def rgb(frame: Any) -> tuple[float, float, float]:
    """The mean colour of a limited-range frame as its own matrix says (ITU-T H.273, equations 38 to 40)."""
    red, blue = LUMA_OF[frame.colorspace]
    y, u, v = (float(plane(frame, index).mean()) for index in range(3))
    light, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = light + 2 * (1 - red) * v, light + 2 * (1 - blue) * u
    return 255 * r, 255 * (light - red * r - blue * b) / (1 - red - blue), 255 * b


def samples(store: ObjectStore, prefix: str, folder: str) -> tuple[float, NDArray[np.float32]]:
    """(time of the first sample, samples of all channels) of an audio rendition at 48 kHz."""
    with av.open(io.BytesIO(joined(store, prefix, folder))) as container:
        decoded = list(container.decode(audio=0))
    assert all(frame.sample_rate == RATE for frame in decoded)
    return float(decoded[0].pts * decoded[0].time_base), np.concatenate([f.to_ndarray() for f in decoded], axis=1)


def onsets(start: float, wave: NDArray[np.float32], loud: float = 0.1) -> list[float]:
    """Seconds at which sound begins after at least 50 ms of quiet."""
    at = np.flatnonzero(np.abs(wave).max(axis=0) > loud)
    if not len(at):
        return []
    first = [at[0], *(b for a, b in zip(at, at[1:], strict=False) if b - a > RATE // 20)]
    return [start + float(sample) / RATE for sample in first]
