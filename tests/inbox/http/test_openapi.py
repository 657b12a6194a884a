"""The OpenAPI document: it describes requests as they are validated, and responses as they are."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from emitkit_logging._api.contract import CURRENT
from emitkit_logging.inbox import Inbox
from emitkit_logging.inbox.http.openapi import document

from ...api import test_contract

URL = "http://127.0.0.1:8000/api"

ONLY_DESCRIBED = {
    "Button ids must be unique",
    "Field ids must be unique",
    "Must name a text or multiple-choice field",
    "Must name the field's own options",
    "userId and user_id must match when both are sent",
}
"""The messages of rules that the schemas have only in their descriptions."""


def _pattern(validator, pattern, instance, schema):
    """Match as ECMA-262 does, where `$` is the end and never the line break before it."""
    if isinstance(instance, str) and not re.search(re.sub(r"\$$", r"\\Z", pattern), instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


Validator = jsonschema.validators.extend(jsonschema.Draft202012Validator, {"pattern": _pattern})

# Values near what a schema allows: mostly within it, sometimes just outside.

BMP = st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"])
TEXTS = ["a", "b", "a-b_1", "submit", "https://x.y/z", "http://localhost:1", "HTTPS://é", "x" * 64]
BAD_TEXTS = [
    "",
    "a b",
    "a\n",
    "x" * 65,
    "http://x",
    "https:///",
    "https:// x",
    "httpſ://x",
    "https://emitkit.com",
    "http://localhost",
]
ANYTHING = [None, True, False, 0, 1, 1.0, 1.5, "x", [], {}, [{}], {"id": "a"}, {"url": "u"}]


def seldom(bad, good):
    return st.integers(0, 49).flatmap(lambda number: bad if number == 49 else good)


def near(schema):
    """Return a strategy of values near `schema`; rules between fields are not taken into account."""
    return seldom(st.sampled_from(ANYTHING), within(schema))


def within(schema):
    if "type" not in schema and ("anyOf" in schema or "oneOf" in schema):
        return st.one_of([near(each) for each in schema.get("anyOf", schema.get("oneOf"))])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = schema["type"]
    if kind == ["string", "null"]:
        return st.none() | within({**schema, "type": "string"})
    return {
        "string": _texts,
        "integer": _numbers,
        "number": _numbers,
        "boolean": lambda _: st.booleans(),
        "array": _lists,
        "object": _objects,
    }[kind](schema)


def _texts(schema):
    least, most = schema.get("minLength", 0), schema.get("maxLength", 100)
    ends = st.builds(lambda letter, length: letter * length, BMP, st.sampled_from([least, most]))
    over = st.builds(lambda letter: letter * (most + 1), BMP)
    good = st.sampled_from([text for text in TEXTS if re.search(schema.get("pattern", ""), text)])
    return seldom(over | st.sampled_from(BAD_TEXTS), good if "pattern" in schema else good | ends | st.text(BMP))


def _numbers(schema):
    least, most = schema.get("minimum", schema.get("exclusiveMinimum", -5)), schema.get("maximum", 10**20)
    bad = [least - 1, least, least + 0.5, most + 1, True]
    return seldom(st.sampled_from(bad), st.sampled_from([least + 1, float(least + 1), most]))


def _lists(schema):
    items, most = near(schema["items"]), schema.get("maxItems", 3)
    over = within(schema["items"]).map(lambda each: [each] * (most + 1))
    return seldom(over | st.just([]), st.lists(items, min_size=schema.get("minItems", 0), max_size=min(most, 3)))


def _objects(schema):
    if "properties" not in schema:
        return st.dictionaries(st.text(BMP), st.integers() | st.text(BMP), max_size=2)
    fields = {name: near(each) for name, each in schema["properties"].items()}
    required = {name: fields.pop(name) for name in schema.get("required", ())}
    good = st.fixed_dictionaries(required, optional=fields)
    more = good.map(lambda value: {**value, "unknown": 1})
    less = st.fixed_dictionaries({}, optional=required)
    return seldom(more | less, good)


def refused(rules, body):
    """Return the messages of what is wrong with a request."""
    return {problem["message"] for problem in rules.problems(body)}


EVENT = CURRENT.event.schema
LONG = "🚨" * 501
QUESTION = {
    **EVENT,
    "required": ["channelName", "title", "fields"],
    "properties": {name: EVENT["properties"][name] for name in ("channelName", "title", "notify", "actions", "fields")},
}
"""The schema of events with few other fields, so that the rules for questions decide more often."""


@settings(max_examples=200)
@given(near(EVENT) | near(QUESTION))
def test_events_are_taken_as_the_schema_says(body):
    """The validation accepts what the schema allows, except for rules that are only described, and nothing else."""
    assert Validator(EVENT).is_valid(body) == (refused(CURRENT.event, body) <= ONLY_DESCRIBED)


@given(near(CURRENT.identify.schema))
def test_identifies_are_taken_as_the_schema_says(body):
    """The same holds for an identify request."""
    assert Validator(CURRENT.identify.schema).is_valid(body) == (refused(CURRENT.identify, body) <= ONLY_DESCRIBED)


def taken(test):
    return [test_contract.event(**fields) for fields in test.pytestmark[0].args[1]]


def refused_by(test):
    return [test_contract.event(**fields) for fields, _ in test.pytestmark[0].args[1] if fields.get("title") != LONG]


@pytest.mark.parametrize("body", taken(test_contract.test_takes_what_the_contract_allows))
def test_schema_takes_what_the_contract_allows(body):
    """The valid examples of the validation's tests are valid by the schema."""
    Validator(EVENT).validate(body)


@pytest.mark.parametrize("body", refused_by(test_contract.test_names_the_field_that_breaks_the_contract))
def test_schema_refuses_what_breaks_the_contract(body):
    """Their invalid examples are invalid by the schema, except for rules that are only described."""
    assert Validator(EVENT).is_valid(body) == (refused(CURRENT.event, body) <= ONLY_DESCRIBED)


def test_lengths_differ_beyond_the_bmp():
    """JSON Schema counts code points, the contract UTF-16 code units; the description says so."""
    body = test_contract.event(title=LONG)
    assert Validator(EVENT).is_valid(body)
    assert refused(CURRENT.event, body) == {"Too big: expected string to have <=1000 characters"}


def everything(node):
    """Yield `node` and everything inside it."""
    yield node
    for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from everything(each)


def operations(described):
    return {
        operation["operationId"]: (method.upper(), path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    }


@pytest.mark.parametrize("rate_limit", [0, 100])
def test_holds_together(rate_limit):
    """Schemas are JSON Schema 2020-12, references and links resolve, paths and parameters agree."""
    described = document(URL, rate_limit=rate_limit)
    for schema in described["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    nodes = list(everything(described))
    for reference in {node["$ref"] for node in nodes if isinstance(node, dict) and "$ref" in node}:
        kind, name = reference.removeprefix("#/components/").split("/")
        assert name in described["components"][kind]
    known = operations(described)
    for _, path, operation in known.values():
        in_path = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert in_path == set(re.findall(r"{(\w+)}", path))
        for response in operation["responses"].values():
            assert known.keys() >= {each["operationId"] for each in response.get("links", {}).values()}


def test_describes_the_api():
    """Every operation of the API is described, with its scope and its errors."""
    described = {
        f"{method} {path}": (*re.findall("scope `(.+)`", operation["description"]), *operation["responses"])
        for method, path, operation in operations(document(URL, rate_limit=100)).values()
        if operation["security"]
    }
    always = ("401", "403", "429", "500")
    assert {name: tuple(sorted(answers)) for name, answers in described.items()} == {
        "POST /v1/events": ("201", "400", "401", "403", "409", "413", "429", "500", "events:write"),
        "GET /v1/events": ("200", "400", *always, "events:read"),
        "GET /v1/events/{id}": ("200", "401", "403", "404", "429", "500", "events:read"),
        "POST /v1/events/{id}/cancel": ("200", "401", "403", "404", "409", "429", "500", "events:write"),
        "GET /v1/channels": ("200", *always, "events:read"),
        "POST /v1/identify": ("200", "400", "401", "403", "413", "429", "500", "identities:write"),
        "DELETE /v1/identities/{user_id}": ("200", "401", "403", "404", "429", "500", "identities:write"),
        "GET /v1/me": ("200", "401", "429", "500"),
    }


def test_has_no_rate_limit_where_there_is_none():
    """Without a rate limit the document has neither 429 nor its headers."""
    text = json.dumps(document(URL, rate_limit=0))
    assert not re.search("RateLimit|Retry-After|429", text)
    assert document(URL, rate_limit=0)["servers"] == [{"url": URL}]


def test_every_field_is_described():
    """Each field of a request has a description."""
    schemas = document(URL, rate_limit=100)["components"]["schemas"]
    for name in ("CreateEventRequest", "IdentifyUserRequest"):
        assert all(field["description"] for field in schemas[name]["properties"].values())


def closed(node):
    """Return a copy of a schema that refuses what it does not describe."""
    if isinstance(node, list):
        return [closed(each) for each in node]
    if not isinstance(node, dict):
        return node
    copied = {name: closed(each) for name, each in node.items()}
    if node.get("type") == "object" and "properties" in node:
        copied["additionalProperties"] = False
    return copied


SHORT = {"channelName": "c", "title": "t"}
FULL = {
    "channelName": "c",
    "title": "Deploy?",
    "description": "d",
    "icon": "🚀",
    "tags": ["t"],
    "metadata": {"a": 1},
    "userId": "u",
    "notify": True,
    "displayAs": "message",
    "source": "s",
    "actions": [{"id": "yes", "label": "Yes", "requires": ["note"]}, {"label": "See", "url": "https://x.y"}],
    "fields": [{"id": "note", "type": "text", "label": "Note"}],
    "expiresIn": 60,
    "callbackUrl": "https://127.0.0.1:9/",
    "resume": "r",
}
KEY = {"Idempotency-Key": "key"}

SCENARIO = [
    ("createEvent", {"json": SHORT, "headers": KEY}, 201),
    ("createEvent", {"json": SHORT, "headers": KEY}, 201),
    ("createEvent", {"json": FULL, "headers": KEY}, 409),
    ("createEvent", {"json": FULL}, 201),
    ("createEvent", {"json": {"title": "t"}}, 400),
    ("createEvent", {"json": {**SHORT, "metadata": {"a": "x" * 20_000}}}, 413),
    ("createEvent", {"json": SHORT, "headers": {"Authorization": "Bearer wrong"}}, 401),
    ("listEvents", {"params": {"limit": 1}}, 200),
    ("listEvents", {"params": {"since": "2020-01-01T00:00:00Z", "channel": "c"}}, 200),
    ("listEvents", {"params": {"since": "yesterday"}}, 400),
    ("getEvent", {}, 200),
    ("cancelEvent", {}, 200),
    ("cancelEvent", {}, 200),
    ("createEvent", {"json": SHORT}, 201),
    ("cancelEvent", {}, 409),
    ("getEvent", {}, 200),
    ("listChannels", {}, 200),
    ("identifyUser", {"json": {"userId": "other"}}, 200),
    ("identifyUser", {"json": {"userId": "u", "aliases": ["a", "other"], "properties": {"p": 1}}}, 200),
    ("identifyUser", {"json": {}}, 400),
    ("deleteIdentity", {}, 200),
    ("deleteIdentity", {}, 404),
    ("me", {}, 200),
    ("getOpenapi", {}, 200),
    ("me", {}, 429),
]
"""Operations one after another: what is sent, and the status of the response."""

COUNTED = len(SCENARIO) - 3
"""The requests that the rate limit admits: not those with a wrong key or for the document, nor the last."""


@pytest.fixture
def request_described():
    """Call an operation of an inbox whose rate limit the scenario uses up; return the response and its description."""
    with Inbox(rate_limit=COUNTED) as inbox, requests.Session() as session:
        session.trust_env = False
        described = document(inbox.url, rate_limit=COUNTED)
        ids = {"user_id": "u"}

        def calling(operation_id, sent):
            method, path, operation = operations(described)[operation_id]
            headers = {"Authorization": f"Bearer {inbox.api_key}", **sent.get("headers", {})}
            url = inbox.url + path.format(**ids)
            response = session.request(method, url, timeout=10, **{**sent, "headers": headers})
            if response.status_code == 201:
                ids["id"] = response.json()["data"]["id"]
            answer = operation["responses"].get(str(response.status_code), {})
            name = answer.get("$ref", "").rpartition("/")[2]
            answer = described["components"]["responses"].get(name, answer)
            components = closed({"components": described["components"]})
            return response, answer, {**components, **closed(answer["content"]["application/json"]["schema"])}

        yield calling


def test_describes_every_response(request_described):
    """Every response of a running inbox fits its description, without further fields or headers."""
    replays = []
    for operation_id, sent, status in SCENARIO:
        response, answer, schema = request_described(operation_id, sent)
        assert (operation_id, response.status_code) == (operation_id, status), response.text
        Validator(schema).validate(response.json())
        headers = {name.lower() for name in response.headers} - {"content-length", "content-type", "date"}
        described = {name.lower() for name in answer.get("headers", {})}
        assert headers | {"x-idempotent-replay"} == described | {"x-idempotent-replay"}
        replays.append("x-idempotent-replay" in headers)
    assert replays.index(True) == 1
    assert sum(replays) == 1
