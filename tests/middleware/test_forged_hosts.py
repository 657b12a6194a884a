"""Requests with a forged `Host` header, with the filter that the Django guide shows and without it."""

from __future__ import annotations

import re

import pytest

from tests.docs.pages import blocks
from tests.programs import run

LOGGING, FILTER = [
    next(block.text for block in blocks("guides/django.md", "python") if beginning in block.text)
    for beginning in ("LOGGING = {", 'LOGGING["filters"] = {')
]
MIDDLEWARE = "MIDDLEWARE = []\n"

SITE = """
import logging, sys
import django
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.http import HttpResponse
from django.test import RequestFactory
from django.urls import path

def fine(request):
    return HttpResponse(request.get_host())

urlpatterns = [path("", fine)]
settings.configure(
    ALLOWED_HOSTS=["shop.example"], ROOT_URLCONF=__name__, LOGGING=LOGGING, LOGGING_CONFIG="logging.config.dictConfig"
)
django.setup()
application = WSGIHandler()
for number in range(20):
    environ = RequestFactory(HTTP_HOST=f"forged-{number}.example").get("/").META
    list(application({**environ, "wsgi.input": sys.stdin.buffer}, lambda status, headers: print(status)))
logging.getLogger("shop").error("payment provider is down")
logging.shutdown()
"""


def alerts(inbox, settings: str) -> list[str]:
    done = run("-c", settings + SITE)
    assert done.stdout.count("400 Bad Request") == 20
    assert len(re.findall("^Invalid HTTP_HOST", done.stderr, re.MULTILINE)) == 20  # in the console, each of them
    return [event["title"] for event in inbox.events if event["channelName"] == "alerts"]


@pytest.mark.parametrize("is_filtered", [True, False])
def test_forged_hosts(emitkit_inbox, is_filtered):
    """With the guide's filter they are no alerts; without it they are of one kind, which folds. Other alerts stay."""
    titles = alerts(emitkit_inbox, MIDDLEWARE + LOGGING + (FILTER if is_filtered else ""))
    forged = [title for title in titles if "HTTP_HOST" in title]
    assert titles.count("payment provider is down") == 1
    assert len(forged) == 0 if is_filtered else 1 < len(forged) <= 6
