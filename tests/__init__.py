"""The tests. The assertions of their helpers are rewritten as those of the tests, and so hold under `python -O`."""

import pkgutil

import pytest

pytest.register_assert_rewrite(*(f"{__name__}.{found.name}" for found in pkgutil.iter_modules(__path__)))
