"""A small load generator: so many requests over a few kept connections to 127.0.0.1, and not more."""

from __future__ import annotations

import socket
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence

_CONNECTIONS = 8
_LONGEST_SECONDS = 300


class Unanswered(Exception):
    """The server hung up, was too slow, or refused what it should have taken."""


def request(
    method: str, path: str, *, headers: Mapping[str, str] | None = None, body: bytes | None = None
) -> bytes:
    """Return a request as it goes over the line."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Accept: application/json"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    if body is not None:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join((*lines, "", "")).encode() + (body or b"")


def send(port: int, requests: Sequence[bytes], *, expected: int, connections: int = _CONNECTIONS) -> float:
    """Send every request once and return the seconds it took.

    Raises:
        Unanswered: a connection broke, the time was up, or an answer had another status than `expected`.
    """
    statuses: Counter[int] = Counter()
    wrong: list[Exception | bytes] = []
    deadline = time.monotonic() + _LONGEST_SECONDS

    def work(share: Sequence[bytes]) -> None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=30) as line:
                line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for one in share:
                    if time.monotonic() > deadline:
                        raise Unanswered("the time was up")
                    line.sendall(one)
                    status, answer = _receive(line)
                    statuses[status] += 1
                    if status != expected:
                        wrong.append(answer)
        except (OSError, Unanswered) as error:
            wrong.append(error)

    threads = [
        threading.Thread(target=work, args=(requests[first::connections],), daemon=True)
        for first in range(min(connections, len(requests)))
    ]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong or sum(statuses.values()) != len(requests):
        raise Unanswered(f"{dict(statuses)} where {expected} was expected; first: {wrong[:1]!r}")
    return time.perf_counter() - started


def _receive(line: socket.socket) -> tuple[int, bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(line)
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for field in head.split(b"\r\n")[1:]:
        name, _, value = field.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        body += _more(line)
    return int(head.split(b" ", 2)[1]), body


def _more(line: socket.socket) -> bytes:
    block = line.recv(1 << 16)
    if not block:
        raise Unanswered("the server hung up")
    return block
