"""Who a request is from, and what they may do this way."""

from dataclasses import dataclass, field

from streamer.accounts.roles import Permission


@dataclass(frozen=True, slots=True)
class Principal:
    """The account behind a request and what it may do this way; `csrf_token` is for pages of a login session.

    `second_factor`: an identity provider has asked for one that counts.
    """

    user_id: str
    email: str
    name: str
    role: str
    permissions: frozenset[Permission]
    session_id: str | None = None
    key_id: str | None = None
    csrf_token: str | None = field(default=None, repr=False)
    narrowed: bool = False
    second_factor: bool = False

    def can(self, permission: Permission) -> bool:
        """Whether this permission was granted."""
        return permission in self.permissions

    @property
    def unrestricted(self) -> bool:
        """Whether this way in has all rights of the role; a key with narrower scopes has not."""
        return not self.narrowed
