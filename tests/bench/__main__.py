"""How fast check, track and resets are, as ratios against the least that could do the same work.

    .venv/bin/python -m tests.bench [--quick] [requests growth resets pages]

Uses DATABASE_URL if it is set (an empty database on this machine), else an embedded PostgreSQL in .data/bench.
"""

import argparse
import os
import sys
from pathlib import Path

import django

_PARTS = ("requests", "growth", "resets", "pages")


def main() -> None:
    """Read the options, prepare the database, run the parts asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[*_PARTS, []], help="default: all")
    parser.add_argument("--quick", action="store_true", help="a minute or two, for a rough idea")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--only", default="", help="only shapes whose name holds this")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="per contestant and round")
    parser.add_argument("--without-naive", action="store_true")
    options = parser.parse_args()
    if options.quick:
        options.connections, options.rounds, options.seconds = [1, 64], 2, 1.0

    root = Path(__file__).resolve().parents[2]
    if not os.environ.get("DATABASE_URL"):
        os.environ["SUBLEDGER_DATA"] = str(root / ".data" / "bench")
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    sys.path.insert(0, str(root))
    django.setup()
    # Models can be imported only now.
    from tests.bench import runs  # noqa: PLC0415

    runs.run(options, options.parts or list(_PARTS))


if __name__ == "__main__":
    main()
