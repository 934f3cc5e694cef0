"""Who does something, and in which request: what the ledger and the logs keep beside every change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` is "key:<prefix>", "staff:<username>" or a command's name; `request_id` may be empty."""

    name: str
    request_id: str = ""
