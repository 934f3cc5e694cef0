"""The parts of the bench: requests over HTTP, growth with the number of entities, resets."""

import argparse
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.db import connection

from config import clock, embedded
from config.access import keys
from tests.bench import growth, load, pages, resets, shapes
from tests.bench.load import Outcome
from tests.bench.servers import Contestant, Database, contestants
from tests.bench.shapes import SHAPES, Shape


def run(options: argparse.Namespace, parts: list[str]) -> None:
    """Prepare an empty database, run the parts, and stop the embedded server again."""
    _prepare()
    try:
        if "requests" in parts or "growth" in parts:
            _over_http(options, parts)
        if "pages" in parts:
            pages.run(rounds=options.rounds)
        if "resets" in parts:
            resets.run(dsn(), rows=20_000 if options.quick else 100_000, rounds=options.rounds)
    finally:
        connection.close()
        if settings.IS_EMBEDDED:
            embedded.stop_if_unused(settings.SUBLEDGER_DATA)


def dsn() -> str:
    """How plain drivers reach the database."""
    known = connection.settings_dict
    names = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}
    return " ".join(f"{name}='{known[key]}'" for name, key in names.items() if known.get(key))


def _prepare() -> None:
    with connection.cursor() as cursor:
        if settings.IS_EMBEDDED:
            cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
        elif connection.introspection.table_names(cursor):
            raise SystemExit("The bench fills the database with customers of its own: give it an empty one.")
    call_command("migrate", verbosity=0)
    print("Filling the database …", flush=True)  # noqa: T201
    shapes.fill(at=clock.now())
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


def _over_http(options: argparse.Namespace, parts: list[str]) -> None:
    _, secret = keys.create(name="Bench", at=clock.now())
    names = ("bare", "ours") if options.without_naive else ("bare", "ours", "naive")
    running = [contestant for contestant in contestants() if contestant.name in names]
    environment = {"BENCH_KEY": secret, "BENCH_DATABASE": dsn(), "ALLOWED_HOSTS": "127.0.0.1", "TLS": "false"}
    try:
        for contestant in running:
            contestant.start(environment)
        database = Database(dsn())
        if "requests" in parts:
            _requests(options, running, database, secret)
        if "growth" in parts:
            growth.run(next(c for c in running if c.name == "ours"), database, secret, rounds=options.rounds)
    finally:
        for contestant in running:
            contestant.stop()


def _requests(options: argparse.Namespace, running: list[Contestant], database: Database, key: str) -> None:
    names = [contestant.name for contestant in running]
    print("\nCPU per request in µs, application + PostgreSQL; ratio = bare / ours\n")  # noqa: T201
    columns = ["call", "shape", "conn.", *names, "ratio", "ours/s", "bare/s", "p50 ms", "p99 ms", "bare p99"]
    _row(columns)
    _row(["---"] * len(columns))
    for verb in ("check", "track"):
        for shape in SHAPES:
            if options.only not in shape.name:
                continue
            for connections in options.connections:
                seen = _compare(options, running, database, key, verb, shape, connections)
                cost = {name: cpu / len(outcome.latencies) * 1e6 for name, (cpu, outcome) in seen.items()}
                ours, bare = seen["ours"][1], seen["bare"][1]
                _row(
                    [
                        *(verb, shape.name, connections),
                        *(f"{cost[name]:.0f}" for name in names),
                        *(f"{cost['bare'] / cost['ours']:.0%}", f"{ours.rate:.0f}", f"{bare.rate:.0f}"),
                        *(f"{ours.percentile(0.5) * 1e3:.2f}", f"{ours.percentile(0.99) * 1e3:.2f}"),
                        f"{bare.percentile(0.99) * 1e3:.2f}",
                    ]
                )


def _compare(
    options: argparse.Namespace,
    running: list[Contestant],
    database: Database,
    key: str,
    verb: str,
    shape: Shape,
    connections: int,
) -> dict[str, tuple[float, Outcome]]:
    """CPU and outcome by contestant, who take turns: what else the machine does meets them all."""
    seen = {contestant.name: (0.0, Outcome()) for contestant in running}
    for turn in range(options.rounds + 1):
        for contestant in running:
            bodies = shape.bodies(seed=turn)
            path = contestant.paths[verb, shape.pooled]
            requests = (load.request(path, key, body) for body in bodies)
            # The first turn warms up connections, prepared statements and caches.
            seconds = options.seconds if turn else 0.5
            before = contestant.cpu() + database.cpu()
            outcome = load.run(port=contestant.port, requests=requests, connections=connections, seconds=seconds)
            cpu = contestant.cpu() + database.cpu() - before
            if turn:
                total = seen[contestant.name]
                total[1].add(outcome)
                seen[contestant.name] = (total[0] + cpu, total[1])
    return seen


def _row(cells: list[Any]) -> None:
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)  # noqa: T201
