"""The WSGI application that granian serves."""

import os
from collections.abc import Callable
from typing import Any

import django
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.db import close_old_connections

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup(set_prefix=False)

from config.api import middleware  # noqa: E402  needs the settings


class Application(WSGIHandler):
    """Takes API calls straight to their view; what Django does around a request is for pages.

    Of that, calls need the look at the kept connection only: whether it failed before, or the server went away.
    """

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        if not environ["PATH_INFO"].startswith(middleware.PREFIX):
            return super().__call__(environ, start_response)
        close_old_connections()
        response = middleware.answer(WSGIRequest(environ))
        body = b"".join(response)
        response["Content-Length"] = str(len(body))
        start_response(f"{response.status_code} {response.reason_phrase}", list(response.items()))
        return [body]


application = Application()
