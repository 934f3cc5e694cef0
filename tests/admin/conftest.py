from importlib import import_module
from typing import Any

import pytest
from django.apps import apps
from django.contrib.auth.models import Group, User
from django.test import Client

from billing.services import bulk
from entities.models import Customer
from tests.admin import stories
from tests.admin.stories import Staff
from tests.client import Api


@pytest.fixture(autouse=True)
def _groups(db: None) -> None:
    """The groups that migrations made are there, also after a test with transactions of its own emptied all tables."""
    if not Group.objects.exists():
        import_module("config.access.migrations.0002_staff_groups").make_groups(apps, None)
        import_module("config.access.migrations.0003_webhook_staff").give(apps, None)


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: Any) -> None:
    """Jobs in the request instead of beside it: a thread would not see the test's transaction."""
    monkeypatch.setattr(bulk, "start", bulk.work)


@pytest.fixture(scope="module")
def team(stage: Api) -> Customer:
    """Acme on Team, once for all tests of a module."""
    return stories.team()


@pytest.fixture
def acme(team: Customer, db: None) -> Customer:
    """Acme on Team with Alice, who has used up her summaries, and Bob."""
    return Customer.objects.get(pk=team.pk)


@pytest.fixture
def staff(db: None) -> Staff:
    """Anna, who may do everything."""
    anna = User.objects.create_superuser("anna", "anna@example.com", "secret")
    return _of(anna)


@pytest.fixture
def member(db: None) -> Any:
    """Makes a member of a group: `member("Support")`."""

    def make(group: str) -> Staff:
        user = User.objects.create_user(group.lower().replace(" ", ""), password="secret", is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        return _of(user)

    return make


def _of(user: User) -> Staff:
    client = Client(headers={"host": "localhost"})
    client.force_login(user)
    return Staff(client)
