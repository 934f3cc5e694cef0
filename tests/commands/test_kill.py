"""A server and its database, killed in the middle of work: what was answered is there, and nothing counts twice."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings

from config import embedded

pytestmark = pytest.mark.skipif(not settings.IS_EMBEDDED, reason="the tests run on another PostgreSQL")

PATIENCE = 120  # seconds


class Server:
    """A deployment with a database of its own."""

    def __init__(self, data: Path) -> None:
        self.data = data
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        self.process: subprocess.Popen[bytes] | None = None
        self.key = ""

    def set_up(self) -> None:
        self.run("migrate")
        self.key = self.run("create_api_key", "--name", "Tests").strip()

    def start(self) -> None:
        """Serve what is there, with two processes."""
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        at_once = ("--workers", "2", "--blocking-threads", "4", "--respawn-failed-workers")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", *address, *at_once, "config.wsgi:application"],
            cwd=settings.BASE_DIR,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.send("features.list", {})[0] == 200:
                return
            time.sleep(0.2)
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        """As the power goes: the server, its workers, and whoever started them."""
        assert self.process is not None
        ours = psutil.Process(self.process.pid)
        for process in [*ours.children(recursive=True), ours]:
            process.kill()
        self.process.wait(timeout=30)

    def kill_database(self) -> None:
        pid_file = self.data / "postgres" / "data" / "postmaster.pid"
        psutil.Process(int(pid_file.read_text().split("\n", 1)[0])).kill()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(timeout=30)
        embedded.stop(self.data)

    def send(self, call: str, body: Any) -> tuple[int, Any]:
        """Status and JSON; status 0 when there was no answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        try:
            connection.request("POST", f"/v1/{call}", json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            return 0, None
        finally:
            connection.close()

    def run(self, *command: str) -> str:
        """What a command that succeeds says."""
        done = subprocess.run(
            [sys.executable, "manage.py", *command],
            cwd=settings.BASE_DIR,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "SUBLEDGER_DATA": str(self.data), "TLS": "false"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path / "data")
    try:
        server.set_up()
        server.start()
        yield server
    finally:
        server.stop()


class Client(threading.Thread):
    """Tracks one by one until told to stop; with keys it repeats what was not answered until it is."""

    def __init__(self, server: Server, who: str, *, keyed: bool) -> None:
        super().__init__(daemon=True)
        self.server, self.who, self.keyed = server, who, keyed
        self.enough = threading.Event()
        self.tried = self.answered = self.repeated = 0

    def run(self) -> None:
        while not self.enough.is_set():
            self.tried += 1
            body: dict[str, Any] = {"customer_id": "acme", "entity_id": self.who, "feature_id": "requests", "value": 1}
            if self.keyed:
                body["idempotency_key"] = f"{self.name}-{self.tried}"
            deadline = time.monotonic() + PATIENCE
            while (status := self.server.send("balances.track", body)[0]) != 200:
                time.sleep(0.1)
                if not self.keyed:
                    break
                self.repeated += 1
                assert time.monotonic() < deadline, f"never answered, last with {status}"
            self.answered += status == 200


def wait_for(clients: list[Client], more: int) -> None:
    """Until each client has had so many more answers."""
    wanted = {client: client.answered + more for client in clients}
    deadline = time.monotonic() + PATIENCE
    while any(client.answered < count for client, count in wanted.items()):
        assert time.monotonic() < deadline, "the server does not come back"
        assert all(client.is_alive() for client in clients)
        time.sleep(0.05)


def test_what_was_answered_survives_and_what_is_repeated_counts_once(server: Server) -> None:
    for feature, consumable in (("seats", False), ("requests", True)):
        body: dict[str, Any] = {"feature_id": feature, "name": feature, "type": "metered", "consumable": consumable}
        assert server.send("features.create", body)[0] == 200
    for who in ("alice", "bob"):
        member = {"customer_id": "acme", "entity_id": who}
        assert server.send("entities.create", {**member, "feature_id": "seats"})[0] == 200
        body = {**member, "feature_id": "requests", "included_grant": 1_000_000}
        assert server.send("balances.create", body)[0] == 200
    keyed = [Client(server, "alice", keyed=True) for _ in range(3)]
    plain = Client(server, "bob", keyed=False)
    clients = [*keyed, plain]
    for client in clients:
        client.start()
    wait_for(clients, 10)
    server.kill()
    server.start()
    wait_for(clients, 10)
    server.kill_database()
    wait_for(clients, 10)
    server.kill_database()
    server.kill()
    server.start()
    wait_for(clients, 5)
    for client in clients:
        client.enough.set()
    for client in clients:
        client.join(PATIENCE)
        assert not client.is_alive()

    used = {}
    for who in ("alice", "bob"):
        shown = server.send("entities.get", {"customer_id": "acme", "entity_id": who})[1]
        used[who] = shown["balances"]["requests"]["usage"]
    assert used["alice"] == sum(client.answered for client in keyed) == sum(client.tried for client in keyed)
    assert sum(client.repeated for client in keyed) > 0
    assert plain.answered <= used["bob"] <= plain.tried
    server.run("verify")
