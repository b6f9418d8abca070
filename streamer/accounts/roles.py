"""What there is to be allowed, and the roles everybody starts with. Permissions are `scope:resource:action`, a role is a set of them.

The scope says whose things are meant: `own` are those of whoever acts, `any` everyone's, `site` the installation's. An owner may always see,
change and delete their own assets. Roles that administrators make themselves are rows, see `rolebook`.
"""

from collections.abc import Iterable
from enum import StrEnum


class Permission(StrEnum):
    """Every right there is. Endpoints ask for one with `logins.require(request, Permission.…)`; what nobody was given is denied.

    `Permission("users:read")`, a name from before there were scopes, is still understood.
    """

    ASSETS_READ = "any:assets:read"
    ASSETS_LIST = "any:assets:list"
    ASSETS_WRITE = "any:assets:write"
    ASSETS_DELETE = "any:assets:delete"
    UPLOADS_CREATE = "own:uploads:create"
    JOBS_READ = "any:jobs:read"
    JOBS_WRITE = "any:jobs:write"
    SESSIONS_READ = "any:playback-sessions:read"
    SESSIONS_WRITE = "any:playback-sessions:write"
    EVENTS_READ = "site:events:read"
    WEBHOOKS_READ = "site:webhooks:read"
    WEBHOOKS_WRITE = "site:webhooks:write"
    USERS_READ = "any:users:read"
    USERS_WRITE = "any:users:write"
    ROLES_READ = "site:roles:read"
    ROLES_WRITE = "site:roles:write"
    AUDIT_READ = "site:audit:read"
    PLANS_READ = "site:plans:read"
    PLANS_WRITE = "site:plans:write"

    @classmethod
    def _missing_(cls, value: object) -> "Permission | None":
        return next((one for one in cls if one.partition(":")[2] == value), None)


MEANING: dict[Permission, str] = {
    Permission.ASSETS_READ: "Look up and play anyone's films, private ones too",
    Permission.ASSETS_LIST: "See everyone's films in lists, in every state",
    Permission.ASSETS_WRITE: "Change anyone's films",
    Permission.ASSETS_DELETE: "Delete anyone's films",
    Permission.UPLOADS_CREATE: "Upload, and so own films",
    Permission.JOBS_READ: "See everyone's jobs, and the workers",
    Permission.JOBS_WRITE: "Cancel and retry anyone's jobs, pause workers",
    Permission.SESSIONS_READ: "See who plays what",
    Permission.SESSIONS_WRITE: "End what anyone plays",
    Permission.EVENTS_READ: "Read the events of all films",
    Permission.WEBHOOKS_READ: "See webhooks and what they sent",
    Permission.WEBHOOKS_WRITE: "Have events sent to any address",
    Permission.USERS_READ: "See people",
    Permission.USERS_WRITE: "Add people, change their role, shut them out",
    Permission.ROLES_READ: "See what each role may do",
    Permission.ROLES_WRITE: "Make and change roles",
    Permission.AUDIT_READ: "Read who changed what",
    Permission.PLANS_READ: "See plans, and who has which",
    Permission.PLANS_WRITE: "Make and change plans, and give them to people",
}
"""What pages and refusals say beside each permission."""


def in_words(permissions: Iterable[Permission]) -> str:
    """Permissions as refusals name them: what each means, and its name."""
    return ", ".join(f"“{MEANING[one]}” ({one})" for one in sorted(permissions))


class Role(StrEnum):
    """The roles that are always there and never change."""

    ADMIN = "admin"
    EDITOR = "editor"
    MODERATOR = "moderator"
    ANALYST = "analyst"
    BILLING = "billing"
    MEMBER = "member"
    VIEWER = "viewer"


_WATCHING = frozenset({Permission.ASSETS_READ})
_EDITING = frozenset(
    {
        Permission.ASSETS_READ,
        Permission.ASSETS_LIST,
        Permission.ASSETS_WRITE,
        Permission.ASSETS_DELETE,
        Permission.UPLOADS_CREATE,
        Permission.JOBS_READ,
        Permission.JOBS_WRITE,
    }
)

PERMISSIONS: dict[str, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.EDITOR: _EDITING,
    # Decides what may be seen, and ends what should not go on; deleting is for those who own films.
    Role.MODERATOR: _WATCHING
    | {
        Permission.ASSETS_LIST,
        Permission.ASSETS_WRITE,
        Permission.SESSIONS_READ,
        Permission.SESSIONS_WRITE,
        Permission.USERS_READ,
    },
    Role.ANALYST: _WATCHING
    | {Permission.ASSETS_LIST, Permission.JOBS_READ, Permission.SESSIONS_READ, Permission.EVENTS_READ},
    # Whose account it is, but none of the films.
    Role.BILLING: frozenset({Permission.USERS_READ, Permission.PLANS_READ, Permission.PLANS_WRITE}),
    Role.MEMBER: _WATCHING | {Permission.UPLOADS_CREATE},
    Role.VIEWER: _WATCHING,
}


def understood(names: list[str]) -> frozenset[Permission]:
    """The permissions among stored names. One that this version does not know allows nothing."""
    known = set()
    for name in names:
        try:
            known.add(Permission(name))
        except ValueError:
            continue
    return frozenset(known)
