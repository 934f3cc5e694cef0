import gc
import os
from collections.abc import Iterator

import hypothesis
import psutil
import pytest
from django.conf import settings
from django.db import connections, transaction
from psycopg._preparing import PrepareManager
from pytest_django import DjangoDbBlocker

from billing.services.balances import plain
from config import clock, embedded
from config.access import keys
from tests.builders import Account
from tests.client import Api
from tests.effort import THOROUGH
from tests.selling import Shop

TEST_DATABASE = "test_subledger_"
# A slow hash is for real passwords.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
# The dice fall the same way at every run, so that a change is judged by what it changed; who searches gets other ones.
if not THOROUGH:
    hypothesis.settings.load_profile("ci")
# Processes that tests start, workers first of all, find compiled what was imported before, which is half of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
# The driver forgets what it prepared at each rollback, because tables may go with it. Each test ends in one.
PrepareManager._should_discard = lambda *_: False  # type: ignore[method-assign]


def pytest_collection_finish() -> None:
    """What was imported stays: looking through it for garbage again and again takes a tenth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Each run has a database of its own, so that runs side by side don't meet; embedded, on a server of the tests."""
    database = connections["default"].settings_dict
    data = settings.SUBLEDGER_DATA / "test"
    if settings.IS_EMBEDDED:
        database.update(embedded.database(data))
    database["TEST"]["NAME"] = f"{TEST_DATABASE}{os.getpid()}"
    with django_db_blocker.unblock():
        _drop_leftovers()
        if settings.IS_EMBEDDED:
            _hurry()
    yield
    if settings.IS_EMBEDDED:
        connections.close_all()
        embedded.stop_if_unused(data)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Threads of a server under test may still be connected when the database is to go."""
    yield
    with django_db_blocker.unblock(), connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _hurry() -> None:
    """Nothing of a test database has to outlive a power cut; tests of crashes have servers of their own."""
    with connections["default"]._nodb_cursor() as cursor:
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            cursor.execute(f"ALTER SYSTEM SET {setting} = off")
        cursor.execute("SELECT pg_reload_conf()")


def _drop_leftovers() -> None:
    """The databases of runs that were killed."""
    with connections["default"]._nodb_cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [TEST_DATABASE])
        for (name,) in cursor.fetchall():
            run = name.removeprefix(TEST_DATABASE)
            if run.isdigit() and not psutil.pid_exists(int(run)):
                cursor.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    """A key that one test made, or a subject whose tracks were not plain, isn't remembered in the next."""
    yield
    keys.forget()
    plain.forget()


def client() -> Api:
    _, secret = keys.create(name="Tests", at=clock.now())
    return Api(secret)


@pytest.fixture
def api(db: None) -> Api:
    """A client whose key may write."""
    return client()


@pytest.fixture(scope="module")
def stage(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Api]:
    """A client for setting up, once, what all tests of a module begin with; gone after the last of them.

    Each test begins there again, as it rolls back (`db`) in a transaction within this one. So there can't be
    transactional tests in such a module.
    """
    with django_db_blocker.unblock():
        around = transaction.atomic()
        around._from_testcase = True  # type: ignore[attr-defined]  # durable blocks are content with it
        with around:
            yield client()
            transaction.set_rollback(True)


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """The shop in which the tests of a module begin; modules put their plans into one of their own."""
    return Shop(stage)


@pytest.fixture
def shop(opened: Shop, db: None) -> Shop:
    """The shop of the module, as it was opened."""
    return opened


@pytest.fixture
def acme(api: Api) -> Account:
    """Acme, a customer that holds nothing yet."""
    return Account(api)
