"""Who may call: keys, their scopes, and what happens without."""

import time
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.http import HttpRequest
from django.test import Client
from django.urls import path
from pytest_django import DjangoAssertNumQueries

from config import api as wire
from config import clock
from config.access import keys
from config.access.models import ApiKey, Scope
from config.errors import InvalidInput
from config.urls import urlpatterns as real_urls
from tests.client import Api, read


class Write(wire.Endpoint):
    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {}


class Look(wire.Endpoint):
    access = Scope.READ

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {}


urlpatterns = [path("v1/test.write", Write.as_view()), path("v1/test.look", Look.as_view()), *real_urls]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

MORNING = datetime(2026, 5, 1, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YWxpY2U6c2VjcmV0", "sl_test_abc"])
def test_a_request_without_a_key_is_refused(header: str) -> None:
    response = Api(**{"Authorization": header} if header else {}).send("test.look", {})
    assert read(response, 401)["code"] == "no_secret_key"
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("secret", ["sl_test_unknown", "é", "x" * 5000, "a b"])
def test_a_request_with_an_unknown_key_is_refused(secret: str) -> None:
    answer = Api(secret).refused(401, "test.look")
    assert answer["code"] == "invalid_secret_key"
    assert answer["env"] == "sandbox"


def test_the_scheme_may_be_written_small() -> None:
    _, secret = keys.create(name="Website", at=MORNING)
    read(Api(Authorization=f"bearer  {secret}").send("test.look", {}), 200)


def test_a_reading_key_may_read_but_not_write() -> None:
    _, secret = keys.create(name="Dashboard", scope=Scope.READ, at=MORNING)
    reader = Api(secret)
    reader.post("test.look")
    answer = reader.refused(403, "test.write")
    assert answer["code"] == "insufficient_scope"
    assert "Use a key with write scope" in answer["message"]


def test_a_key_names_its_environment_and_is_stored_hashed(settings: Any) -> None:
    key, secret = keys.create(name="Website", at=MORNING)
    assert secret.startswith("sl_test_")
    assert len(secret) > 40
    assert secret.startswith(key.prefix)
    assert len(key.prefix) == 16
    assert secret not in str(ApiKey.objects.values().get())
    settings.ENVIRONMENT = "live"
    _, secret = keys.create(name="Website", at=MORNING)
    assert secret.startswith("sl_live_")


def test_a_key_of_the_other_environment_is_not_made() -> None:
    with pytest.raises(InvalidInput, match="_live_"):
        keys.create(name="Website", at=MORNING, secret="sl_live_0123456789abcdef")


@pytest.mark.parametrize("secret", ["short", "with a space", "ümläut-key"])
def test_a_fixed_key_must_be_usable_as_one(secret: str) -> None:
    with pytest.raises(InvalidInput):
        keys.create(name="Website", at=MORNING, secret=secret)


def test_a_fixed_key_made_again_is_the_same_key() -> None:
    first, _ = keys.create(name="Demo", at=MORNING, secret="sl_test_fixed_for_scripts")
    keys.revoke(first, at=MORNING)
    second, secret = keys.create(name="Demo", at=MORNING, secret="sl_test_fixed_for_scripts")
    assert second.pk == first.pk
    Api(secret).post("test.write")


def test_a_revoked_key_is_refused() -> None:
    key, secret = keys.create(name="Website", at=MORNING)
    Api(secret).post("test.look")
    keys.revoke(key, at=MORNING)
    assert key.revoked_at == MORNING
    assert Api(secret).refused(401, "test.look")["code"] == "invalid_secret_key"


def test_a_key_revoked_elsewhere_is_refused_after_some_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    key, secret = keys.create(name="Website", at=MORNING)
    monkeypatch.setattr(keys, "CACHE_SECONDS", 0.3)
    Api(secret).post("test.look")
    ApiKey.objects.filter(pk=key.pk).update(revoked_at=MORNING)
    Api(secret).post("test.look")
    time.sleep(0.3)
    Api(secret).refused(401, "test.look")


def test_a_known_key_costs_no_query(django_assert_num_queries: DjangoAssertNumQueries) -> None:
    _, secret = keys.create(name="Website", at=MORNING)
    Api(secret).post("test.look")
    with django_assert_num_queries(0):
        Api(secret).post("test.look")


def test_a_key_remembers_roughly_when_it_was_used() -> None:
    key, secret = keys.create(name="Website", at=MORNING)
    for minutes, expected in ((0, 0), (0.5, 0), (2, 2)):
        keys.forget()
        with clock.frozen(MORNING + timedelta(minutes=minutes)):
            Api(secret).post("test.look")
        key.refresh_from_db()
        assert key.last_used_at == MORNING + timedelta(minutes=expected)


def test_the_command_prints_a_key_that_works() -> None:
    out = StringIO()
    call_command("create_api_key", name="Website", scope="read", stdout=out)
    secret = out.getvalue().strip()
    Api(secret).post("test.look")
    Api(secret).refused(403, "test.write")


def test_staff_make_a_key_that_is_shown_once_and_revoke_it() -> None:
    browser = Client()
    browser.force_login(User.objects.create_superuser("alice"))
    page = browser.post("/admin/access/apikey/add/", {"name": "Website", "scope": "write"}, follow=True)
    secret = next(str(message).split()[-1] for message in page.context["messages"])
    Api(secret).post("test.write")
    key = ApiKey.objects.get(name="Website")
    again = browser.get(f"/admin/access/apikey/{key.pk}/change/")
    assert secret not in again.content.decode()
    browser.post("/admin/access/apikey/", {"action": "revoke", "_selected_action": [key.pk]})
    Api(secret).refused(401, "test.write")


def test_pages_outside_the_api_need_no_key() -> None:
    assert Client().get("/healthz").status_code == 200
    assert Client().get("/")["Location"] == "/admin/"
    login = Client().get("/admin/login/")
    assert login.status_code == 200
    assert "default-src 'self'" in login["Content-Security-Policy"]
