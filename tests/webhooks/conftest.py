from collections.abc import Iterator

import pytest

from tests.webhooks.receiver import Receiver, receiving


@pytest.fixture
def receiver(db: None) -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver
