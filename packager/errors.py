"""One tree for everything that can go wrong with a film: a code for programs, a title and a sentence for people."""

from __future__ import annotations


class PackagerError(Exception):
    """Root. `retryable` says whether the same input could succeed later without anybody changing it."""

    retryable = False

    def __init__(self, code: str, title: str, detail: str) -> None:
        super().__init__(f"{title}: {detail}")
        self.code, self.title, self.detail = code, title, detail


class SourceRefused(PackagerError):
    """The source can't become a film; trying again won't help."""


class EncodeFailed(PackagerError):
    """Something broke on our side of the work; another attempt may succeed."""

    retryable = True


class Cancelled(PackagerError):
    """Somebody asked for the work to stop."""

    def __init__(self) -> None:
        super().__init__("cancelled", "Cancelled", "The encode was stopped on request.")


ERRORS: dict[str, type[PackagerError]] = {"SourceRefused": SourceRefused, "EncodeFailed": EncodeFailed}
