"""What a role may do: permissions are `resource:action`, a role is a set of them.

An owner may always see, change and delete their own assets; the `assets:*` permissions below are about everyone's.
"""

from enum import StrEnum


class Permission(StrEnum):
    """Every right there is. Endpoints ask for one with `logins.require(request, Permission.…)`."""

    ASSETS_READ = "assets:read"  # play and look up any asset, private ones too
    ASSETS_LIST = "assets:list"  # see everyone's assets in lists, in every state
    ASSETS_WRITE = "assets:write"  # change anyone's asset
    ASSETS_DELETE = "assets:delete"  # delete anyone's asset
    UPLOADS_CREATE = "uploads:create"  # upload, and so own assets
    JOBS_READ = "jobs:read"  # see everyone's jobs
    JOBS_WRITE = "jobs:write"  # cancel and retry anyone's jobs
    SESSIONS_READ = "playback-sessions:read"  # see who plays what
    SESSIONS_WRITE = "playback-sessions:write"  # end what anyone plays
    EVENTS_READ = "events:read"  # hear of everything that happens
    WEBHOOKS_READ = "webhooks:read"
    WEBHOOKS_WRITE = "webhooks:write"  # have it sent to any address
    USERS_READ = "users:read"
    USERS_WRITE = "users:write"


class Role(StrEnum):
    """The roles an account can have."""

    ADMIN = "admin"
    EDITOR = "editor"
    VIEWER = "viewer"


PERMISSIONS: dict[str, frozenset[Permission]] = {
    Role.ADMIN: frozenset(Permission),
    Role.EDITOR: frozenset(
        {
            Permission.ASSETS_READ,
            Permission.ASSETS_LIST,
            Permission.ASSETS_WRITE,
            Permission.ASSETS_DELETE,
            Permission.UPLOADS_CREATE,
            Permission.JOBS_READ,
            Permission.JOBS_WRITE,
        }
    ),
    Role.VIEWER: frozenset({Permission.ASSETS_READ}),
}


def permissions(role: str) -> frozenset[Permission]:
    """The rights of a role; none for a name that is not one."""
    return PERMISSIONS.get(role, frozenset())
