"""What a film is found by: the beginnings of its title's words, on both databases alike."""

from streamer import db, words
from streamer.accounts.logins import Principal
from streamer.accounts.roles import PERMISSIONS, Role
from streamer.catalog import assets
from tests.streamer.site_under_test import Site

ADMIN = Principal("usr_00000000000000000001", "a@example.org", "A", Role.ADMIN, PERMISSIONS[Role.ADMIN])
TITLES = (
    "Winter in Łódź",
    "The Winterreise, live",
    "Crème brûlée",
    "東京物語 (1953)",
    "Straße & ΣΊΣΥΦΟΣ",
    "ไปเที่ยว",
    "?!",
    "50% off_season",
)


FOUND = {
    "winter": {0, 1}, "WINTERR live": {1}, "live the": {1}, "inter": set(), "creme": {2}, "Brûl": {2},
    "京物": {3}, "東京物語": {3}, "東京語": set(), "東京 1953": {3}, "strasse": {4}, "σισυφος": {4}, "เที่ยว": {5},
    "?!": set(), "50%": {7}, "%": set(), "season": {7}, "  ": set(range(8)), "": set(range(8)), "\0": set(), "x" * 5000: set(),
    "winter winter in in lodz": set(), "winter łodz": {0}, "winter a b c d e f g h i j k": set(),
}  # fmt: skip


def test_words_are_found_by_their_beginnings(site: Site) -> None:
    owner = site.user("editor").id
    with db.session(site.services) as s:
        for title in TITLES:
            assets.create(s, owner, title)
    assert {text: titles(site, text) for text in FOUND} == {
        text: {TITLES[number] for number in numbers} for text, numbers in FOUND.items()
    }


def test_a_film_is_found_by_the_title_it_has_now(site: Site) -> None:
    owner = site.user("editor").id
    with db.session(site.services) as s:
        film = assets.create(s, owner, "Before")
    with db.session(site.services) as s:
        assets.change(s, s.merge(film), title="After")
    assert titles(site, "before") == set() and titles(site, "after") == {"After"}
    with db.session(site.services) as s:
        assets.delete(s, s.merge(film))
    assert titles(site, "after") == set()


def test_the_longest_title_of_any_script_is_found(site: Site) -> None:
    owner, title = site.user("editor").id, "".join(chr(0x4E00 + number) for number in range(200))
    with db.session(site.services) as s:
        assets.create(s, owner, title)
    assert titles(site, title) == {title} and len(words.beginnings(title)) == 597


def titles(site: Site, text: str) -> set[str]:
    query, column = assets.listed(ADMIN, text)
    with db.reading(site.services) as s:
        return {row.title for row in s.scalars(query.order_by(column.desc()).limit(51))}
