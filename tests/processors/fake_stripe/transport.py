"""The hook into the SDK: requests that never leave the process."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import stripe

from tests.processors.fake_stripe.server import FakeStripe, Lost


class Transport(stripe.HTTPClient):
    """An HTTP client whose other end is a FakeStripe. Retries don't wait."""

    name = "fake"

    def __init__(self, fake: FakeStripe) -> None:
        super().__init__()
        self.fake = fake

    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None,
        post_data: Any = None,
        *,
        _usage: list[str] | None = None,
    ) -> tuple[str, int, Mapping[str, str]]:
        parts = urlsplit(url)
        named = {name.lower(): value for name, value in (headers or {}).items()}
        form = post_data if method.upper() == "POST" else parts.query
        try:
            answer = self.fake.answer(method.upper(), parts.path, form or "", named)
        except Lost as lost:
            raise stripe.APIConnectionError(  # type: ignore[no-untyped-call]
                f"Unexpected error communicating with Stripe ({lost}).", should_retry=True
            ) from lost
        return json.dumps(answer.body), answer.status, {name.lower(): value for name, value in answer.headers.items()}

    def close(self) -> None:
        """Nothing to close."""

    def _sleep_time_seconds(self, num_retries: int) -> float:
        return 0.0
