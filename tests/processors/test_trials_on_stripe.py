"""The tests of tests/api/test_trials.py with Stripe collecting: the same figures."""

import pytest

from tests.api.test_trials import *  # noqa: F403
from tests.conftest import shop  # noqa: F401  that of the plain tests, not the one of this folder

pytestmark = pytest.mark.usefixtures("stripe")
