"""Real and hard films: the folder named by HARD_MEDIA, or `shared/media` beside the checkout. They are never part of the project."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from imageio_ffmpeg import get_ffmpeg_exe
from numpy.typing import NDArray

FOLDER = Path(os.environ.get("HARD_MEDIA") or Path(__file__).parents[3] / "shared" / "media")


def tonemapped(peak_nits: int) -> str:
    """The filters that make SDR of HDR as packager/tonemap.py means to.

    Hable's curve bends the largest channel, so the gamut is changed before it. `agamma=0`: else zscale puts a gamma of 1.2 on each channel of HLG
    instead of on its luminance, which is BT.2100's OOTF.
    """
    return (
        f"zscale=t=linear:npl=100:agamma=0,format=gbrpf32le,zscale=p=bt709,tonemap=hable:desat=0:peak={peak_nits / 100},"
        "zscale=t=bt709:m=bt709:p=bt709:r=tv:agamma=0,format=yuv420p"
    )


def luma(
    source: Path, stream: int, frames: Sequence[int], width: int, height: int, *, film: str = "", picture: str = ""
) -> list[NDArray[np.uint8]]:
    """What the ffmpeg program shows as these pictures of a film, turned as the file asks, at a size, as limited-range luma.

    The film is decoded once, up to the last of them. Filters of the `film` see every frame, those of the `picture`, which may be slow, only these.
    """
    once = sorted(set(frames))
    wanted = "+".join(f"eq(n\\,{frame})" for frame in once)
    chain = f"{film}select={wanted},{picture}scale={width}:{height}:flags=lanczos:out_range=tv,format=yuv420p"
    command = [
        get_ffmpeg_exe(), "-v", "error", "-i", str(source), "-map", f"0:{stream}", "-vf", chain, "-fps_mode", "passthrough",
        "-frames:v", str(len(once)), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-",
    ]  # fmt: skip
    raw = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    size = width * height + 2 * ((width + 1) // 2) * ((height + 1) // 2)
    at = {frame: size * place for place, frame in enumerate(once)}
    return [np.frombuffer(raw, np.uint8, width * height, at[frame]).reshape(height, width) for frame in frames]


def heard(source: Path, stream: int, channels: int) -> NDArray[np.float32]:
    """A track as the ffmpeg program decodes it: 48 kHz, one row a channel."""
    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-i",
        str(source),
        "-map",
        f"0:{stream}",
        "-ar",
        "48000",
        "-f",
        "f32le",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    return np.frombuffer(raw, np.float32).reshape(-1, channels).T


def ssim(one: NDArray[np.uint8], other: NDArray[np.uint8], block: int = 8) -> float:
    """Structural similarity (Wang et al. 2004) over blocks side by side, which is enough to tell a wrong frame, turn or tone from coding loss."""
    height, width = (side // block * block for side in one.shape)
    a, b = (
        image[:height, :width].astype(np.float64).reshape(height // block, block, width // block, block).swapaxes(1, 2)
        for image in (one, other)
    )
    mean_a, mean_b = a.mean((2, 3)), b.mean((2, 3))
    covariance = (a * b).mean((2, 3)) - mean_a * mean_b
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    light = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    texture = (2 * covariance + c2) / (a.var((2, 3)) + b.var((2, 3)) + c2)
    return float((light * texture).mean())
