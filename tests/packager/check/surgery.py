"""Ways to harm a package: its text, its boxes, its samples."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.padding import PKCS7

from packager.mp4_boxes import root as read_boxes
from packager.playlist import MediaRendition

MASTER = "master.m3u8"
V144 = "v144/vod.m3u8"
FRAMES = "v144/iframes.m3u8"
ENGLISH = "a-128-en/vod.m3u8"
TEXT = "t0/vod.m3u8"
KEY = bytes(range(16))

Break = Callable[[Path], None]


def edit(file: str, old: str, new: str, count: int = -1) -> Break:
    """Replace text that must be there."""

    def harm(root: Path) -> None:
        text = (root / file).read_text()
        assert old in text, (old, text)
        (root / file).write_text(text.replace(old, new, count))

    return harm


def drop(file: str, start: str) -> Break:
    """Remove every line that starts so."""

    def harm(root: Path) -> None:
        lines = (root / file).read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(start)]
        assert kept != lines
        (root / file).write_text("".join(kept))

    return harm


def both(*changes: Break) -> Break:
    def harm(root: Path) -> None:
        for change in changes:
            change(root)

    return harm


def patch(file: str, old: bytes, new: bytes) -> Break:
    """Replace bytes of a file by as many others."""

    def harm(root: Path) -> None:
        data = (root / file).read_bytes()
        assert old in data and len(old) == len(new)
        (root / file).write_bytes(data.replace(old, new))

    return harm


def remove(file: str) -> Break:
    return lambda root: (root / file).unlink()


def pad(folder: str, size: int, only: Sequence[int] = ()) -> Break:
    """Grow segments by a `free` box, which no player minds."""

    def harm(root: Path) -> None:
        for number, path in enumerate(sorted((root / folder).glob("*.m4s"))):
            if not only or number in only:
                path.write_bytes(path.read_bytes() + struct.pack(">I4s", size, b"free") + bytes(size - 8))

    return harm


def rebuild(data: bytes, path: str, change: Callable[[bytes], bytes], skip: int = 0) -> bytes:
    """The file with the content of the box at `path` changed and all sizes made right."""
    head, _, rest = path.partition("/")
    skips = {"stsd": 8, "avc1": 78}
    out = [data[:skip]]
    done = False
    for box in read_boxes(data[skip:]).children():
        payload = box.payload
        if box.kind == head and not done:
            payload = rebuild(payload, rest, change, skips.get(head, 0)) if rest else change(payload)
            done = True
        out.append(struct.pack(">I4s", 8 + len(payload), box.kind.encode()) + payload)
    assert done, head
    return b"".join(out)


def boxes(file: str, path: str, change: Callable[[bytes], bytes]) -> Break:
    def harm(root: Path) -> None:
        (root / file).write_bytes(rebuild((root / file).read_bytes(), path, change))

    return harm


def box(kind: str, payload: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(payload), kind.encode()) + payload


def encrypt(root: Path, folder: str, *, iv: bytes | None = None, above_map: bool = False) -> None:
    """AES-128 over a rendition: key file, EXT-X-KEY in both playlists, IV from the media sequence unless given."""
    (root / folder / "key").write_bytes(KEY)
    for number, path in enumerate(sorted((root / folder).glob("*.m4s"))):
        padding = PKCS7(128).padder()
        plain = padding.update(path.read_bytes()) + padding.finalize()
        writer = Cipher(algorithms.AES(KEY), modes.CBC(iv or number.to_bytes(16, "big"))).encryptor()
        path.write_bytes(writer.update(plain) + writer.finalize())
    tag = '#EXT-X-KEY:METHOD=AES-128,URI="key"' + (f",IV=0x{iv.hex()}" if iv else "")
    given = '#EXT-X-MAP:URI="init.mp4"'
    for name in ("vod.m3u8", "iframes.m3u8"):
        if (root / folder / name).exists():
            edit(f"{folder}/{name}", given, f"{tag}\n{given}" if above_map else f"{given}\n{tag}")(root)


def measured_again(rendition: MediaRendition, root: Path) -> MediaRendition:
    """The rendition with the sizes its files have now."""
    folder = root / rendition.folder
    entries = tuple(replace(entry, size=(folder / entry.uri).stat().st_size) for entry in rendition.segments)
    return replace(rendition, segments=entries)
