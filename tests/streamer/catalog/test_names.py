import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamer.catalog import names
from streamer.errors import Invalid


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("C:\\films\\a.mp4", "a.mp4"),
        ("a\r\nSet-Cookie: x\0.mp4", "a Set-Cookie: x .mp4"),
        ("gnp.\u202e4pm.mp4", "gnp. 4pm.mp4"),
        ("ｆilm.mp4", "ｆilm.mp4"),
        ("<img src=x onerror=alert(1)>.mp4", "<img src=x onerror=alert(1)>.mp4"),
        ("", ""),
        ("/", ""),
        ("\ud800.mp4", ".mp4"),
    ],
)
def test_file_names_lose_their_folders_and_what_cannot_be_seen(told: str, kept: str) -> None:
    assert names.file_name(told) == kept


def test_a_long_name_keeps_its_ending() -> None:
    name = names.file_name("x" * 5000 + ".mp4")
    assert len(name) == names.FILE_NAME_MAX and name.endswith(".mp4")


@pytest.mark.parametrize(
    ("name", "title"),
    [("my_holiday__2024.mp4", "my holiday 2024"), (".mp4", ".mp4"), ("", names.UNTITLED), ("_.mkv", names.UNTITLED)],
)
def test_a_title_is_made_of_the_file_name(name: str, title: str) -> None:
    assert names.title_of(name) == title


@given(st.text(max_size=400))
def test_any_text_becomes_a_name_and_a_title_that_fit_their_columns(text: str) -> None:
    name = names.file_name(text)
    assert len(name) <= names.FILE_NAME_MAX and "/" not in name and "\0" not in name
    assert names.file_name(name) == name
    assert 1 <= len(names.title_of(name)) <= names.TITLE_MAX
    name.encode()


@given(st.text(max_size=150))
def test_a_title_is_clean_or_refused(text: str) -> None:
    try:
        title = names.title(text)
    except Invalid:
        return
    assert title == names.title(title)
    assert any(c.isprintable() and not c.isspace() for c in title)
    assert all(c.isprintable() or c.isspace() or c in "\u200c\u200d" for c in title)
