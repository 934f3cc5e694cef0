"""Posting to an address that somebody else chose: bounded in time and size, and never into our own network by mistake.

In the live environment only https and public addresses will do, unless WEBHOOKS_TO_PRIVATE_ADDRESSES is set. The name
is resolved once, and the connection goes to the address that was looked at: a name that means something else a
moment later leads nowhere else. Redirects are answers like any other; nobody follows them.
"""

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException
from urllib.parse import SplitResult, urlsplit

from django.conf import settings

from config.errors import InvalidInput

TIMEOUT = 15.0  # seconds from the connection to the answer
CONNECT_TIMEOUT, MOST_ADDRESSES = 5.0, 3
MOST_ANSWER = 1000  # bytes that are kept
USER_AGENT = "Subledger-Webhooks/1.0"
# Networks in which an address of version 4 is spelt as one of version 6, private ones included.
_SPELT_OTHERWISE = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32")))


class AddressRefused(Exception):
    """It leads where nothing may be sent from here."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of an attempt: a status and the beginning of the body, or why there is none."""

    took_ms: int
    status: int | None = None
    body: str = ""
    error: str = ""

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


def is_strict() -> bool:
    """Whether only public addresses by https will do."""
    return settings.ENVIRONMENT == "live" and not settings.WEBHOOKS_TO_PRIVATE_ADDRESSES


def check_url(url: str) -> str:
    """The address as it can be sent to; raises InvalidInput for one that can't, as far as can be told by reading it."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as problem:
        raise InvalidInput(f"url {url[:100]!r} is no address.") from problem
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise InvalidInput("url must be an address such as https://example.com/webhooks.")
    if parts.username or parts.password:
        raise InvalidInput("url must not hold a password: it is shown to everybody here. Verify signatures instead.")
    if not parts.netloc.isascii() or any(ord(char) <= 32 or ord(char) > 126 for char in url.strip()):
        raise InvalidInput("url must be in plain letters: write other characters as their %-codes or in Punycode.")
    if is_strict():
        if parts.scheme != "https":
            raise InvalidInput("url must begin with https:// in the live environment.")
        try:
            _refuse_private(ipaddress.ip_address(parts.hostname))
        except AddressRefused as refusal:
            raise InvalidInput(f"url {refusal}") from refusal
        except ValueError:
            pass  # a name; where it leads is looked at when something is sent
    return parts._replace(fragment="").geturl()


def post(url: str, body: str, headers: Mapping[str, str]) -> Answer:
    """POST JSON; whatever goes wrong is told in the answer. Takes half a minute at most, looking the name up apart."""
    began = time.monotonic()
    try:
        status, answer = _post(urlsplit(check_url(url)), body.encode(), headers)
        return Answer(_since(began), status, answer)
    except (AddressRefused, InvalidInput) as refusal:
        return Answer(_since(began), error=str(refusal)[:300])
    except (OSError, HTTPException, ValueError) as problem:
        return Answer(_since(began), error=_told(problem, began)[:300])


def _post(parts: SplitResult, body: bytes, headers: Mapping[str, str]) -> tuple[int, str]:
    host, is_secure = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if is_secure else 80)
    connection = HTTPConnection(host, port)
    used = [_connect(host, port)]  # the last of them; the connection lets go of it while the answer is read
    # The socket's own timeout is for each wait; an answer that trickles in would never meet it.
    watch = threading.Timer(TIMEOUT, _hang_up, [used])
    watch.daemon = True
    watch.start()
    try:
        if is_secure:
            secure = _tls().wrap_socket(used[-1], server_hostname=host, do_handshake_on_connect=False)
            used.append(secure)
            secure.do_handshake()
        connection.sock = used[-1]
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        # The port is named where it isn't the usual one, which HTTPConnection takes for 80.
        name = f"[{host}]" if ":" in host else host
        sent = {
            "Host": name if port == (443 if is_secure else 80) else f"{name}:{port}",
            "Content-Type": "application/json",
            "User-Agent": USER_AGENT,
            "Connection": "close",
        }
        connection.request("POST", target, body, sent | dict(headers))
        response = connection.getresponse()
        return response.status, response.read(MOST_ANSWER).decode(errors="replace").replace("\0", "")
    finally:
        watch.cancel()
        connection.close()
        used[-1].close()


def _connect(host: str, port: int) -> socket.socket:
    """A connection to the first of its addresses that takes one; all of them were looked at."""
    found = [address[:2] for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if is_strict():
        for address, *_ in found:
            _refuse_private(ipaddress.ip_address(str(address).partition("%")[0]))
    problem: OSError = OSError(f"{host} has no address")
    for address, at_port in found[:MOST_ADDRESSES]:
        try:
            connected = socket.create_connection((str(address), int(at_port)), timeout=CONNECT_TIMEOUT)
        except OSError as failed:
            problem = failed
        else:
            connected.settimeout(TIMEOUT)
            return connected
    raise problem


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


def _refuse_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    is_hidden = any(address.version == network.version and address in network for network in _SPELT_OTHERWISE)
    if not address.is_global or address.is_multicast or address.is_reserved or is_hidden:
        raise AddressRefused(
            f"leads to {address}, which is not public. Set WEBHOOKS_TO_PRIVATE_ADDRESSES if that is meant."
        )


def _hang_up(used: list[socket.socket]) -> None:
    with suppress(OSError):  # it was over already
        # Not SSLSocket's own, which takes away what the reading thread is just using.
        socket.socket.shutdown(used[-1], socket.SHUT_RDWR)


def _since(began: float) -> int:
    return int((time.monotonic() - began) * 1000)


def _told(problem: Exception, began: float) -> str:
    if isinstance(problem, TimeoutError) or time.monotonic() - began >= TIMEOUT:
        return f"No answer within {TIMEOUT:.0f} seconds"
    if isinstance(problem, socket.gaierror):
        return f"The name could not be found: {problem.strerror or problem}"
    if isinstance(problem, ConnectionError) and problem.strerror:
        return problem.strerror
    return f"{type(problem).__name__}: {problem}"
