"""Who does something, and in which request: what the ledger and the logs keep beside every change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """`name` is "key:<prefix>", "staff:<username>" or a command's name; `request_id` may be empty."""

    name: str
    request_id: str = ""


# Who acts where no person and no application does.
_BY_ITSELF = {
    "run_due": "schedule",
    "reset": "schedule",
    "reset_balances": "schedule",
    "processor": "payment processor",
    "load_demo": "demo data",
}


def told(name: str) -> str:
    """An actor's name as people say it: `anna`, `API key sl_test_abc…`, `schedule`."""
    kind, _, who = name.partition(":")
    if kind == "key" and who:
        return f"API key {who}…"
    return who if kind == "staff" and who else _BY_ITSELF.get(name, name.replace("_", " "))
