"""What a customer-level read costs as the customer's entities grow from 10 to 10 000."""

from itertools import repeat
from statistics import median

import orjson

from tests.bench import load
from tests.bench.servers import Contestant, Database

_CALLS = {
    "balances.check": {"feature_id": "messages"},
    "customers.get": {},
}


def run(ours: Contestant, database: Database, key: str, *, rounds: int) -> None:
    """Print CPU per request for a customer of 10 and one of 10 000 entities, and the factor between them."""
    print("\nCustomer-level reads: CPU per request in µs, application + PostgreSQL\n")  # noqa: T201
    print("| call | 10 entities | 10 000 entities | factor |\n| --- | --- | --- | --- |")  # noqa: T201
    for call, fields in _CALLS.items():
        costs: dict[str, list[float]] = {"narrow": [], "wide": []}
        for turn in range(rounds + 1):
            for customer, seen in costs.items():
                body = orjson.dumps({"customer_id": customer, **fields})
                before = ours.cpu() + database.cpu()
                outcome = load.run(
                    port=ours.port,
                    requests=repeat(load.request(f"/v1/{call}", key, body)),
                    connections=8,
                    seconds=1.0,
                )
                cpu = ours.cpu() + database.cpu() - before
                if turn:
                    seen.append(cpu / len(outcome.latencies) * 1e6)
        narrow, wide = (median(costs[name]) for name in ("narrow", "wide"))
        print(f"| {call} | {narrow:.0f} | {wide:.0f} | {wide / narrow:.2f} |", flush=True)  # noqa: T201
