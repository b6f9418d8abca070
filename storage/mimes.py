"""Media types by suffix, for backends and listings that keep no headers. Registered names as HLS asks (Apple A10.4)."""

from pathlib import PurePosixPath

_TYPES = {
    ".m3u8": "application/vnd.apple.mpegurl",
    ".m4s": "video/iso.segment",
    ".mp4": "video/mp4",
    ".m4a": "audio/mp4",
    ".ts": "video/mp2t",
    ".aac": "audio/aac",
    ".vtt": "text/vtt",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".json": "application/json",
}


def media_type(key: str) -> str:
    """The type a key's suffix tells (`.gz` set aside), else `application/octet-stream`."""
    return _TYPES.get(PurePosixPath(key.removesuffix(".gz")).suffix, "application/octet-stream")
