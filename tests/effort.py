"""How hard the tests that play dice try: enough to notice by default, and with SUBLEDGER_THOROUGH=1 to search."""

import os

THOROUGH = bool(os.environ.get("SUBLEDGER_THOROUGH"))


def tries(usually: int, thoroughly: int) -> int:
    """So many examples, steps or lives."""
    return thoroughly if THOROUGH else usually
