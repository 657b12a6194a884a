"""Middleware that gives each record of a request or a task its context: page, device, server, utm and user.

There is one module for each framework: `wsgi`, `asgi` (also for Starlette and FastAPI), `django`, `flask` and `celery`.
Each imports its framework, and the rest of the package imports none of them.
"""
