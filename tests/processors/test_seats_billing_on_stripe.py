"""The tests of tests/api/test_seats_billing.py with Stripe collecting: the same figures."""

import pytest

from tests.api.test_seats_billing import *  # noqa: F403
from tests.conftest import shop  # noqa: F401  that of the plain tests, not the one of this folder

pytestmark = pytest.mark.usefixtures("stripe")

# It looks into the sandbox's own table.
del test_a_declined_card_leaves_no_trace_of_the_seat  # noqa: F821
