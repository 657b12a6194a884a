"""Middleware that gives every record of a request or a task its context: page, device, server, utm and user.

One module for each framework: `wsgi`, `asgi` (Starlette and FastAPI too), `django`, `flask`, `celery`. Each imports its
framework, and none is imported by another room of the package.
"""
