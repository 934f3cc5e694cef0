import ctypes
import http.client
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from config import clock, embedded
from config.access import keys
from config.errors import DomainError

USERNAME = "demo"


class Command(BaseCommand):
    """Serve a copy with both stories in it: database, tables, catalogue, customers, login and key, then the server.

    Safe to run again: what is there stays, and the same login and key are printed. It ends cleanly on SIGTERM or
    Ctrl-C and takes the embedded database along.
    """

    help = "Set up a demo with seats and workspaces and serve it; run it again any time."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000)
        parser.add_argument("--data", type=Path, help="where the embedded database lives (default: .data)")
        parser.add_argument("--api-key", default="", help="a fixed key, sl_test_…, instead of one made at first")

    def handle(self, *args: Any, **options: Any) -> None:
        _check(port=options["port"], secret=options["api_key"], data=options["data"] or settings.SUBLEDGER_DATA)
        _restart_with_settings(port=options["port"], data=options["data"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _end)
        try:
            welcome = self._set_up(**options)
            raise SystemExit(self._serve(options["port"], welcome))
        finally:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # the rest takes a moment, and is needed
            if settings.IS_EMBEDDED:
                embedded.stop_if_unused(settings.SUBLEDGER_DATA)

    def _set_up(self, **options: Any) -> str:
        """Prepare everything, and return what there is to say once it is served."""
        self.stdout.write("Setting up the database …")
        call_command("migrate", verbosity=0)
        known = _Secrets(settings.SUBLEDGER_DATA / "demo.json")
        secret = options["api_key"] or known.get("api_key") or keys.create(name="Demo", at=clock.now())[1]
        keys.create(name="Demo", secret=secret, at=clock.now())
        password = known.get("password") or secrets.token_urlsafe(9)
        known.keep(api_key=secret, password=password)
        _set_login(password)
        if not settings.STRIPE_STAND_IN:  # a stand-in knows nobody whom another process made
            call_command("load_demo", stdout=self.stdout)
        address = f"http://127.0.0.1:{options['port']}"
        return f"""
Admin     {address}/admin/   login {USERNAME}, password {password}
API key   {secret}

May Alice, a seat of Acme, have another summary?
curl -s {address}/v1/balances.check -H 'Authorization: Bearer {secret}' \\
  --json '{{"customer_id": "acme", "entity_id": "alice", "feature_id": "summaries"}}'

Ctrl-C ends the demo and its database.
"""

    def _serve(self, port: int, welcome: str) -> int:
        """Run the server until it ends or we are told to; say so as soon as it answers."""
        server = subprocess.Popen(
            [
                *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1", "--port", str(port)),
                *("--workers", "1", "--blocking-threads", "8", "--log-level", "error", "config.wsgi:application"),
            ],
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509  no threads here
        )
        try:
            while server.poll() is None and not _answers(port):
                time.sleep(0.1)
            if server.poll() is None:
                self.stdout.write(welcome)
                self.stdout.flush()
            return server.wait()
        finally:
            server.terminate()
            server.wait()


class _Secrets:
    """What a demo prints again when it is run again, readable by its owner only."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, name: str) -> str:
        try:
            return str(json.loads(self.path.read_text()).get(name, ""))
        except (FileNotFoundError, ValueError):
            return ""

    def keep(self, **values: str) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(values, file)


def _check(*, port: int, secret: str, data: Path) -> None:
    """Refuse at once what would fail late, or not at all: the server would share a port with another one."""
    nearest = next((place for place in (data, *data.absolute().parents) if place.exists()), data)
    if not nearest.is_dir() or not os.access(nearest, os.W_OK):
        raise CommandError(f"{data} can't be written. Choose another place with --data.")
    try:
        if secret:
            keys.check(secret)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
    except DomainError as problem:
        raise CommandError(f"--api-key: {problem.message}") from problem
    except (OSError, OverflowError) as problem:
        raise CommandError(f"Port {port} can't be used ({problem}). Choose another one with --port.") from problem


def _end(number: int, frame: object) -> None:
    raise SystemExit(0)


def _restart_with_settings(*, port: int, data: Path | None) -> None:
    """Settings are read once, at the start: start again with what the demo wants of them."""
    wanted = {"DEBUG": "true", "TLS": "false", "BASE_URL": f"http://127.0.0.1:{port}"}
    if data is not None:
        wanted["SUBLEDGER_DATA"] = str(data.resolve())
    if all(os.environ.get(name) == value for name, value in wanted.items()):
        return
    if settings.ENVIRONMENT != "sandbox":
        raise CommandError("The demo is for the sandbox. Unset ENVIRONMENT to run it.")
    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **wanted})  # noqa: S606


def _set_login(password: str) -> None:
    user, _ = get_user_model().objects.get_or_create(
        username=USERNAME, defaults={"is_staff": True, "is_superuser": True, "email": "demo@example.com"}
    )
    if not user.check_password(password):
        user.set_password(password)
        user.save(update_fields=["password"])


def _answers(port: int) -> bool:
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        asked.request("GET", "/healthz")
        return asked.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        asked.close()


def _end_with_parent() -> None:
    """Have the kernel end the server when we are killed, so that the port is free for the next run."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)
