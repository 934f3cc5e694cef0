"""The first story with Stripe collecting: the same figures."""

import pytest

from tests.test_seats_story import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("stripe")
