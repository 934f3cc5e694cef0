"""The contestants, each on the same server with the same options, and the CPU that they and PostgreSQL spend."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg

_ROOT = Path(__file__).resolve().parents[2]
_THREADS = 8
# These work when they like, for whoever wrote before.
_OWN_TIME = ("autovacuum", "checkpointer", "background writer", "logical replication")


@dataclass(slots=True)
class Contestant:
    """A server under test."""

    name: str
    application: str
    port: int
    paths: dict[tuple[str, bool], str]  # by operation and whether a pool is asked for
    settings: str = ""
    process: subprocess.Popen[bytes] | None = None

    def start(self, environment: dict[str, str]) -> None:
        """Start it and wait until it listens."""
        values = {**os.environ, **environment}
        if self.settings:
            values["DJANGO_SETTINGS_MODULE"] = self.settings
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
                *("--port", str(self.port), "--workers", "1", "--blocking-threads", str(_THREADS)),
                *("--backlog", "1024", "--log-level", "warning", self.application),
            ],
            cwd=_ROOT,
            env=values,
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.1)
        raise RuntimeError(f"{self.name} doesn't start.")

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(timeout=30)

    def cpu(self) -> float:
        """Seconds of CPU that it has spent, user and system, with all its processes."""
        assert self.process is not None
        return sum(_spent([psutil.Process(self.process.pid)]).values())


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def contestants() -> list[Contestant]:
    own = {("check", False): "/own/check", ("track", False): "/own/track"}
    pool = {("check", True): "/pool/check", ("track", True): "/pool/track"}
    ours = {(verb, pooled): f"/v1/balances.{verb}" for verb in ("check", "track") for pooled in (False, True)}
    naive = {(verb, pooled): f"/{verb}" for verb in ("check", "track") for pooled in (False, True)}
    return [
        Contestant("bare", "tests.bench.bare:application", free_port(), own | pool),
        Contestant("ours", "config.wsgi:application", free_port(), ours),
        Contestant("naive", "config.wsgi:application", free_port(), naive, "tests.bench.naive_settings"),
    ]


class Database:
    """PostgreSQL's processes on this machine, found through a connection to it."""

    def __init__(self, dsn: str) -> None:
        with psycopg.connect(dsn) as connection:
            row = connection.execute("SELECT pg_backend_pid()").fetchone()
            assert row is not None
            try:
                parent = psutil.Process(row[0]).parent()
            except psutil.NoSuchProcess as problem:
                raise RuntimeError("PostgreSQL runs on another machine: its CPU can't be counted.") from problem
        assert parent is not None
        self.postmaster = parent
        self._gone = 0.0
        self._last: dict[int, float] = {}

    def cpu(self) -> float:
        """Seconds of CPU spent by backends and WAL writer, those that have ended since the last look included."""
        now = _spent([self.postmaster], skip=_OWN_TIME)
        self._gone += sum(spent for pid, spent in self._last.items() if pid not in now)
        self._last = now
        return self._gone + sum(now.values())


def _spent(roots: Iterable[psutil.Process], skip: tuple[str, ...] = ()) -> dict[int, float]:
    spent = {}
    for root in roots:
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                if skip and any(word in " ".join(process.cmdline()) for word in skip):
                    continue
                times = process.cpu_times()
                spent[process.pid] = times.user + times.system
    return spent
