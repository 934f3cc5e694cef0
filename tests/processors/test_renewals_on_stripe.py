"""The tests of tests/api/test_renewals.py with Stripe collecting: the same figures."""

import pytest

from tests.api.test_renewals import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("stripe")
