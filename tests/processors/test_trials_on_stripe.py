"""The tests of tests/api/test_trials.py with Stripe collecting: the same figures."""

import pytest

from tests.api.test_trials import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("stripe")
