"""Faults that a test orders in advance: which call goes wrong, and how."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Fault(StrEnum):
    """How a call goes wrong."""

    LOST_REPLY = "lost reply"  # done, but the answer never arrives
    TIMEOUT = "timeout"  # never arrives, nothing is done
    RATE_LIMIT = "429"
    SERVER_ERROR = "500"  # nothing is done; the key is not used up
    STICKY_SERVER_ERROR = "sticky 500"  # nothing is done, and the same key gets the same 500 for a day
    LOCKED = "lock timeout"
    KEY_IN_USE = "409"  # an earlier try with the same key is still at work
    FORBIDDEN = "403"
    UNAUTHORIZED = "401"


@dataclass(slots=True)
class Order:
    """A fault for the calls that `matches` (method and path), `times` in a row (None: for ever)."""

    fault: Fault
    matches: Callable[[str, str], bool]
    times: int | None = 1
    skip: int = 0


class Faults:
    """What was ordered, and what came of it."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.struck: list[tuple[Fault, str]] = []

    def order(self, fault: Fault, *, call: str = "", times: int | None = 1, skip: int = 0) -> None:
        """Let calls fail whose "METHOD /path" contains `call`, after `skip` of them went through."""
        self.orders.append(Order(fault, lambda method, path: call in f"{method} {path}", times, skip))

    def strike(self, method: str, path: str) -> Fault | None:
        """The fault of this call, if any."""
        for order in self.orders:
            if order.times == 0 or not order.matches(method, path):
                continue
            if order.skip:
                order.skip -= 1
                continue
            if order.times is not None:
                order.times -= 1
            self.struck.append((order.fault, f"{method} {path}"))
            return order.fault
        return None

    def clear(self) -> None:
        self.orders = []
