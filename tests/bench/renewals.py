"""How many renewals a second `run_due` makes in the sandbox, what one costs, and whether the books balance afterwards.

    .venv/bin/python -m tests.bench.renewals [--customers 100 1000] [--entities 10] [--months 12]

Each customer has entities on mixed plans and a plan of its own with seats; the usage of each month is made up between
the runs. Empties and fills a database of its own in .data/renewals; a DATABASE_URL has to be an empty one.
"""

import argparse
import os
import sys
from pathlib import Path

import django


def main() -> None:
    """Read the options, prepare the database, run the year."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.renewals", description=__doc__)
    parser.add_argument("--customers", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--entities", type=int, default=10)
    parser.add_argument("--months", type=int, default=12)
    parser.add_argument("--profile", action="store_true", help="say where the time of the application goes")
    options = parser.parse_args()

    root = Path(__file__).resolve().parents[2]
    if not os.environ.get("DATABASE_URL"):
        os.environ["SUBLEDGER_DATA"] = os.environ.get("BENCH_DATA") or str(root / ".data" / "renewals")
    os.environ.update({"DJANGO_SETTINGS_MODULE": "config.settings", "ALLOWED_HOSTS": "testserver", "TLS": "false"})
    sys.path.insert(0, str(root))
    django.setup()
    # Models can be imported only now.
    from tests.bench import years  # noqa: PLC0415

    years.run(options)


if __name__ == "__main__":
    main()
