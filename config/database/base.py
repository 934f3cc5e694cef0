from selectors import EVENT_READ, DefaultSelector

from django.db.backends.postgresql import base


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL over connections that are kept."""

    def is_usable(self) -> bool:
        """Is the kept connection still good? Django asks before the first statement of each request.

        An idle connection has nothing to say. If there is something to read, the server has said goodbye or is gone.
        """
        if self.connection is None or self.connection.closed:
            return False
        with DefaultSelector() as selector:
            selector.register(self.connection.fileno(), EVENT_READ)
            return not selector.select(timeout=0)
