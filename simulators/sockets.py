"""Floor 3 · Sockets to a broker that do not block, plain or with TLS, and the addresses that name brokers."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path
from urllib.parse import unquote, urlsplit

TLS_WITHIN_S = 10.0
IN_PROGRESS = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class Sockets:
    """Opens sockets. A TLS handshake is done at once and may take a moment; a plain connection is only begun."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None

    def open(self, host: str, port: int, *, tls: bool) -> socket.socket:
        if not tls:
            family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
            sock = socket.socket(family, kind, protocol)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if (code := sock.connect_ex(address)) not in IN_PROGRESS:
                sock.close()
                raise OSError(code, errno.errorcode.get(code, str(code)))
            return sock
        self._context = self._context or ssl.create_default_context(cafile=self._ca_file)
        sock = socket.create_connection((host, port), timeout=TLS_WITHIN_S)
        try:
            wrapped = self._context.wrap_socket(sock, server_hostname=host)
        except OSError:
            sock.close()
            raise
        wrapped.setblocking(False)
        return wrapped


def address_of(url: str) -> tuple[str, str | None, str | None]:
    """`mqtt[s]://[user:password@]host[:port]`: the URL without its user, the user, the password. Raises ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise ValueError(f"{url!r} is no address of a broker: write mqtt://host:1883")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = f":{parts.port}" if parts.port else ""
    user = unquote(parts.username) if parts.username else None
    password = unquote(parts.password) if parts.password else None
    return f"{parts.scheme}://{host}{port}", user, password
