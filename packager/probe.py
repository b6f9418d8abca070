"""Facts of a source and the packet index of its best video track. Runs in the child.

Cost: MP4 and MOV say where every packet is, so little more than their index is read; any other file is read once from end to end without
decoding (a truncated one shows here, not half way through an encode). One frame of the chosen track and of each audio track is decoded.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from fractions import Fraction
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.sidedata.sidedata import Type
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from packager import closed, languages, mp4_index
from packager.child import Emitter
from packager.errors import SourceRefused
from packager.facts import AudioFacts, Colour, SourceFacts, TextFacts, VideoFacts
from packager.source import MAX_STREAMS, decoded, open_source, packets, prepare_decoder
from packager.tracks import MAX_CUE_TEXT, MAX_CUES, TEXT_CODECS, Track, demuxed

MAX_DURATION_S = 24 * 3600
MAX_CHAPTERS = 1000
LOOK_AT = 200  # packets of a track without one that decodes: the track is taken for undecodable
SHORTFALL = Fraction(5, 100)
UNKNOWN_SIZE = 0xFFFFFFFF  # what programs write that stream a RIFF file without knowing its end
NOTED_S = Fraction(1, 5)  # a smaller shortfall is what containers round


def run(request: dict[str, Any], emit: Emitter) -> None:
    facts = probe(request["path"], emit.alive)
    emit("facts", facts=_plain(facts))


def _plain(value: Any) -> Any:
    """JSON has no fractions: they travel as "n/d". Tuples of whole numbers, which may be very long, go as they are."""
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return value if value and isinstance(value[0], int) else [_plain(item) for item in value]
    return f"{value.numerator}/{value.denominator}" if isinstance(value, Fraction) else value


def probe(path: str, alive: Callable[[], None] = lambda: None) -> SourceFacts:
    """Read everything a plan needs. Raises SourceRefused when there is nothing to publish or the file is cut off."""
    if os.path.getsize(path) == 0:
        raise SourceRefused(
            "empty", "The file is empty", "It has no bytes. Choose the film again and upload it once more."
        )
    notes: list[str] = []
    with open_source(path) as container:
        _refuse_bombs(container)
        tracks = _tracks(container, path, alive)
        _refuse_truncated(container, tracks, notes)
        _refuse_cut_riff(path, notes)
        _note_jumps(container, tracks, notes)
        audio = tuple(a for s in container.streams.audio if (a := _audio(path, s, tracks, notes)))
        text = tuple(t for s in container.streams.subtitles if (t := _text(s, tracks.get(s.index), notes)))
        video = _best_video(path, container, tracks, notes)
        facts = SourceFacts(
            container=container.format.name,
            duration=(container.duration or 0) / 1_000_000,
            audio=audio,
            text=(*text, *_closed(video, tracks, audio, text, notes)),
            video=video,
            cover=next((s.index for s in container.streams.video if s.disposition & Disposition.attached_pic), None),
            chapters=_chapters(container),
            notes=tuple(notes),
        )
    _refuse_unplayable(facts)
    return facts


def _tracks(container: InputContainer, path: str, alive: Callable[[], None]) -> dict[int, Track]:
    indexed = mp4_index.read(path, alive) if "mp4" in container.format.name.split(",") else None
    return indexed or demuxed(container, alive)


def _refuse_unplayable(facts: SourceFacts) -> None:
    if not facts.video and not facts.audio:
        why = " ".join(facts.notes) or "The file has neither a picture nor sound."
        raise SourceRefused("nothing_to_play", "There is nothing to play", why)
    if facts.end - facts.start > MAX_DURATION_S:
        raise SourceRefused("too_long", "The film is too long", "Its time stamps span more than 24 hours.")


def _chapters(container: InputContainer) -> tuple[tuple[float, float, str], ...]:
    return tuple(
        (float(c["start"] * c["time_base"]), float(c["end"] * c["time_base"]), str(c["metadata"].get("title", ""))[:200])
        for c in container.chapters()[:MAX_CHAPTERS]
        if c["time_base"]
    )  # fmt: skip


def _refuse_bombs(container: InputContainer) -> None:
    if len(container.streams) > MAX_STREAMS:
        raise SourceRefused(
            "too_many_streams",
            "The file has too many tracks",
            f"It has {len(container.streams)}; at most {MAX_STREAMS} are accepted.",
        )
    if (container.duration or 0) > MAX_DURATION_S * 1_000_000:
        raise SourceRefused("too_long", "The film is too long", "It claims to last more than 24 hours.")


def _refuse_truncated(container: InputContainer, tracks: dict[int, Track], notes: list[str]) -> None:
    """A file whose index promises more than its bytes hold was cut off; publishing half a film silently would be worse than refusing."""
    for stream in container.streams:
        if not isinstance(stream, VideoStream | AudioStream) or stream.disposition & Disposition.attached_pic:
            continue
        if stream.duration and stream.time_base:
            track = tracks.get(stream.index)
            shown = track.pts if track else []  # empty too where an edit list hides every frame
            found = max(shown) + track.last_duration - min(shown) if track and shown else 0
            _judge_length(stream.duration * stream.time_base, found * stream.time_base, notes)
    if container.format.name.startswith("matroska") and container.duration:  # it promises for the whole file only
        bases = {stream.index: Fraction(stream.time_base or 0) for stream in container.streams}
        ends = [(track.last + track.last_duration) * bases[index] for index, track in tracks.items()]
        _judge_length(Fraction(container.duration, 1_000_000), max(ends, default=Fraction(0)), notes)


def _refuse_cut_riff(path: str, notes: list[str]) -> None:
    """AVI and WAV: FFmpeg corrects their durations by the file's size, so the promise is only in the first eight bytes."""
    with open(path, "rb") as file:
        head = file.read(8)
    promised, found = int.from_bytes(head[4:], "little") + 8, os.path.getsize(path)
    if head[:4] != b"RIFF" or promised >= UNKNOWN_SIZE or found >= promised:
        return
    lost = f"Its header promises {promised} bytes but it ends after {found}."
    if promised - found > promised * SHORTFALL:
        raise SourceRefused("truncated", "The file is cut off", f"{lost} Upload the whole file again.")
    notes.append(f"The end of the file is missing. {lost}")


def _note_jumps(container: InputContainer, tracks: dict[int, Track], notes: list[str]) -> None:
    """Two recordings in one file may share their time stamps; what comes second is then hidden by what came first."""
    for stream in container.streams:
        if not isinstance(stream, VideoStream | AudioStream) or stream.index not in tracks or not stream.time_base:
            continue
        latest, jump = -(1 << 63), int(1 / stream.time_base)
        for stamp in tracks[stream.index].pts:
            if stamp < latest - jump:
                notes.append(
                    f"The times of track {stream.index} jump back by {float((latest - stamp) * stream.time_base):.1f} s; a part of it is lost."
                )
                break
            latest = max(latest, stamp)


def _judge_length(promised: Fraction, found: Fraction, notes: list[str]) -> None:
    lost = promised - found
    if lost > max(Fraction(1), promised * SHORTFALL):
        detail = f"Its index promises {float(promised):.1f} s but the data ends after {float(found):.1f} s. Upload the whole file again."
        raise SourceRefused("truncated", "The file is cut off", detail)
    if lost > NOTED_S:
        notes.append(f"The last {float(lost):.1f} s that the file's index promises are missing.")


def _best_video(path: str, container: InputContainer, tracks: dict[int, Track], notes: list[str]) -> VideoFacts | None:
    """The decodable track with the most pixels; the others are said to be left out."""
    pictures = [
        s for s in container.streams.video if not s.disposition & Disposition.attached_pic and s.index in tracks
    ]
    pictures.sort(key=lambda s: (-_pixels(s), s.index))
    for position, stream in enumerate(pictures):
        if facts := _video(path, stream, tracks[stream.index]):
            notes += [
                f"Video track {s.index} was left out: track {stream.index} is larger or comes first."
                for s in pictures[position + 1 :]
            ]
            return facts
        notes.append(f"Video track {stream.index} could not be decoded and was left out.")
    return None


def _pixels(stream: VideoStream) -> int:
    """0 for a codec that FFmpeg has no decoder for."""
    return stream.width * stream.height if stream.codec_context else 0


def _video(path: str, stream: VideoStream, track: Track) -> VideoFacts | None:
    frame = _first_frame(path, stream.index) if stream.codec_context and track.pts else None
    if frame is None or not stream.time_base:
        return None
    pts = sorted(set(track.pts))
    rate = Fraction(stream.guessed_rate or stream.average_rate or 25)
    return VideoFacts(
        index=stream.index,
        codec=stream.codec_context.name,
        width=frame.width,
        height=frame.height,
        sample_aspect=_aspect(stream),
        rotation=_turn(frame.rotation),
        pixel_format=frame.format.name,
        interlaced=frame.interlaced_frame,
        colour=Colour(
            frame.color_primaries,
            frame.color_trc,
            frame.colorspace,
            frame.color_range == 2 or frame.format.name.startswith("yuvj"),
        ),
        rate=rate,
        time_base=Fraction(stream.time_base),
        pts=tuple(pts),
        key_pts=tuple(sorted(set(track.keys))),
        last_duration=track.last_duration or max(1, round(1 / rate / stream.time_base)),
        peak_nits=_peak_nits(frame),
        h264=track.gops.facts() if track.gops else None,
    )


def _peak_nits(frame: av.VideoFrame) -> float:
    """MaxCLL of the content light level (CTA-861.3), which FFmpeg hands over as its struct of two unsigned ints."""
    light: Any = frame.side_data.get(Type.CONTENT_LIGHT_LEVEL.name)
    return float(int.from_bytes(bytes(light)[:4], sys.byteorder)) if light else 0.0


def _turn(counterclockwise: int) -> int:
    """The nearest right angle, clockwise; FFmpeg's answer to a matrix that is no rotation at all is no angle."""
    return round(-counterclockwise / 90) * 90 % 360 if abs(counterclockwise) <= 360 else 0


def _aspect(stream: VideoStream) -> Fraction:
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    return aspect if Fraction(1, 8) <= aspect <= 8 else Fraction(1)


def _first_frame(path: str, index: int) -> av.VideoFrame | None:
    with open_source(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, VideoStream)
        prepare_decoder(stream, threads=1)
        frame: av.VideoFrame | None = _first(container, stream)
        return frame


def _first(container: InputContainer, stream: VideoStream | AudioStream) -> Any:
    """The first frame that decodes within LOOK_AT packets, else None. What an edit list hides has to be decoded too, but shows nothing."""
    looked = 0
    for packet in packets(container, stream):
        if frames := decoded(packet):
            return frames[0]
        looked += not packet.is_discard
        if looked > LOOK_AT:
            return None
    return None


def _audio(path: str, stream: AudioStream, tracks: dict[int, Track], notes: list[str]) -> AudioFacts | None:
    track, base = tracks.get(stream.index), Fraction(stream.time_base or 0)
    frame = _first_sound(path, stream.index) if stream.codec_context and track and track.pts and base else None
    if frame is None or track is None:
        notes.append(f"Audio track {stream.index} could not be decoded and was left out.")
        return None
    # An encoder's priming is in the packets but not in what is decoded from them.
    start = min(track.pts) if frame.pts is None else frame.pts
    return AudioFacts(
        index=stream.index,
        codec=stream.codec_context.name,
        channels=frame.layout.nb_channels,
        sample_rate=frame.sample_rate,
        language=languages.tag(stream.language),
        title=str(stream.metadata.get("title") or "")[:200],
        default=bool(stream.disposition & Disposition.default),
        start=start * base,
        end=max(start + 1, max(track.pts) + track.last_duration) * base,
    )


def _first_sound(path: str, index: int) -> Any:
    with open_source(path) as container:
        stream = container.streams[index]
        assert isinstance(stream, AudioStream)
        return _first(container, stream)


def _closed(
    video: VideoFacts | None,
    tracks: dict[int, Track],
    audio: tuple[AudioFacts, ...],
    text: tuple[TextFacts, ...],
    notes: list[str],
) -> tuple[TextFacts, ...]:
    """Closed captions in the picture that is published."""
    data = tracks[video.index].captions if video else None
    if not video or not data:
        return ()
    spoken = next((track.language for track in audio if track.default), audio[0].language if audio else "und")
    room = MAX_CUES - sum(len(t.cues) for t in text), MAX_CUE_TEXT - sum(len(cue[2]) for t in text for cue in t.cues)
    return closed.captions(data, video, spoken, room, notes)


def _text(stream: SubtitleStream, track: Track | None, notes: list[str]) -> TextFacts | None:
    name = stream.codec_context.name if stream.codec_context else "unknown"
    if name not in TEXT_CODECS:
        notes.append(f"Subtitle track {stream.index} ({name}) holds pictures or an unknown format and was left out.")
        return None
    cues = tuple(track.cues) if track else ()
    return (
        TextFacts(
            stream.index, name, languages.tag(stream.language), str(stream.metadata.get("title") or "")[:200], cues
        )
        if cues
        else None
    )
