"""The WSGI application that granian serves."""

import gc
import os
from collections.abc import Callable
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import DEFAULT_DB_ALIAS, connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from billing.services import background  # noqa: E402  needs the settings
from config.api import middleware  # noqa: E402

background.is_server = True


class Application(WSGIHandler):
    """Takes API calls straight to their view; what Django does around a request is for pages.

    Of that, calls need the look at the kept connection only: whether it failed before, or the server went away.
    """

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if not environ["PATH_INFO"].startswith(middleware.PREFIX):
            return super().__call__(environ, start_response)
        connections[DEFAULT_DB_ALIAS].close_if_unusable_or_obsolete()
        response = middleware.answer(WSGIRequest(environ))
        body = b"".join(response)
        response["Content-Length"] = str(len(body))
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return [body]


application = Application()

# What is loaded now stays: the collector needn't look through all of it again and again. Requests leave few cycles.
gc.collect()
gc.freeze()
gc.set_threshold(50_000, 20, 20)
