"""A load generator: so many connections, each sending its next request when it has its answer.

One thread and one selector, so that it takes little of the machine that it measures; its own CPU is not counted.
"""

import selectors
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter


@dataclass(slots=True)
class Outcome:
    """What a run saw: how many answers in how many seconds, and how long each took, in seconds."""

    seconds: float = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        ordered = sorted(self.latencies)
        return ordered[min(int(len(ordered) * share), len(ordered) - 1)]

    def add(self, other: "Outcome") -> None:
        self.seconds += other.seconds
        self.latencies.extend(other.latencies)


@dataclass(slots=True)
class _Client:
    socket: socket.socket
    sent_at: float = 0
    received: bytes = b""
    expected: int = 0


def request(path: str, key: str, body: bytes) -> bytes:
    """A POST as bytes."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run(*, port: int, requests: Iterator[bytes], connections: int, seconds: float) -> Outcome:
    """Keep `connections` busy for `seconds`. Raises RuntimeError for an answer that isn't a 200."""
    outcome = Outcome()
    with selectors.DefaultSelector() as selector:
        clients = [_Client(socket.create_connection(("127.0.0.1", port))) for _ in range(connections)]
        for client in clients:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            selector.register(client.socket, selectors.EVENT_READ, client)
        started = perf_counter()
        for client in clients:
            _send(client, next(requests))
        end, busy = started + seconds, connections
        while busy:
            for ready, _ in selector.select(timeout=30) or _stuck():
                client = ready.data
                if not _receive(client):
                    continue
                now = perf_counter()
                outcome.latencies.append(now - client.sent_at)
                if now < end:
                    _send(client, next(requests))
                else:
                    busy -= 1
        outcome.seconds = perf_counter() - started
        for client in clients:
            client.socket.close()
    return outcome


def _send(client: _Client, data: bytes) -> None:
    client.received, client.expected, client.sent_at = b"", 0, perf_counter()
    client.socket.sendall(data)


def _receive(client: _Client) -> bool:
    """Whether the answer is there in full."""
    data = client.socket.recv(65536)
    if not data:
        raise RuntimeError("The server closed the connection.")
    client.received += data
    if not client.expected:
        head, separator, _ = client.received.partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"Not a 200: {client.received[:600]!r}")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if not length:
            return client.received.endswith(b"\r\n0\r\n\r\n")  # chunked
        client.expected = len(head) + 4 + int(length)
    return len(client.received) >= client.expected


def _stuck() -> list[tuple[selectors.SelectorKey, int]]:
    raise RuntimeError("No answer for 30 seconds.")
