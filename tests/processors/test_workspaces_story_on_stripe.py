"""The second story with Stripe collecting: the same figures."""

import pytest

from tests.test_workspaces_story import *  # noqa: F403

pytestmark = pytest.mark.usefixtures("stripe")
