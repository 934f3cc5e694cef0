import pytest

from tests.client import Api
from tests.selling import Shop, monthly


@pytest.fixture
def shop(api: Api) -> Shop:
    """Free, Pro at 20 and Premium at 50 a month, for accounts and workspaces alike."""
    shop = Shop(api)
    shop.plan("free", None, monthly("messages", 100))
    shop.plan("pro", 20, monthly("messages", 500))
    shop.plan("premium", 50, monthly("messages", 1000))
    return shop
