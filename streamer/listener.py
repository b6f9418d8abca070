"""The socket that the web process answers on, which `streamer up` opens for it: without a web stack, which only the web process needs."""

import socket


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; port 0 takes a free one."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=2048)
