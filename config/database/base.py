import select
from typing import Any

from django.db.backends.postgresql import base

_MOST_PREPARED = 500  # all calls together have some hundred statements; savepoints, named anew, push others out


class DatabaseWrapper(base.DatabaseWrapper):
    """PostgreSQL over connections that are kept."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection that keeps the plans of all that comes again."""
        connection = super().get_new_connection(conn_params)
        connection.prepared_max = _MOST_PREPARED
        return connection

    def is_usable(self) -> bool:
        """Is the kept connection still good? Django asks before the first statement of each request.

        An idle connection has nothing to say. If there is something to read, the server has said goodbye or is gone.
        """
        if self.connection is None or self.connection.closed:
            return False
        number = self.connection.fileno()
        if not hasattr(select, "poll"):  # Windows
            return not select.select([number], [], [], 0)[0]
        asked = select.poll()
        asked.register(number, select.POLLIN)
        return not asked.poll(0)
