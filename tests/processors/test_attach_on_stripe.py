"""The tests of tests/api/test_attach.py with Stripe collecting: the same figures."""

import pytest

from tests.api.test_attach import *  # noqa: F403
from tests.conftest import shop  # noqa: F401  that of the plain tests, not the one of this folder

pytestmark = pytest.mark.usefixtures("stripe")
