"""Lines between a client and the server: one that breaks again and again, and one that goes dead without telling anybody."""

import random
import socket
import threading
from contextlib import suppress


class BreakingLine:
    """Passes bytes on in both directions, and cuts the connections after a few MiB of what the client sends."""

    def __init__(self, port: int, *, cut_after: tuple[int, int]) -> None:
        self._port, self._cut_after, self._random = port, cut_after, random.Random(1)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.breaks = 0

    def __enter__(self) -> "BreakingLine":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                left = self._random.randrange(*self._cut_after)
                threading.Thread(target=self._pass_on, args=(client, server, left), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, 1 << 40), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, left: int) -> None:
        with source, suppress(OSError):  # closing, with bytes unread, resets the sender
            while (piece := source.recv(65_536)) and left > 0:
                target.sendall(piece)
                left -= len(piece)
            self.breaks += left <= 0
            for end in (source, target):
                end.shutdown(socket.SHUT_RDWR)


class DeadLine:
    """Passes on `swallow_after` bytes of what the client sends and then nothing, in either direction; both ends stay open and never learn."""

    def __init__(self, port: int, *, swallow_after: int) -> None:
        self._port, self._swallow_after = port, swallow_after
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []

    def __enter__(self) -> "DeadLine":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        for end in (self._listening, *self._open):
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self._port))
                self._open += [client, server]
                left = self._swallow_after
                while left and (piece := client.recv(min(left, 65_536))):
                    server.sendall(piece)
                    left -= len(piece)
