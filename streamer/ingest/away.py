"""Files of this machine as films of a server elsewhere, by tus: the other half of `streamer import`.

What was sent where is remembered below the user's state folder, never beside the films, so the same command goes on in mid-file after an
interruption and sends nothing twice. What the server has as a film already is dropped there again.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamer.accounts.roles import Permission
from streamer.catalog.tables import Policy, Processing
from streamer.errors import Forbidden, Gone, Unavailable
from streamer.ingest import files
from streamer.ingest.files import Brought, Look
from streamer.ingest.known import KnownFiles
from streamer.ingest.sender import Lost, Refused, Server, patiently, send
from streamer.ingest.tables import UploadState

_SETTLED_S, _LOOK_S = 600.0, 1.0


@dataclass(frozen=True, slots=True)
class Away:
    """`known` has for each file the upload that was begun with it, and later the film."""

    server: Server
    known: KnownFiles
    policy: Policy
    title: str | None = None

    def bring_in(self, path: Path, look: Look) -> Brought:
        """Send the file if the server hasn't got it; Problem and OSError say why that can't be."""
        found = files.regular(path)
        known = self.known.get(path, found) or ""
        if known.startswith("ast_") and (film := self._film(known)) is not None:
            return film
        begun = known if known.startswith("upl_") else None
        said = {"filename": path.name, "policy": self.policy, "on_duplicate": "offer"}
        said |= {"title": self.title} if self.title else {}
        upload_id = send(self.server, path, said, begun, lambda id: self.known.put(path, found, id), look)
        film = self._became(upload_id)
        self.known.put(path, found, film.asset_id)
        return film

    def _film(self, asset_id: str) -> Brought | None:
        """What was sent earlier, unless it is gone there."""
        try:
            film = patiently(lambda: self.server.ask("GET", f"/assets/{asset_id}")).document
        except Gone:
            return None
        is_errored = film["processing"] == Processing.ERRORED
        return Brought(asset_id, film["title"], is_new=False, is_errored=is_errored)

    def _became(self, upload_id: str) -> Brought:
        """The film of it; the one that has the same bytes, if there is one."""
        upload = self._settled(upload_id)
        if upload["state"] == UploadState.FAILED:
            raise Refused((upload["error"] or {}).get("detail", ""))
        if upload["state"] == UploadState.RECEIVED:
            return Brought(upload["asset_id"], "", is_new=True)
        if (film := upload["duplicate_of"]) is None:  # it was deleted meanwhile
            made = patiently(lambda: self.server.ask("POST", f"/uploads/{upload_id}/keep")).document
            return Brought(made["asset"]["id"], made["asset"]["title"], is_new=True)
        patiently(lambda: self.server.ask("POST", f"/uploads/{upload_id}/discard"))
        return Brought(film["asset_id"], film["title"], is_new=False)

    def _settled(self, upload_id: str) -> Any:
        """The upload once it is more than bytes: a storage that is away may hold that up."""
        until = time.monotonic() + _SETTLED_S
        while True:
            upload = patiently(lambda: self.server.ask("GET", f"/uploads/{upload_id}")).document
            if upload["state"] != UploadState.RECEIVING:
                return upload
            if time.monotonic() > until:
                raise Unavailable("All of it was sent. The server makes it a film as soon as its storage takes it.")
            time.sleep(_LOOK_S)


def connect(url: str, key: str, policy: Policy, title: str | None = None) -> Away:
    """The server, if it answers and the key may upload there."""
    server = Server(url, key)
    try:
        me = server.ask("GET", "/me").document
    except Lost as lost:
        raise Unavailable(str(lost)) from lost
    except Gone:
        me = None
    if not isinstance(me, dict) or "permissions" not in me:
        raise Refused(f"There is no Streamer at {server.url}; give the address under which its pages are seen.")
    if Permission.UPLOADS_CREATE not in me["permissions"]:
        raise Forbidden(f"This key of {me['email']} may not upload; give one of an editor.")
    return Away(server, KnownFiles(_state() / "sent.db", f"{server.url} {me['id']}"), policy, title)


def _state() -> Path:
    """What the XDG base directory specification says; a relative path there is to be ignored."""
    told = Path(os.environ.get("XDG_STATE_HOME", ""))
    return (told if told.is_absolute() else Path.home() / ".local" / "state") / "streamer"
