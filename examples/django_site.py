"""A Django site in one file. Its LOGGING sends events, and the exceptions of its views, to EmitKit with the request.

python examples/django_site.py runserver --noreload
gunicorn --chdir examples django_site:application
"""

import logging
import sys
from pathlib import Path

from django.conf import settings
from django.core.management import execute_from_command_line
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

from emitkit_logging.proxy import django_view

if not settings.configured:
    settings.configure(
        DEBUG=False,
        SECRET_KEY="only-an-example",
        ALLOWED_HOSTS=["127.0.0.1", "localhost"],
        ROOT_URLCONF=__name__,
        MIDDLEWARE=[
            "emitkit_logging.middleware.django.EventContextMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
        ],
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


def page(request):
    return HttpResponse(Path(__file__).with_name("page.html").read_bytes())


def sign_up(request):
    logger.info("user_signed_up", extra={"event": "user_signed_up", "user_id": request.GET["user"]})
    return HttpResponse("welcome")


def broken_view(request):
    raise RuntimeError("the view is broken")


urlpatterns = [
    path("", page),
    path("signup", sign_up),
    path("broken", broken_view),
    path("api/analytics", django_view(channels=["feedback"])),
]
application = get_wsgi_application()

if __name__ == "__main__":
    execute_from_command_line(sys.argv)
