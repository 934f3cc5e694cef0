"""The demo, before it serves: what can't work is refused at once, and whoever ends it finds nothing left behind."""

import http.client
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command

from config import embedded
from config.access.models import ApiKey


@pytest.fixture
def data(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "data"
    embedded.stop(tmp_path / "data")


def test_a_port_that_another_server_has_is_not_shared(data: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as the server does
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandError, match=f"Port {port} can't be used"):
            call_command("demo", "--port", str(port), "--data", str(data))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(["--port", "70000"], "--port"), (["--api-key", "short"], "--api-key"), (["--api-key", "sl_live_123456"], "live")],
)
def test_what_cannot_work_is_refused_at_once(data: Path, arguments: list[str], reason: str) -> None:
    with pytest.raises(CommandError, match=reason):
        call_command("demo", "--data", str(data), *arguments)
    assert not data.exists()


def test_a_place_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        with pytest.raises(CommandError, match="--data"):
            call_command("demo", "--port", "0", "--data", str(tmp_path / place))


@pytest.mark.skipif(not settings.IS_EMBEDDED, reason="the tests run on another PostgreSQL")
def test_ended_while_it_sets_up_it_takes_its_database_along(data: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port", "0", "--data", str(data)],
        cwd=settings.BASE_DIR,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    pid_file = data / "postgres" / "data" / "postmaster.pid"
    deadline = time.monotonic() + 60
    while not (pid_file.exists() and "ready" in pid_file.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    assert not pid_file.exists()


@pytest.mark.skipif(not settings.IS_EMBEDDED, reason="the tests run on another PostgreSQL")
def test_what_it_says_to_try_can_be_tried_at_once(data: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    key = "sl_test_demo_0123456789"
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--port", str(port), "--data", str(data), "--api-key", key],
        cwd=settings.BASE_DIR,
        text=True,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert any(line.startswith("Ctrl-C ends the demo") for line in process.stdout)
        connection = http.client.HTTPConnection("127.0.0.1", port)
        asked = {"customer_id": "acme", "entity_id": "alice", "feature_id": "summaries"}
        connection.request("POST", "/v1/balances.check", json.dumps(asked), {"Authorization": f"Bearer {key}"})
        assert json.load(connection.getresponse())["balance"]["granted"] == 50
    finally:
        process.terminate()
        process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.django_db
def test_a_key_needs_a_name() -> None:
    for name in ("", "x" * 101, "a\0b"):
        with pytest.raises(CommandError, match="name"):
            call_command("create_api_key", "--name", name)
    out = StringIO()
    call_command("create_api_key", "--name", "website", "--scope", "read", stdout=out)
    assert out.getvalue().startswith("sl_test_")
    assert ApiKey.objects.get(name="website").scope == "read"
