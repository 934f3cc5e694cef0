"""Resets: rows per second of the command against one big UPDATE that does the least."""


def run(*, rows: int, rounds: int) -> None:
    """Print rows per second of both, in turns."""
