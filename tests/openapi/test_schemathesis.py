"""The running inbox held to its own OpenAPI document by schemathesis, on requests that fit it and on some that do not.

Needs the extra `api`. What is requested is derived from a fixed seed, and is the same in every run.
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

SAID_IN_WORDS = re.compile(
    "Button ids must be unique|Field ids must be unique|Must name a text or multiple-choice field"
    "|Must name the field's own options|userId and user_id must match|This event "
)
"""What fits the schemas and is refused all the same, by a rule that the document has in its descriptions."""


@pytest.fixture(scope="module")
def inbox():
    with Inbox(rate_limit=0) as running:
        yield running


@pytest.fixture(scope="module")
def asking(inbox):
    """Return how every request is made: at the running inbox, with its key, over one connection."""
    with requests.Session() as session:
        session.trust_env = False
        headers = {"Authorization": f"Bearer {inbox.api_key}"}
        yield {"base_url": inbox.url, "session": session, "headers": headers}


def takes_what_fits(ctx, response, case):
    """Want what fits the schemas to be accepted, but for what is said in words, lengths in UTF-16 among it."""
    try:
        checks.positive_data_acceptance(ctx, response, case)
    except AssertionError:
        if response.status_code == 413 or (case.body and re.search("[\U00010000-\U0010ffff]", str(case.body))):
            return
        for problem in response.json()["details"]:
            unknown = problem["path"][0] in ("since", "before") and case.query[problem["path"][0]].startswith("event_")
            if not (unknown or SAID_IN_WORDS.match(problem["message"])):
                raise


def refuses_what_does_not(ctx, response, case):
    """Want the rest to be refused, but for idempotency keys of unusual characters: they are only advised against."""
    try:
        checks.negative_data_rejection(ctx, response, case)
    except AcceptedNegativeData:
        key = case.headers.get("Idempotency-Key", "")
        if re.fullmatch("[ -~]*", key) or len(key) > 255:
            raise


def fresh(case, numbers=itertools.count()):  # noqa: B008 (one count for all)
    """Make a good idempotency key a new one: generated ones are the same again and again, and so conflict."""
    key = case.headers.get("Idempotency-Key")
    if key is not None and re.fullmatch("[!-~]([ -~]{0,240}[!-~])?", key):
        case.headers["Idempotency-Key"] = f"{key}-{next(numbers)}"


CHECKS = [takes_what_fits, refuses_what_does_not]

config = schemathesis.Config(seed=1)
config.projects.default.generation.update(deterministic=True, max_examples=20)
config.projects.default.checks.update(
    excluded_check_names=[
        "unsupported_method",  # the API answers 404
        "positive_data_acceptance",
        "negative_data_rejection",
    ]
)
schema = schemathesis.openapi.from_dict(document("http://127.0.0.1", rate_limit=0), config=config)


@pytest.mark.parametrize("rate_limit", [0, 100])
def test_is_valid(rate_limit):
    """The document is OpenAPI 3.1, with a rate limit and without one."""
    openapi_spec_validator.validate(document("http://127.0.0.1", rate_limit=rate_limit))


def test_is_served(inbox, asking):
    """Everybody gets the document that the other tests are made from."""
    served = requests.get(f"{inbox.url}/openapi.json", timeout=10)
    assert served.json() == document(inbox.url, rate_limit=0)


@schema.parametrize()
def test_every_operation(case, asking):
    """Whatever is asked, the answer is one that the document tells of; nothing is answered without a key."""
    fresh(case)
    case.call_and_validate(**asking, additional_checks=CHECKS)


def test_one_after_another(asking):
    """The same for what was created: it is got, cancelled and deleted by the document's links."""

    class Story(schema.as_state_machine()):
        def before_call(self, case):
            fresh(case)

        def get_call_kwargs(self, case):
            return asking

        def validate_response(self, response, case, additional_checks=(), **more):
            super().validate_response(response, case, additional_checks=[*additional_checks, *CHECKS], **more)

    run_state_machine_as_test(
        Story,
        settings=settings(
            max_examples=40,
            stateful_step_count=5,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
