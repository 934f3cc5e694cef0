"""webhooks.*: an application that sets up where it is told."""

from typing import Any

import pytest

from tests.client import Api

URL = "https://app.example/webhooks"


def add(api: Api, **more: Any) -> Any:
    return api.post("webhooks.create", **{"id": "app", "url": URL, "events": ["billing.updated"], **more})


def test_an_endpoint_is_made_with_a_secret_that_is_told_once(api: Api) -> None:
    made = add(api, description="The app")
    assert made.pop("secret").startswith("whsec_")
    assert {name: made[name] for name in ("id", "url", "events", "description", "disabled")} == {
        "id": "app",
        "url": URL,
        "events": ["billing.updated"],
        "description": "The app",
        "disabled": False,
    }
    assert api.post("webhooks.get", id="app") == made
    assert api.post("webhooks.list") == {"list": [made]}


def test_an_endpoint_is_changed_in_what_is_given_and_removed(api: Api) -> None:
    add(api)
    changed = api.post("webhooks.update", id="app", disabled=True, events=[])
    assert (changed["disabled"], changed["events"], changed["url"]) == (True, [], URL)
    assert api.post("webhooks.delete", id="app") == {"success": True}
    assert api.post("webhooks.list") == {"list": []}
    assert api.refused(404, "webhooks.get", id="app")["code"] == "webhook_not_found"


def test_an_id_is_given_once(api: Api) -> None:
    add(api)
    refusal = api.refused(409, "webhooks.create", id="app", url=URL)
    assert refusal["code"] == "webhook_already_exists"


@pytest.mark.parametrize("wrong", [{"url": "nothing"}, {"events": ["balances.unheard_of"]}, {"url": ""}, {"id": ""}])
def test_what_makes_no_sense_is_refused(api: Api, wrong: dict[str, Any]) -> None:
    body = {"id": "app", "url": URL, **wrong}
    assert api.refused(400, "webhooks.create", **body)["code"] == "invalid_inputs"


def test_webhooks_of_which_nothing_is_sent_can_be_listed(api: Api) -> None:
    assert add(api, events=["invoice.finalized"])["events"] == ["invoice.finalized"]
