"""Django's PostgreSQL backend, starting the embedded server when it isn't there."""

from pathlib import Path
from typing import Any

from config import embedded
from config.database import base


class DatabaseWrapper(base.DatabaseWrapper):
    """Connects to the embedded server, which it starts at the first need and after a crash."""

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        """A connection; the server is up afterwards, whoever started it."""
        data = Path(self.settings_dict["EMBEDDED_DATA"])
        embedded.use(data)
        try:
            return super().get_new_connection(conn_params)
        except self.Database.OperationalError:
            embedded.start(data)
            return super().get_new_connection(conn_params)
