"""What the packets of a file say, track by track, without decoding. Runs in the child."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.stream import Stream
from av.subtitles.stream import SubtitleStream

from packager.a53 import CODECS, GLANCE, HEAD, CaptionData
from packager.errors import SourceRefused
from packager.gops import Gops

MAX_PACKETS = 20_000_000
MAX_CUES, MAX_CUE_TEXT = 20_000, 4_000_000  # of the whole file; an opera's subtitles are 3,000 cues and 200 kB
TEXT_CODECS = {"mov_text", "subrip", "srt", "ass", "ssa", "webvtt", "text"}
NEVER = -(1 << 63)


class Track:
    """One stream in its own time base: `pts` and `keys` of packets that are shown, in decode order; sound may give its first and last alone."""

    def __init__(self, stream: Stream) -> None:
        context = stream.codec_context
        self.pts: list[int] = []
        self.keys: list[int] = []
        self.last, self.last_duration = NEVER, 0
        self.cues: list[tuple[float, float, str]] = []
        self.text = 0  # characters in them
        self.gops = Gops(context.extradata) if context and context.name == "h264" else None
        self.captions = CaptionData(context.name) if context and context.name in CODECS else None

    def reach(self, stamp: int, duration: int | None) -> None:
        """A packet shown at `stamp`: it may be the last."""
        if stamp > self.last:
            self.last, self.last_duration = stamp, duration or self.last_duration


def demuxed(container: InputContainer, alive: Callable[[], None], *streams: Stream) -> dict[int, Track]:
    """Read the file from where it is to its end, all of it or only the tracks of `streams`. Tracks without a packet are left out."""
    tracks: dict[int, Track] = {}
    count = 0
    try:
        for packet in container.demux(*streams):
            count += 1
            alive()
            if count > MAX_PACKETS:
                refuse_pieces()
            _note(tracks, packet)
    except av.error.FFmpegError as error:
        if not any(track.last > NEVER for track in tracks.values()):
            raise SourceRefused(
                "unreadable", "The file can't be read", f"Its data is damaged from the start ({error.strerror})."
            ) from error
    return {index: track for index, track in tracks.items() if track.last > NEVER}


def refuse_pieces() -> None:
    title, detail = "The file is cut into too many pieces", f"It has over {MAX_PACKETS} packets."
    raise SourceRefused("too_many_packets", title, detail)


def _note(tracks: dict[int, Track], packet: av.Packet[Any]) -> None:
    track = tracks.get(packet.stream_index)
    if track is None:
        track = tracks[packet.stream_index] = Track(packet.stream)
    stamp = packet.pts if packet.pts is not None else packet.dts
    shown = stamp is not None and not packet.is_discard and packet.size > 0
    if track.gops and packet.buffer_size:
        _weigh(track.gops, packet, stamp if shown else None)
    if stamp is None or not shown:
        return
    track.reach(stamp, packet.duration)
    if isinstance(packet.stream, SubtitleStream):
        _hear(tracks, track, packet)
        return
    if track.captions:
        near = HEAD if packet.is_keyframe or track.captions.present else GLANCE
        track.captions.look(stamp, bytes(memoryview(packet)[:near]))
    track.pts.append(stamp)
    if packet.is_keyframe:
        track.keys.append(stamp)


def _weigh(gops: Gops, packet: av.Packet[Any], stamp: int | None) -> None:
    if stamp is None or packet.pts is None or packet.is_corrupt:
        gops.whole = False
        return
    number = gops.add(stamp, packet.size)
    if packet.is_keyframe:
        gops.varies |= packet.has_sidedata("new_extradata")
        gops.key(number, bytes(packet))


def _hear(tracks: dict[int, Track], track: Track, packet: av.Packet[Any]) -> None:
    """Cues are kept in memory and repeated in each segment they touch, so how much of them there may be is bounded for the whole file."""
    context = packet.stream.codec_context
    if not context or context.name not in TEXT_CODECS or packet.pts is None or packet.time_base is None:
        return
    if sum(len(t.cues) for t in tracks.values()) >= MAX_CUES or sum(t.text for t in tracks.values()) >= MAX_CUE_TEXT:
        return
    start, text = float(packet.pts * packet.time_base), "\n".join(_dialogue(packet))
    if text:
        track.text += len(text)
        track.cues.append((start, start + float((packet.duration or 0) * packet.time_base), text))


def _dialogue(packet: av.Packet[Any]) -> list[str]:
    try:
        subtitles = packet.decode()
    except av.error.FFmpegError:
        return []
    return [line for s in subtitles if (line := bytes(getattr(s, "dialogue", b"")).decode("utf-8", "replace").strip())]
