"""An application that receives webhooks: a real HTTP server, which verifies as its library does."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

from billing.models import WebhookEndpoint
from billing.services.webhooks import endpoints
from billing.services.webhooks.endpoints import Terms
from config import clock


class Receiver:
    """What came, in order. `answers` are the statuses to give, then 200; `secret` verifies what comes, once known."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/hooks?from=us"
        self.answers: list[int] = []
        self.secret = ""
        self.came: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.trickles = False
        self.hold = threading.Event()
        self.hold.set()

    def take(self, path: str, headers: dict[str, str], body: bytes) -> int:
        self.hold.wait(10)
        self.paths.append(path)
        self.headers.append(headers)
        self.came.append(Webhook(self.secret).verify(body, headers) if self.secret else json.loads(body))
        return self.answers.pop(0) if self.answers else 200

    def listen(self, *events: str, public_id: str = "app") -> WebhookEndpoint:
        """Be told of these; of everything where none is named."""
        endpoint = endpoints.create(public_id, Terms(self.url, events), at=clock.now())
        self.secret = endpoint.secret
        return endpoint

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for headers in self.headers]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver for the block."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            named = {name.lower(): value for name, value in self.headers.items()}
            status = receiver.take(self.path, named, body)
            self.send_response(status)
            if status in (301, 302, 307):
                self.send_header("location", receiver.url)
            self.end_headers()
            self.wfile.write(b"as you say \xff\x00" + b"x" * (10 if receiver.trickles else 5000))
            for _ in range(10 if receiver.trickles else 0):
                time.sleep(0.1)
                self.wfile.write(b"x")

        def log_message(self, *args: Any) -> None:
            """Quietly."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *args: Any) -> None:
            """Whoever hangs up early is told by the tests."""

    server = Server(("127.0.0.1", 0), Handler)
    receiver = Receiver(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        receiver.hold.set()
        server.shutdown()
        server.server_close()
