"""The running inbox checked against its own OpenAPI document, with valid and invalid requests of schemathesis.

Needs the extra `api`. The requests are derived from a fixed seed, and are the same in every run.
"""

from __future__ import annotations

import itertools
import re

import openapi_spec_validator
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from schemathesis.core.failures import AcceptedNegativeData
from schemathesis.specs.openapi import checks

from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.http.openapi import document

ONLY_DESCRIBED = re.compile(
    "Button ids must be unique|Field ids must be unique|Must name a text or multiple-choice field"
    "|Must name the field's own options|userId and user_id must match|This event "
)
"""The messages of rules that the document has only in its descriptions."""


@pytest.fixture(scope="module")
def inbox():
    with Inbox(rate_limit=0) as running:
        yield running


@pytest.fixture(scope="module")
def connection(inbox):
    """Return the arguments of every request: to the running inbox, with its key, over one connection."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {inbox.api_key}"}
        yield {"base_url": inbox.url, "session": session, "headers": headers}


def accepts_valid_requests(ctx, response, case):
    """Check that valid requests are accepted, except for rules that are only described, such as lengths in UTF-16."""
    try:
        checks.positive_data_acceptance(ctx, response, case)
    except AssertionError:
        if response.status_code == 413 or re.search("[\U00010000-\U0010ffff]", f"{case.body}{case.query}"):
            return
        for problem in response.json()["details"]:
            unknown = problem["path"][0] in ("since", "before") and case.query[problem["path"][0]].startswith("event_")
            if not (unknown or ONLY_DESCRIBED.match(problem["message"])):
                raise


def refuses_invalid_requests(ctx, response, case):
    """Check that other requests are refused, except for idempotency keys of unusual characters, which are allowed."""
    try:
        checks.negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData:
        key = case.headers.get("Idempotency-Key", "")
        if re.fullmatch("[ -~]*", key) or len(key) > 255:
            raise


def fresh(case, numbers=itertools.count()):  # noqa: B008 (one count for all calls)
    """Replace a valid idempotency key by a new one: generated keys are often the same, and would conflict."""
    key = case.headers.get("Idempotency-Key")
    if key is not None and re.fullmatch("[!-~]([ -~]{0,240}[!-~])?", key):
        case.headers["Idempotency-Key"] = f"{key}-{next(numbers)}"


CHECKS = [accepts_valid_requests, refuses_invalid_requests]

config = schemathesis.Config(seed=1)
config.projects.default.generation.update(deterministic=True, max_examples=20)
config.projects.default.checks.update(
    excluded_check_names=[
        "unsupported_method",  # OPTIONS is a 405 too
        "positive_data_acceptance",
        "negative_data_rejection",
    ]
)
schema = schemathesis.openapi.from_dict(document("http://127.0.0.1", rate_limit=0), config=config)


@pytest.mark.parametrize("rate_limit", [0, 100])
def test_is_valid(rate_limit):
    """The document is OpenAPI 3.1, with a rate limit and without one."""
    openapi_spec_validator.validate(document("http://127.0.0.1", rate_limit=rate_limit))


def test_is_served(inbox, connection):
    """The inbox serves the document that the other tests use, without a key."""
    served = requests.get(f"{inbox.url}/openapi.json", timeout=10)
    assert served.json() == document(inbox.url, rate_limit=0)


@schema.parametrize()
def test_every_operation(case, connection):
    """Every response is one that the document describes, and nothing is answered without a key."""
    fresh(case)
    case.call_and_validate(**connection, additional_checks=CHECKS)


def test_one_after_another(connection):
    """The same holds for requests in a sequence, in which the document's links lead to what was created."""

    class Sequence(schema.as_state_machine()):
        def before_call(self, case):
            fresh(case)

        def get_call_kwargs(self, case):
            return connection

        def validate_response(self, response, case, additional_checks=(), **more):
            super().validate_response(response, case, additional_checks=[*additional_checks, *CHECKS], **more)

    run_state_machine_as_test(
        Sequence,
        settings=settings(
            max_examples=40,
            stateful_step_count=5,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
