"""The inbox's OpenAPI document beside the facts of the hosted service's, object by object.

The facts were read from that document by hand: paths, names, required fields, types, enums and limits. The names of
objects that it does not name (`Erasure`, `Me.project`) are the inbox's own.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from emitkit_logging.inbox.http.mcp import TOOLS
from emitkit_logging.inbox.http.openapi import document

FACTS = json.loads((Path(__file__).parents[2] / "data" / "official_api.json").read_text("utf-8"))
OURS = document("http://127.0.0.1:8025", rate_limit=100)
SCHEMAS = OURS["components"]["schemas"]
OPERATIONS = {
    operation["operationId"]: operation for methods in OURS["paths"].values() for operation in methods.values()
}


def resolved(node):
    """Return what a reference refers to; anything else as it is."""
    while "$ref" in node:
        kind, name = node["$ref"].removeprefix("#/components/").split("/")
        node = OURS["components"][kind][name]
    return node


def variants(schema):
    """Return the alternatives of a schema, null apart."""
    schema = resolved(schema)
    alternatives = [each for name in ("anyOf", "oneOf") for each in schema.get(name, ()) if each != {"type": "null"}]
    return [inner for each in alternatives for inner in variants(each)] if "type" not in schema else [schema]


def at(schema, path):
    """Return the schemas that stand at a path such as `fields[text].label`, of all alternatives that have it."""
    found = [schema]
    for name, kind in re.findall(r"(\w+)|\[(\w*)\]", path):
        alternatives = [each for one in found for each in variants(one)]
        if name:
            found = [each["properties"][name] for each in alternatives if name in each.get("properties", {})]
        else:
            items = [inner for each in alternatives for inner in variants(each["items"])]
            found = [each for each in items if not kind or each["properties"]["type"]["enum"] == [kind]]
    assert found, path
    return found


def types(schema):
    """Return the JSON types that a schema allows."""
    schema = resolved(schema)
    if "const" in schema:
        return {{str: "string", int: "integer"}[type(schema["const"])]}
    if "type" in schema:
        return {schema["type"]} if isinstance(schema["type"], str) else set(schema["type"])
    return {kind for name in ("anyOf", "oneOf") for each in schema.get(name, ()) for kind in types(each)}


def test_operations():
    """Paths, methods, operation ids and statuses are the same; the document itself has a path of its own here."""
    ours = {
        f"{method.upper()} {path}": {
            "id": operation["operationId"],
            "statuses": sorted(map(int, operation["responses"])),
        }
        for path, methods in OURS["paths"].items()
        for method, operation in methods.items()
    }
    assert ours.pop("GET /openapi.json")["id"] == "getOpenapi"
    assert ours == FACTS["operations"]


def test_parameters():
    """Parameters have the same places, names and limits."""
    for operation_id, operation in OPERATIONS.items():
        ours = {each["name"]: {**each["schema"], **each} for each in operation.get("parameters", ())}
        expected = FACTS["parameters"].get(operation_id, {})
        assert ours.keys() == expected.keys()
        for name, facts in expected.items():
            assert {fact: ours[name].get(fact, False) for fact in facts} == facts, name


def test_security():
    """The key may come in either header."""
    schemes = OURS["components"]["securitySchemes"]
    assert schemes.keys() == FACTS["security"].keys()
    for name, facts in FACTS["security"].items():
        assert facts.items() <= schemes[name].items()
    for operation_id in FACTS["data"]:
        assert OPERATIONS[operation_id]["security"] == [{name: []} for name in FACTS["security"]]


def test_headers_and_codes():
    """Every response has the headers and each error the codes of the official document."""
    codes: dict[str, set[str]] = {}
    for operation_id in FACTS["data"]:
        for status, response in OPERATIONS[operation_id]["responses"].items():
            answer = resolved(response)
            kind = "success" if int(status) < 400 else status
            if status != "500":  # of which some have rate-limit headers there, and some have none
                assert set(FACTS["headers"][kind]) == answer.get("headers", {}).keys() - {"X-Idempotent-Replay"}, status
            if int(status) >= 400:
                own = answer["content"]["application/json"]["schema"]["allOf"][1]["properties"]["code"]
                codes.setdefault(status, set()).update(own.get("enum", [own.get("const")]))
    assert {status: sorted(found) for status, found in codes.items()} == FACTS["error_codes"]
    assert "X-Idempotent-Replay" in OPERATIONS["createEvent"]["responses"]["201"]["headers"]


@pytest.mark.parametrize("name", FACTS["requests"])
def test_requests(name):
    """Each field of a request has the same type and the same limits, and none is missing or added."""
    facts, schema = FACTS["requests"][name], SCHEMAS[name]
    assert schema.get("required", []) == facts["required"]
    assert schema["properties"].keys() == {path for path in facts["fields"] if path.isidentifier()}
    limits = ("minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "minItems", "maxItems")
    for path, expected in facts["fields"].items():
        for found in at(schema, path):
            assert {fact: found.get(fact) for fact in expected} == expected, path
            if path not in ("userId", "user_id", "actions[].url", "callbackUrl"):
                assert {limit for limit in limits if limit in found} == {limit for limit in limits if limit in expected}


@pytest.mark.parametrize("path", FACTS["objects"])
def test_objects(path):
    """Each object that is returned has the same fields, all of them required, of the same types."""
    name, _, inner = path.partition(".")
    (found,) = variants(at(SCHEMAS[name], inner)[0] if inner else SCHEMAS[name])
    facts = FACTS["objects"][path]
    assert sorted(found["required"]) == sorted(found["properties"]) == sorted(facts)
    assert {field: sorted(types(schema)) for field, schema in found["properties"].items()} == {
        field: sorted(kinds) for field, kinds in facts.items()
    }


@pytest.mark.parametrize("path", FACTS["enums"])
def test_enums(path):
    """What can have a few values only has the same ones."""
    name, _, inner = path.partition(".")
    (found,) = at(SCHEMAS[name], inner)
    assert found.get("enum", [found.get("const")]) == FACTS["enums"][path]


def test_data_of_responses():
    """Each success has the object that the official document has there."""
    for operation_id, name in FACTS["data"].items():
        (success,) = [each for status, each in OPERATIONS[operation_id]["responses"].items() if int(status) < 400]
        envelope = success["content"]["application/json"]["schema"]
        assert sorted(envelope["required"]) == ["data", "requestId", "success"]
        assert envelope["properties"]["data"] == {"$ref": f"#/components/schemas/{name}"}


def test_webhooks():
    """The callback is described with its headers and its body."""
    assert OURS["webhooks"].keys() == FACTS["webhooks"].keys()
    for name, facts in FACTS["webhooks"].items():
        described = OURS["webhooks"][name]["post"]
        assert sorted(each["name"] for each in described["parameters"]) == facts["headers"]
        body = described["requestBody"]["content"]["application/json"]["schema"]
        assert body == {"$ref": f"#/components/schemas/{facts['body']}"}
        assert [*described["responses"]] == facts["statuses"]


def test_tools():
    """The tools for agents are those of the official document."""
    assert list(TOOLS) == FACTS["mcp_tools"]
