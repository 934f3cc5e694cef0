import pytest

from tests.client import Api
from tests.selling import Shop, three_plans


@pytest.fixture(scope="module")
def opened(stage: Api) -> Shop:
    """A shop with Free, Pro and Premium."""
    return three_plans(stage)
