"""The running product and a browser, for every test of the admin."""

from tests.house import browser, editor, film, house, short_film, visitor

__all__ = ["browser", "editor", "film", "house", "short_film", "visitor"]
