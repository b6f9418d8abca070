"""An HTTP proxy that misbehaves on order, to see what the S3 client does with the faults that real servers have."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

Matches = Callable[[str, str], bool]
_BODYLESS = {"connection", "transfer-encoding"}


@dataclass
class Fault:
    """What to do instead of (or after) passing on the next `times` requests whose method and path match."""

    matches: Matches
    times: int
    status: int = 0
    code: str = ""
    forward: bool = False  # let the server do it, then answer the error all the same
    cut: int = 0  # pass the real answer on but end the connection after so many bytes of its body
    before: Callable[[], object] = lambda: None


class FaultyProxy:
    """Passes everything on to `target` but what its faults match; `seen` lists the requests as "METHOD path"."""

    def __init__(self, target: str) -> None:
        self.target = urlsplit(target).netloc
        self.faults: list[Fault] = []
        self.seen: list[str] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    def inject(self, fault: Fault) -> None:
        self.faults.append(fault)

    def take(self, method: str, path: str) -> Fault | None:
        """The fault for this request, used up once."""
        with self.lock:
            self.seen.append(f"{method} {path}")
            for fault in self.faults:
                if fault.times and fault.matches(method, path):
                    fault.times -= 1
                    return fault
        return None


def _handler(proxy: FaultyProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            fault = proxy.take(self.command, self.path)
            if fault:
                fault.before()
            if fault and fault.status and not fault.forward:
                return self.fail(fault)
            connection = HTTPConnection(proxy.target, timeout=30)
            try:
                connection.request(self.command, self.path, body, dict(self.headers))
                answer = connection.getresponse()
                data = answer.read()
            finally:
                connection.close()
            if fault and fault.status:
                return self.fail(fault)
            self.answer(answer, data, fault.cut if fault else 0)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = pass_on

        def answer(self, answer: HTTPResponse, data: bytes, cut: int) -> None:
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _BODYLESS | {"content-length"}:
                    self.send_header(name, value)
            head = self.command == "HEAD"
            self.send_header("content-length", answer.getheader("content-length", "0") if head else str(len(data)))
            self.end_headers()
            self.wfile.write(data[:cut] if cut else data)
            self.close_connection = bool(cut)

        def fail(self, fault: Fault) -> None:
            text = f"<?xml version='1.0'?><Error><Code>{fault.code}</Code><Message>injected</Message></Error>"
            self.send_response(fault.status)
            self.send_header("content-type", "application/xml")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(b"" if self.command == "HEAD" else text.encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler
