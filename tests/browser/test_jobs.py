"""A job under way is seen to move, and nobody loses where they were."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from billing.models import BulkJob
from billing.services import jobs
from config import clock
from config.actor import Actor

pytestmark = pytest.mark.django_db(transaction=True)


def test_progress_is_read_again_in_place_until_the_job_is_over(anna: Page, live_server: Any) -> None:
    job = jobs.begin(
        kind=jobs.Kind.MOVES,
        title="Move holders",
        status=jobs.Status.LOOKING,
        rows=((n, {"customer_id": f"c{n}", "from": 1, "to": 2}) for n in range(1, 101)),
        actor=Actor("staff:anna"),
        at=clock.now(),
    )
    row = BulkJob.objects.filter(pk=job.pk)
    row.update(status="running", looked=100, done=10, leased_until=clock.now() + timedelta(minutes=2))
    anna.goto(live_server.url + reverse("admin:job", args=[job.pk]))
    expect(anna.get_by_text("10 of 100 rows")).to_be_visible()
    anna.evaluate("window.stays = true")
    anna.get_by_role("button", name="Stop").focus()
    row.update(done=60)
    expect(anna.get_by_text("60 of 100 rows")).to_be_visible()
    assert anna.evaluate("[window.stays, document.activeElement.textContent]") == [True, "Stop"]
    row.update(status="done", done=100, leased_until=None)
    expect(anna.get_by_text("100 of 100 rows, done")).to_be_visible()
