"""Calling the API in tests the way a client does."""

from decimal import Decimal
from typing import Any

import msgspec
from django.test import Client

from config.api import encode

_numbers_kept = msgspec.json.Decoder(float_hook=Decimal)


class Api:
    """A client holding one key.

    `api.post("customers.get", customer_id="acme")` expects 200 and gives the JSON, `api.refused(404, …)` expects
    that status and gives the error; `api.send` gives the raw response.
    """

    def __init__(self, secret: str = "", **headers: str) -> None:
        self.http = Client()
        self.headers = {**({"Authorization": f"Bearer {secret}"} if secret else {}), **headers}

    def send(
        self,
        path: str,
        body: Any = None,
        *,
        method: str = "POST",
        content_type: str = "application/json",
        **headers: str,
    ) -> Any:
        """The response to `body`, bytes or what becomes JSON; headers as in `x_api_version="1.2"`."""
        raw = body if isinstance(body, bytes) else b"" if body is None else encode(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response: Any = self.http.generic(
            method, f"/v1/{path}", raw, content_type=content_type, headers={**self.headers, **named}
        )
        return response

    def post(self, path: str, /, **body: Any) -> Any:
        """The JSON of a call that answers 200."""
        return read(self.send(path, body), 200)

    def refused(self, status: int, path: str, /, **body: Any) -> Any:
        """The JSON of a call that answers `status`."""
        return read(self.send(path, body), status)


def read(response: Any, status: int) -> Any:
    """The JSON of a response that must have `status`; numbers with a point are Decimals."""
    assert response.status_code == status, f"{response.status_code}: {response.content.decode()[:500]}"
    assert response["Content-Type"] == "application/json"
    return _numbers_kept.decode(response.content)
