"""A Django site in one file whose LOGGING sends events, and the exceptions of its views, to EmitKit.

python examples/django_site.py runserver --noreload
"""

import logging
import sys

from django.conf import settings
from django.core.management import execute_from_command_line
from django.http import HttpResponse
from django.urls import path

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="only-an-example",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        LOGGING={
            "version": 1,
            "disable_existing_loggers": False,
            "handlers": {
                "emitkit": {
                    "class": "emitkit_logging.EmitKitHandler",
                    "category_channel_map": {"user": "user-activity"},
                }
            },
            "root": {"level": "INFO", "handlers": ["emitkit"]},
        },
    )

logger = logging.getLogger("site")


def sign_up(request):
    logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": request.GET["user"]})
    return HttpResponse("welcome")


def broken_view(request):
    raise RuntimeError("the view is broken")


urlpatterns = [path("signup", sign_up), path("broken", broken_view)]

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
