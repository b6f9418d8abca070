from datetime import UTC, datetime
from pathlib import Path

import pytest

from streamer.ui.pages import clock, day, human_bytes, templates


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, ""), (0.3, "0:01"), (59.6, "1:00"), (613, "10:13"), (3725.4, "1:02:05")]
)
def test_lengths_are_said_as_on_a_clock(seconds: float | None, said: str) -> None:
    assert clock(seconds) == said


@pytest.mark.parametrize(
    ("size", "said"), [(None, "unknown size"), (5, "5 B"), (1536, "2 kB"), (1_536_000, "1.5 MB"), (7.2e12, "7.2 TB")]
)
def test_sizes_are_said_as_in_a_file_manager(size: float | None, said: str) -> None:
    assert human_bytes(size) == said


def test_days_are_said_in_words() -> None:
    assert day(datetime(2026, 3, 5, 23, 59, tzinfo=UTC)) == "5 March 2026"
    assert day(None) == "never"


def test_text_is_escaped_and_a_missing_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<p>{{ title }}</p>")
    page = templates(tmp_path).env.get_template("page.html")
    assert page.render(title="<b>") == "<p>&lt;b&gt;</p>"
    with pytest.raises(Exception, match="'title' is undefined"):
        page.render()
