"""A look at a file that is still arriving: what is certain already to go wrong with it. Runs in the child.

A wrong warning is worse than none. So a verdict needs proof in the bytes that are here: a header that lists all tracks, a length that the
file can't reach, or the mark of something that is no film and that FFmpeg doesn't take for one either.
"""

from __future__ import annotations

import os
from itertools import islice
from typing import Any

from av.container import InputContainer
from av.stream import Disposition

from packager import beginnings
from packager.child import Emitter
from packager.errors import SourceRefused
from packager.source import open_source, packets

LISTED = {"mov", "matroska", "avi"}
"""Formats whose header names every track; in others, more may turn up later."""

Verdict = dict[str, str]


def run(request: dict[str, Any], emit: Emitter) -> None:
    emit("glance", verdict=glance(request["path"], request["size"]))


def glance(path: str, size: int | None) -> Verdict | None:
    """What will go wrong with the file at `path`, of which a beginning is there; `size` in bytes is what it will have, if that is known."""
    with open(path, "rb") as file:
        head, here = file.read(512), os.fstat(file.fileno()).st_size
        lost = beginnings.cut(file, here, size) if size is not None else None
    if lost is not None:
        return _cut_off(lost)
    try:
        with open_source(path) as container:
            return _tracks(container) if _is_past_its_header(container, path, here) else None
    except SourceRefused:  # an index at the end looks like this, too
        return _stranger(beginnings.stranger(head))


def _is_past_its_header(container: InputContainer, path: str, here: int) -> bool:
    """Media can be read, so what stands before it is all there."""
    with open(path, "rb") as file:
        if container.format.name.startswith("mov") and not beginnings.has_whole_index(file, here):
            return False
    return any(packet.size for packet in islice(packets(container), 1))


def _tracks(container: InputContainer) -> Verdict | None:
    if container.format.name.split(",")[0] not in LISTED:
        return None
    pictures = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
    if any(stream.codec_context for stream in pictures):
        return None
    sound = any(stream.codec_context for stream in container.streams.audio)
    return _unreadable(sound) if pictures else _no_picture(sound)


def _cut_off(lost: beginnings.Cut) -> Verdict:
    if lost.promised is None:
        detail = "It ends without the index that players need, as when a recording was interrupted. Choose a file that plays on your machine."
        return _verdict("no_index", "The film's index is missing", detail)
    detail = f"By its own account it has {lost.promised:,} bytes, and the file you send has {lost.size:,}. Copy it again from where it came from."
    return _verdict("cut_off", "The film is cut off", detail)


def _stranger(what: str | None) -> Verdict | None:
    if what is None:
        return None
    return _verdict("not_a_film", "This is not a film", f"It is {what}. Choose the film itself.")


def _unreadable(sound: bool) -> Verdict:
    rest = "only its sound can be published" if sound else "nothing of it can be published"
    detail = f"Its picture is in a format that can't be decoded here, so {rest}. Export it as H.264, HEVC or ProRes."
    return _verdict("unsupported_codec", "The picture can't be read", detail)


def _no_picture(sound: bool) -> Verdict:
    if sound:
        return _verdict("no_video", "There is no picture in it", "It has sound only, and will be published as sound.")
    return _verdict(
        "nothing_to_play", "There is nothing to play", "It has neither a picture nor sound that can be read."
    )


def _verdict(code: str, title: str, detail: str) -> Verdict:
    return {"code": code, "title": title, "detail": detail}
