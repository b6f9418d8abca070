"""WCAG 2.2 contrast of the tokens, from the file the build reads: 4.5:1 for text, 3:1 for the outlines of controls."""

import re
from pathlib import Path

import pytest

from streamer.ui import assets

TOKENS = dict(
    (name, (light, dark))
    for name, light, dark in re.findall(
        r"--([a-z-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)",
        (Path(assets.__file__).parent / "src" / "tokens.css").read_text(),
    )
)
TEXT = [
    ("foreground", "background"),
    ("foreground", "layer"),
    ("foreground", "layer-hover"),
    ("foreground", "sunken"),
    ("muted-foreground", "background"),
    ("muted-foreground", "layer"),
    ("muted-foreground", "layer-hover"),
    ("primary", "background"),
    ("primary", "layer"),
    ("primary-foreground", "primary"),
    ("primary-foreground", "primary-hover"),
    ("primary-soft-foreground", "primary-soft"),
    ("working", "working-soft"),
    ("success", "success-soft"),
    ("danger", "danger-soft"),
    ("danger", "background"),
    ("danger", "layer"),
    ("danger-solid-foreground", "danger-solid"),
    ("background", "foreground"),
]
OUTLINES = [("line-strong", "layer"), ("line-strong", "background"), ("primary", "background"), ("working", "sunken")]


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize(
    ("above", "below", "least"), [*((*pair, 4.5) for pair in TEXT), *((*pair, 3.0) for pair in OUTLINES)]
)
def test_tokens_can_be_told_apart(theme: str, above: str, below: str, least: float) -> None:
    index = ["light", "dark"].index(theme)
    assert contrast(TOKENS[above][index], TOKENS[below][index]) >= least


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
