"""Work beside requests, within the same process: rows say what is left to do, so nothing is lost when it ends."""

import threading
from collections.abc import Callable

from django.db import connection

# Set by config.wsgi: who serves requests lives on after the next; a command has its work done before it ends.
is_server = False


def start(name: str, work: Callable[[], object]) -> None:
    """Go to work in a thread of its own. Whoever cares that it gets done has `run_due` look again."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()  # this thread's own

    threading.Thread(target=run, name=name, daemon=True).start()
