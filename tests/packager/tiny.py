"""Tiny real packages: x264 and FFmpeg's AAC through PyAV, our boxes, our playlists; seconds of 160x90 instead of films."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
from av.codec.context import Flags
from av.packet import Packet

from packager.fmp4 import (
    AudioTrack,
    Colour,
    Sample,
    VideoTrack,
    avcc_from_annexb,
    codecs,
    fragment,
    init_segment,
    length_prefixed,
    segment,
)
from packager.index import IFrame, SegmentEntry
from packager.playlist import MediaRendition, event_playlist, iframe_playlist, media_playlist, multivariant

BT709 = Colour(1, 1, 1, False)
RATE = 48000
AAC_FRAME = 1024


def picture(width: int, height: int, number: int) -> av.VideoFrame:
    """A frame unlike its neighbours: a moving bar over a grey that walks with the frame number."""
    planes = np.full((height * 3 // 2, width), 128, np.uint8)
    planes[:height] = 40 + number * 3 % 160
    planes[:height, number * 5 % width :][:, :12] = 230
    frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    frame.pts = number
    return frame


@cache
def video(
    width: int = 160,
    height: int = 96,
    fps: Fraction = Fraction(30),
    frames: int = 360,
    options: tuple[tuple[str, str], ...] = (),
    times: tuple[int, ...] | None = None,
    timescale: int = 0,
) -> tuple[VideoTrack, tuple[Sample, ...]]:
    """Encode with B-frames and an IDR every round(2·fps) frames. `times` (PTS on `timescale`) make it a variable rate."""
    step = fps.denominator
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base, encoder.framerate = 1 / fps, fps
    encoder.color_primaries = encoder.color_trc = encoder.colorspace = encoder.color_range = 1
    encoder.flags |= Flags.global_header
    gop = round(2 * fps)
    params = f"keyint={gop}:min-keyint={gop}:scenecut=0:open-gop=0:bframes=3:threads=1"
    encoder.options = {
        "preset": "veryfast",
        "crf": "30",
        **dict(options),
        "x264-params": dict(options).get("x264-params", params),
    }
    packets: list[Packet[av.VideoStream]] = []
    for number in range(frames):
        packets += encoder.encode(picture(width, height, number))
    packets += encoder.encode(None)
    pts = times or tuple(number * step for number in range(frames))
    assert encoder.extradata
    shown = [packet.pts for packet in packets if packet.pts is not None]
    delay = max(pts[decode] - pts[number] for decode, number in enumerate(shown))
    track = VideoTrack(timescale or fps.numerator, width, height, avcc_from_annexb(encoder.extradata), BT709, delay)
    ends = (*pts[1:], pts[-1] + step)
    return track, tuple(
        Sample(length_prefixed(bytes(packet)), end - start, pts[number] - start + delay, packet.is_keyframe)
        for packet, number, start, end in zip(packets, shown, pts, ends, strict=True)
    )


@cache
def audio(
    seconds: float = 12,
    kbps: int = 128,
    channels: int = 2,
    language: str = "und",
    hertz: float = 440,
    priming: bool = False,
) -> tuple[AudioTrack, tuple[Sample, ...]]:
    """A sine as AAC, long enough to cover `seconds`; its priming packet is dropped, or kept as a careless packager would."""
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    encoder = av.CodecContext.create("aac", "w")
    assert isinstance(encoder, av.AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, layout, "fltp", kbps * 1000
    encoder.flags |= Flags.global_header
    count = -(-round(seconds * RATE) // AAC_FRAME)
    packets: list[Packet[av.AudioStream]] = []
    for number in range(count):
        at = np.arange(number * AAC_FRAME, (number + 1) * AAC_FRAME)
        wave = (np.sin(at * (2 * np.pi * hertz / RATE)) * 0.3).astype(np.float32)
        frame = av.AudioFrame.from_ndarray(np.tile(wave, (channels, 1)), format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, number * AAC_FRAME, Fraction(1, RATE)
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    assert encoder.extradata
    track = AudioTrack(RATE, channels, RATE, encoder.extradata, kbps * 1000, language)
    kept = [packet for packet in packets if priming or (packet.pts is not None and packet.pts >= 0)]
    return track, tuple(Sample(bytes(packet), AAC_FRAME) for packet in kept)


def gops(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples cut before every key frame."""
    groups: list[list[Sample]] = []
    for sample in samples:
        if sample.key or not groups:
            groups.append([])
        groups[-1].append(sample)
    return groups


def write_video(
    root: Path, folder: str, track: VideoTrack, samples: Sequence[Sample], fps: Fraction, per_segment: int = 3
) -> MediaRendition:
    """Each GOP a fragment, three to a segment."""
    writer = Writer(root / folder)
    groups = gops(samples)
    for at in range(0, len(groups), per_segment):
        writer.add(groups[at : at + per_segment])
    init = writer.put("init.mp4", init_segment(track))
    return MediaRendition(
        folder,
        "video",
        "init.mp4",
        track.timescale,
        tuple(writer.entries),
        codecs(init),
        track.width,
        track.height,
        fps,
    )


def write_audio(
    root: Path,
    folder: str,
    track: AudioTrack,
    samples: Sequence[Sample],
    group: str,
    name: str,
    language: str,
    default: bool,
    every: Fraction = Fraction(6),
) -> MediaRendition:
    """Cut at the frame boundary nearest to every 6 s, or whatever the video's segments last."""
    writer = Writer(root / folder)
    step = float(every * track.timescale / AAC_FRAME)
    count = max(1, round(len(samples) / step + 0.49))
    cuts = [*(round(number * step) for number in range(count)), len(samples)]
    for start, end in pairwise(cuts):
        writer.add([samples[start:end]])
    init = writer.put("init.mp4", init_segment(track))
    return MediaRendition(
        folder,
        "audio",
        "init.mp4",
        track.timescale,
        tuple(writer.entries),
        codecs(init),
        group=group,
        name=name,
        language=language,
        default=default,
        channels=track.channels,
    )


def write_text(root: Path, folder: str, seconds: float, language: str = "en") -> MediaRendition:
    """A cue a second, in segments of 6 s."""
    writer = Writer(root / folder)
    for number, start in enumerate(range(0, round(seconds), 6)):
        end = min(start + 6, round(seconds))
        cues = "".join(f"{_clock(at)} --> {_clock(at + 0.9)}\nsecond {at}\n\n" for at in range(start, end))
        text = f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n{cues}"
        data = writer.put(f"{number:06}.vtt", text.encode())
        writer.entries.append(
            SegmentEntry(f"{number:06}.vtt", number, start * 1000, (end - start) * 1000, len(data), "0" * 64)
        )
    return MediaRendition(folder, "text", "", 1000, tuple(writer.entries), "", language=language, name="English")


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 3600:02}:{int(seconds) // 60 % 60:02}:{seconds % 60:06.3f}"


@dataclass
class Writer:
    """Writes segments and remembers them as index entries."""

    root: Path

    def __post_init__(self) -> None:
        self.root.mkdir(parents=True, exist_ok=True)
        self.entries: list[SegmentEntry] = []
        self.time = self.sequence = 0

    def put(self, name: str, data: bytes) -> bytes:
        (self.root / name).write_bytes(data)
        return data

    def add(self, groups: Sequence[Sequence[Sample]]) -> None:
        start, starts, parts = self.time, [], []
        for group in groups:
            self.sequence += 1
            starts.append(self.time)
            parts.append(fragment(self.sequence, self.time, group))
            self.time += sum(sample.duration for sample in group)
        data, ranges = segment(parts)
        name = f"{len(self.entries):06}.m4s"
        frames = tuple(IFrame(*place, at) for place, at in zip(ranges, starts, strict=True))
        digest = hashlib.sha256(self.put(name, data)).hexdigest()
        self.entries.append(SegmentEntry(name, len(self.entries), start, self.time - start, len(data), digest, frames))


def write_playlists(
    root: Path,
    videos: Sequence[MediaRendition],
    audios: Sequence[MediaRendition] = (),
    texts: Sequence[MediaRendition] = (),
) -> Path:
    """Every playlist of a package, from its renditions; answers the entry playlist."""
    for rendition in (*videos, *audios, *texts):
        (root / rendition.folder / "vod.m3u8").write_text(media_playlist(rendition))
    for video_rendition in videos:
        (root / video_rendition.folder / "iframes.m3u8").write_text(iframe_playlist(video_rendition))
    (root / "master.m3u8").write_text(multivariant(videos, audios, texts))
    return root / "master.m3u8"


def write_stage(root: Path, made: Renditions, stage: str, segments: int) -> None:
    """Entry and media playlists of a film of which so many segments are there."""
    cut = [replace(one, segments=one.segments[:segments], stage=stage) for one in (*made.videos, *made.audios)]
    for rendition in cut:
        (root / rendition.uri).write_text(event_playlist(rendition, ended=False))
    videos, audios = ([one for one in cut if one.kind == kind] for kind in ("video", "audio"))
    (root / f"{stage}.m3u8").write_text(multivariant(videos, audios))


@dataclass(frozen=True)
class Renditions:
    """What a package is made of."""

    videos: list[MediaRendition]
    audios: list[MediaRendition]
    texts: list[MediaRendition]

    def write(self, root: Path) -> Path:
        return write_playlists(root, self.videos, self.audios, self.texts)


def renditions(root: Path, seconds: int = 12, fps: Fraction = Fraction(30), with_text: bool = True) -> Renditions:
    """Media of a whole film: two full-rate rungs and one at half rate, two languages in two audio groups, subtitles."""
    frames = round(seconds * fps)
    length, every = float(frames / fps), 3 * round(2 * fps) / fps
    videos = [
        write_video(root, f"v{height}", *video(width, height, fps / slower, -(-frames // slower)), fps / slower)
        for width, height, slower in ((160, 96, 2), (240, 144, 1), (320, 192, 1))
    ]
    audios = [
        write_audio(
            root, f"a-{kbps}-{code}", *audio(length, kbps, 2, code, hertz), f"a{kbps}", name, code, code == "en", every
        )
        for kbps in (128, 48)
        for code, name, hertz in (("en", "English", 440), ("sv", "Svenska", 330))
    ]
    texts = [write_text(root, "t0", length)] if with_text else []
    return Renditions(videos, audios, texts)


def package(root: Path, seconds: int = 12, fps: Fraction = Fraction(30), with_text: bool = True) -> Path:
    """The same with its playlists; answers the entry playlist."""
    return renditions(root, seconds, fps, with_text).write(root)
