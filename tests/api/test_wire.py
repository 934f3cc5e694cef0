"""How any call reads requests and writes answers, tried on calls made for it."""

import io
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from django.db import DataError, OperationalError, connection
from django.http import HttpRequest
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from rest_framework import serializers

from config import api as wire
from config.access.models import Scope
from config.errors import InvalidRequest
from config.urls import urlpatterns as real_urls
from tests.client import Api, read


class PriceSerializer(serializers.Serializer[Any]):
    amount = wire.MoneyField(negative=False)


class OrderSerializer(serializers.Serializer[Any]):
    customer_id = wire.IdField()
    value = wire.QuantityField(required=False, default=Decimal(1))
    at = wire.TimestampField(required=False, allow_null=True)
    prices = PriceSerializer(many=True, required=False)


class Echo(wire.Endpoint):
    Input = OrderSerializer

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {**data, "at": wire.milliseconds(data.get("at"))}


class Order(msgspec.Struct):
    customer_id: str
    value: Any = 1


class LeanEcho(wire.Endpoint):
    Input = Order
    access = Scope.READ

    def handle(self, data: Order, request: HttpRequest) -> Any:
        return {"customer_id": data.customer_id, "value": wire.quantity(data.value, "value")}


class EchoList(wire.Endpoint):
    takes_list = True
    status = 202

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return data


class ReadThing(wire.Endpoint):
    methods = ("GET",)
    access = Scope.READ

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {"read": data, "legacy": self.version.legacy}


class DeleteThing(wire.Endpoint):
    methods = ("DELETE",)

    def handle(self, data: Any, request: HttpRequest) -> Any:
        return {"deleted": data, "by": self.actor.name}


class Fails(wire.Endpoint):
    def handle(self, data: Any, request: HttpRequest) -> Any:
        raise {
            "refused": InvalidRequest("The seat acme is taken. Free it first."),
            "data": DataError("numeric field overflow"),
            "gone": OperationalError("the connection is lost"),
            "unforeseen": ZeroDivisionError("by zero"),
        }[data["how"]]


class Waits(wire.Endpoint):
    def handle(self, data: Any, request: HttpRequest) -> Any:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '50ms'; SELECT pg_advisory_lock(4711)")


urlpatterns = [
    path("v1/test.echo", Echo.as_view()),
    path("v1/test.lean", LeanEcho.as_view()),
    path("v1/test.list", EchoList.as_view()),
    path("v1/test.fails", Fails.as_view()),
    path("v1/test.waits", Waits.as_view()),
    path("v1/things/<str:thing_id>", wire.by_method(get=ReadThing, delete=DeleteThing)),
    *real_urls,
]

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


# -- what comes in --


def test_an_empty_body_is_an_empty_object(api: Api) -> None:
    assert api.refused(400, "test.echo")["message"] == "customer_id is required."
    assert read(api.send("test.echo", b"", content_type=""), 400)["code"] == "invalid_inputs"


def test_unknown_keys_are_ignored(api: Api) -> None:
    assert api.post("test.echo", customer_id="acme", colour="red") == {"customer_id": "acme", "value": 1, "at": None}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nonsense",
        b'{"customer_id": NaN}',
        b'"text"',
        b"[]",
        b"7",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b'{"customer_id": "\\ud800"}',
        b'{"customer_id": "acme", "value": ' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_not_a_json_object_is_refused(api: Api, body: bytes) -> None:
    answer = read(api.send("test.echo", body), 400)
    assert answer["code"] == "invalid_inputs"
    assert answer["env"] == "sandbox"
    assert answer["message"]


@pytest.mark.parametrize("call", ["test.echo", "test.lean", "test.list"])
@pytest.mark.parametrize("body", [b'{"customer_id": "a\\u0000b"}', b'{"a\\u0000": 1}', b'[{"x": ["\\u0000"]}]'])
def test_a_nul_character_anywhere_is_refused(api: Api, call: str, body: bytes) -> None:
    assert read(api.send(call, body), 400)["code"] == "invalid_inputs"


def test_a_nul_character_in_the_address_is_refused(api: Api) -> None:
    assert read(api.send("things/a%00b", method="GET"), 400)["code"] == "invalid_inputs"
    assert read(api.send("things/a?limit=%00", method="GET"), 400)["code"] == "invalid_inputs"


def test_a_backslash_before_u0000_is_no_nul_character(api: Api) -> None:
    assert api.post("test.echo", customer_id="\\u0000")["customer_id"] == "\\u0000"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "customer_id is required."),
        ({"customer_id": None}, "customer_id must not be null."),
        ({"customer_id": "  "}, "customer_id must not be empty."),
        ({"customer_id": 7}, "customer_id must be a string."),
        ({"customer_id": ["a"]}, "customer_id must be a string."),
        ({"customer_id": "x" * 256}, "customer_id must be at most 255 characters long."),
        ({"customer_id": "a\nb"}, "customer_id must not hold control characters."),
        ({"customer_id": "a", "value": "5"}, "value must be a number."),
        ({"customer_id": "a", "value": True}, "value must be a number."),
        ({"customer_id": "a", "value": {}}, "value must be a number."),
        ({"customer_id": "a", "value": 10**20}, "value must be below 10^20."),
        ({"customer_id": "a", "value": Decimal("99999999999999999999.99999999995")}, "value must be below 10^20."),
        ({"customer_id": "a", "at": "2026-01-01"}, "at must be a time in Unix milliseconds, as a number."),
        ({"customer_id": "a", "at": -1}, "at must be a time in Unix milliseconds between 0 and 32503680000000."),
        ({"customer_id": "a", "at": 10**18}, "at must be a time in Unix milliseconds between 0 and 32503680000000."),
        ({"customer_id": "a", "prices": [{"amount": 1}, {"amount": -1}]}, "prices[1].amount must not be negative."),
        ({"customer_id": "a", "prices": [{"amount": 1}, {}]}, "prices[1].amount is required."),
        ({"customer_id": "a", "prices": 5}, "prices must be a list."),
    ],
)
def test_a_wrong_field_is_named(api: Api, body: dict[str, Any], message: str) -> None:
    answer = read(api.send("test.echo", body), 400)
    assert answer == {"message": message, "code": "invalid_inputs", "env": "sandbox"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{}", "Object missing required field `customer_id`."),
        (b'{"customer_id": 5}', "customer_id: Expected `str`, got `int`."),
        (b'{"customer_id": "a", "value": "5"}', "value must be a number."),
        (b"[]", "Expected `object`, got `array`."),
    ],
)
def test_a_struct_names_the_field_too(api: Api, body: bytes, message: str) -> None:
    assert read(api.send("test.lean", body), 400)["message"] == message


@pytest.mark.parametrize(
    ("sent", "meant"),
    [
        ("0.30000000000000004", "0.3"),
        ("0.00000000005", "0.0000000001"),
        ("0.000000000049999", "0"),
        ("-0.00000000005", "-0.0000000001"),
        ("1e-30", "0"),
        ("-0.0", "0"),
        ("12345678901234567890.12345678905", "12345678901234567890.1234567891"),
    ],
)
def test_a_quantity_is_rounded_half_up_to_ten_decimals(api: Api, sent: str, meant: str) -> None:
    answer = read(api.send("test.echo", f'{{"customer_id": "a", "value": {sent}}}'.encode()), 200)
    assert answer["value"] == Decimal(meant)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "1e999999999", "1e-999999999", "0e999999999", "1e19"])
def test_extreme_numbers_are_answered(api: Api, number: str) -> None:
    response = api.send("test.echo", b'{"customer_id": "a", "value": %s}' % number.encode())
    assert response.status_code == (400 if number in ("1e400", "-1e400", "1e999999999") else 200)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=10, min_value=-(10**19), max_value=10**19))
def test_numbers_come_back_as_they_were(number: Decimal) -> None:
    body = wire.encode({"value": number})
    assert wire.quantity(wire.decode(body)["value"], "value") == number
    assert json.loads(body, parse_float=Decimal)["value"] == number


@pytest.mark.parametrize(
    ("number", "text"),
    [("50", "50"), ("50.0", "50"), ("5E+1", "50"), ("0.10", "0.1"), ("-0.00", "0"), ("1E-10", "0.0000000001"),
     ("12345678901234567890.0123456789", "12345678901234567890.0123456789")],
)  # fmt: skip
def test_decimals_are_written_as_plain_numbers(number: str, text: str) -> None:
    assert wire.encode(Decimal(number)) == text.encode()


@given(st.integers(0, 32_503_680_000_000))
def test_instants_keep_their_millisecond(value: int) -> None:
    at = wire.moment(value, "at")
    assert at.tzinfo is UTC
    assert wire.milliseconds(at) == value


def test_an_instant_may_have_a_point(api: Api) -> None:
    answer = read(api.send("test.echo", b'{"customer_id": "a", "at": 1771409161016.0}'), 200)
    assert answer["at"] == 1771409161016
    assert wire.moment(1771409161016, "at") == datetime(2026, 2, 18, 10, 6, 1, 16000, tzinfo=UTC)


def test_a_list_call_takes_lists_only(api: Api) -> None:
    assert read(api.send("test.list", [{"a": 1}]), 202) == [{"a": 1}]
    assert read(api.send("test.list", {"a": 1}), 400)["message"] == "The body must be a JSON array."


def test_a_body_that_is_nested_too_deeply_is_refused(api: Api) -> None:
    assert read(api.send("test.list", b"[" * 64 + b"]" * 64), 202)
    answer = read(api.send("test.list", b"[" * 65 + b"]" * 65), 400)
    assert answer["message"] == "The body is nested more than 64 levels deep."


def test_integers_of_any_size_come_back(api: Api) -> None:
    assert read(api.send("test.list", b'[{"n": 123456789012345678901234567890}]'), 202) == [
        {"n": 123456789012345678901234567890}
    ]


def test_path_and_query_are_part_of_the_request(api: Api) -> None:
    assert read(api.send("things/a.b?limit=5", method="GET"), 200)["read"] == {"thing_id": "a.b", "limit": "5"}
    deleted = read(api.send("things/x", {"thing_id": "other", "force": True}, method="DELETE"), 200)
    assert deleted["deleted"] == {"thing_id": "x", "force": True}
    assert deleted["by"].startswith("key:sl_test_")


# -- what goes out, whatever happens --


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE", "OPTIONS"])
def test_another_method_is_refused_in_json(api: Api, method: str) -> None:
    answer = read(api.send("test.echo", method=method), 405)
    assert answer["code"] == "method_not_allowed"


@pytest.mark.parametrize("address", ["nothing", "test.echo/", "", "customers/[object%20Object]/entities/x/y"])
def test_an_unknown_address_is_refused_in_json(api: Api, address: str) -> None:
    assert read(api.send(address), 404)["code"] == "not_found"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary"]
)
def test_another_content_type_is_refused_in_json(api: Api, content_type: str) -> None:
    answer = read(api.send("test.echo", b'{"customer_id": "a"}', content_type=content_type), 415)
    assert answer["code"] == "unsupported_media_type"


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/vnd.api+json", ""]
)
def test_json_may_be_called_by_its_other_names(api: Api, content_type: str) -> None:
    read(api.send("test.echo", b'{"customer_id": "a"}', content_type=content_type), 200)


def test_a_body_that_is_too_large_is_refused_in_json(api: Api, settings: Any) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    assert read(api.send("test.echo", b'{"a": "%s"}' % (b"x" * 100)), 413)["code"] == "payload_too_large"


@pytest.mark.parametrize(("size", "unread"), [(700, 0), (10_000, 9_200)])
def test_a_body_that_is_too_large_is_sent_to_its_end_within_bounds(
    api: Api, settings: Any, size: int, unread: int
) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    sent = io.BytesIO(b"x" * size)
    marks: dict[str, Any] = {"wsgi.input": sent, "CONTENT_LENGTH": size}
    refused = api.http.generic("POST", "/v1/test.echo", b"", "application/json", headers=api.headers, **marks)
    assert (refused.status_code, len(sent.read())) == (413, unread)


def test_a_chunked_body_is_read_where_the_server_marks_its_end(api: Api, settings: Any) -> None:
    def send(body: bytes, **marks: Any) -> Any:
        marks |= {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": "", "wsgi.input": io.BytesIO(body)}
        return api.http.generic("POST", "/v1/test.echo", body, "application/json", headers=api.headers, **marks)

    mark = {"wsgi.input_terminated": True}
    assert read(send(b'{"customer_id": "a"}', **mark), 200)["customer_id"] == "a"
    assert read(send(b'{"customer_id": "a"}'), 411)["code"] == "length_required"
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 10
    assert read(send(b'{"customer_id": "a"}', **mark), 413)["code"] == "payload_too_large"


def test_a_malformed_host_does_not_matter(api: Api) -> None:
    read(api.send("test.echo", {"customer_id": "a"}, host="not a host"), 200)


def test_a_refusal_carries_code_message_and_environment(api: Api) -> None:
    assert api.refused(400, "test.fails", how="refused") == {
        "message": "The seat acme is taken. Free it first.",
        "code": "invalid_request",
        "env": "sandbox",
    }


def test_what_the_database_cannot_store_is_the_callers_fault(api: Api) -> None:
    assert api.refused(400, "test.fails", how="data")["code"] == "invalid_inputs"


def test_a_lost_database_is_a_503_with_a_hint_when_to_return(api: Api) -> None:
    response = api.send("test.fails", {"how": "gone"})
    assert read(response, 503)["code"] == "service_unavailable"
    assert response["Retry-After"] == "1"


@pytest.mark.django_db(transaction=True)
def test_a_wait_for_a_lock_ends_in_429(api: Api) -> None:
    other = connection.copy()
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(4711)")
        response = api.send("test.waits", {})
        assert read(response, 429)["code"] == "lock_already_exists"
        assert response["Retry-After"] == "1"
    finally:
        other.close()
        connection.close()  # with its lock_timeout


def test_a_failure_of_ours_is_logged_and_answered_in_json(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    api.http.raise_request_exception = False
    answer = api.refused(500, "test.fails", how="unforeseen")
    assert answer["code"] == "internal_error"
    assert "zero" not in answer["message"]
    assert "ZeroDivisionError" in caplog.text


# -- generations --


@pytest.mark.parametrize(
    ("version", "legacy"), [("", False), ("2.4.0", False), ("2.1", False), ("2", False), ("1.2", True), ("1.2.0", True)]
)
def test_the_version_header_tells_the_generation(api: Api, version: str, legacy: bool) -> None:
    assert read(api.send("things/x", method="GET", x_api_version=version), 200)["legacy"] is legacy


@pytest.mark.parametrize("version", ["3.0", "0.9", "two", "2.", "2.x", "2.1.1.1", "٢.1"])
def test_an_unknown_version_is_refused(api: Api, version: str) -> None:
    assert read(api.send("things/x", method="GET", x_api_version=version), 400)["code"] == "invalid_api_version"


# -- what every deployment answers --


def test_the_organisation_says_who_it_is(api: Api) -> None:
    for address in ("organization", "organization/me"):
        assert read(api.send(address, method="GET"), 200) == {
            "name": "Subledger",
            "slug": "subledger",
            "env": "sandbox",
        }


def test_api_calls_set_no_cookies_and_read_none(api: Api) -> None:
    response = api.send("organization/me", method="GET", cookie="")
    assert "Set-Cookie" not in response
    assert response.cookies == {}
