"""Where webhooks may go: an address that somebody types in must not lead into our own network."""

import socket
from typing import Any

import pytest

from billing.services.webhooks import endpoints, transport
from billing.services.webhooks.endpoints import Terms
from config import clock
from config.errors import InvalidInput
from tests.webhooks.receiver import Receiver

PRIVATE = [
    "127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.9.9", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",  # noqa: S104
    "::1", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:0a00:0001::1", "::",
]  # fmt: skip


@pytest.fixture
def live(settings: Any) -> Any:
    settings.ENVIRONMENT = "live"
    return settings


def name_leads_to(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[Any]:
    """Every name is one for these addresses; the connections that are made are kept."""
    made: list[Any] = []

    def found(host: str, port: int, **_: Any) -> list[Any]:
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, 1, 6, "", (one, port)) for one in addresses]

    def connect(address: Any, **_: Any) -> Any:
        made.append(address)
        raise ConnectionRefusedError("nobody")

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(socket, "create_connection", connect)
    return made


@pytest.mark.parametrize(
    "url",
    [
        "", "nothing", "ftp://example.com/", "https://", "https:///path", "javascript:alert(1)", "https://a:b@example.com/",
        "https://example.com:0/", "https://example.com:99999/", "https://[::1/", "https://exämple.com/",
        "https://e.com/a b",
        "https://e.com/\r\nX: y", "//example.com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        transport.check_url(url)


def test_in_the_sandbox_a_receiver_may_run_on_the_same_machine() -> None:
    assert transport.check_url("http://localhost:3000/hooks#part") == "http://localhost:3000/hooks"


def test_live_webhooks_go_by_https(live: Any) -> None:
    with pytest.raises(InvalidInput, match="https"):
        transport.check_url("http://example.com/")
    live.WEBHOOKS_TO_PRIVATE_ADDRESSES = True
    assert transport.check_url("http://10.0.0.1/")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused_when_it_is_typed_in(live: Any, address: str) -> None:
    with pytest.raises(InvalidInput):
        transport.check_url(f"https://[{address}]/" if ":" in address else f"https://{address}/")


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_not_followed(
    live: Any, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    made = name_leads_to(monkeypatch, "93.184.216.34", address)
    answer = transport.post("https://innocent.example/", "{}", {})
    assert "not public" in answer.error
    assert made == []


def test_the_connection_goes_to_the_address_that_was_looked_at(live: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    made = name_leads_to(monkeypatch, "93.184.216.34")
    assert "nobody" in transport.post("https://innocent.example/", "{}", {}).error
    assert made == [("93.184.216.34", 443)]


def test_another_address_is_tried_where_the_first_takes_no_connection(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(receiver.url.split(":")[2].split("/")[0])
    addresses = [(socket.AF_INET, 1, 6, "", (f"127.0.0.{last}", port)) for last in (2, 1)]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    assert transport.post(f"http://app.example:{port}/", "{}", {}).status == 200
    assert receiver.headers[0]["host"] == f"app.example:{port}"


def test_an_endpoint_added_before_is_refused_when_it_would_be_sent_to(receiver: Receiver, settings: Any) -> None:
    receiver.listen()
    settings.ENVIRONMENT = "live"
    assert "https" in transport.post(receiver.url, "{}", {}).error
    assert receiver.came == []


def test_an_answer_that_takes_too_long_is_none(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TIMEOUT", 0.2)
    receiver.hold.clear()
    answer = transport.post(receiver.url, "{}", {})
    assert answer.status is None
    assert answer.error.startswith("No answer within")


def test_an_answer_that_trickles_in_is_cut_off(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "TIMEOUT", 0.2)
    receiver.trickles = True
    answer = transport.post(receiver.url, "{}", {})
    assert answer.status == 200
    assert answer.took_ms < 900


@pytest.mark.django_db
def test_an_endpoint_can_be_changed_and_its_id_used_again() -> None:
    endpoints.create("app", Terms("https://a.example/"), at=clock.now())
    changed = endpoints.update("app", Terms("https://b.example/", ["billing.updated"] * 2), at=clock.now())
    assert (changed.url, changed.events) == ("https://b.example/", ["billing.updated"])
    endpoints.remove("app", at=clock.now())
    assert endpoints.create("app", Terms("https://a.example/"), at=clock.now()).secret != changed.secret
