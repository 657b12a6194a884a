"""The guide for Celery: the application of its first steps, and that of its guide for Django."""

from __future__ import annotations

from tests.programs import get
from tests.stories.project import PATIENCE

PAGE = "guides/celery.md"
READY = r"(ready)\."
QUIET = ("--concurrency", "2", "--without-gossip", "--without-mingle")
ORDERS = """
from celery import shared_task


@shared_task
def ship(order):
    raise RuntimeError(f"order {order} cannot be shipped")
"""
VIEWS = """
from django.http import HttpResponse

from orders.tasks import ship


def buy(request):
    ship.delay(7)
    return HttpResponse("thank you")


urlpatterns += [path("buy", buy)]
"""


def test_first_steps(project, inbox, broker):
    """The event of a task and the exception of another arrive, and the worker's console shows them."""
    project.write(PAGE, "tasks.py")
    with project.serve(PAGE, "celery -A tasks worker --loglevel INFO", READY, *QUIET, BROKER=broker):
        project.run("python", "-c", "import tasks; tasks.add.delay(2, 3); tasks.fail.delay()", BROKER=broker)
        event = inbox.wait_for(title="Sum Computed", timeout=PATIENCE)
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    assert (event["metadata"]["x"], event["metadata"]["server"]["task"]) == (2, "tasks.add")
    assert alert["metadata"]["exception"]["message"] == "the task is broken"
    assert alert["metadata"]["server"]["task"] == "tasks.fail"
    assert project.printed("sum_computed") == 1
    assert len(inbox.events) == 2


def test_with_django(project, inbox, broker):
    """The alert of a task names the page of the view that has sent it."""
    project.do("guides/django.md", "django-admin startproject mysite")
    project.folder /= "mysite"  # $ cd mysite
    project.run("python", "manage.py", "startapp", "orders")
    project.write("guides/django.md", "mysite/settings.py")
    project.write(PAGE, "mysite/celery.py", "mysite/__init__.py")
    project.add("mysite/settings.py", f'INSTALLED_APPS += ["orders"]\nCELERY_BROKER_URL = "{broker}"\n')
    project.add("orders/tasks.py", ORDERS)
    project.add("mysite/urls.py", VIEWS)
    further = ("--bind", "127.0.0.1:0")
    with project.serve("guides/django.md", "gunicorn mysite.wsgi", r"Listening at: (http://[\d.:]+)", *further) as url:
        assert get(f"{url}/buy") == 200
    with project.serve(PAGE, "celery -A mysite worker --loglevel INFO", READY, *QUIET):
        alert = inbox.wait_for(channel="alerts", timeout=PATIENCE)
    assert alert["metadata"]["exception"]["message"] == "order 7 cannot be shipped"
    assert alert["metadata"]["page"]["path"] == "/buy"
    assert alert["metadata"]["server"]["task"] == "orders.tasks.ship"
    assert len(inbox.events) == 1
