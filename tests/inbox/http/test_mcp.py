"""The tools of the Model Context Protocol: what an agent calls, over HTTP."""

from __future__ import annotations

import itertools
import json

import jsonschema
import pytest

from emitkit_logging.inbox import Inbox

from .calls import BUTTONS, FIELDS, answer, refusal

NUMBERS = itertools.count(1)


def post(client, message, **headers):
    accepted = {"Accept": "application/json, text/event-stream", **headers}
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    headers = {"Content-Type": "application/json", **accepted}
    return client.session.post(f"{client.inbox.url}/mcp", data=body, headers=headers, timeout=10)


def rpc(client, method, **params):
    """Send a request and return its result."""
    message = {"jsonrpc": "2.0", "id": next(NUMBERS), "method": method, "params": params}
    response = post(client, message)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "application/json")
    body = response.json()
    assert (body["jsonrpc"], body["id"]) == ("2.0", message["id"])
    return body.get("result", body.get("error"))


def tool(client, name, **arguments):
    """Call a tool; return its result and whether it is an error."""
    result = rpc(client, "tools/call", name=name, arguments=arguments)
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    return result["structuredContent"], result["isError"]


@pytest.mark.parametrize(
    ("asked", "spoken"), [("2025-06-18", "2025-06-18"), ("1999-01-01", "2025-11-25"), (1, "2025-11-25")]
)
def test_introduces_itself(client, asked, spoken):
    """A client and the server agree on a version; there is no session to keep."""
    result = rpc(client, "initialize", protocolVersion=asked, capabilities={}, clientInfo={"name": "t", "version": "1"})
    assert (result["protocolVersion"], result["capabilities"]) == (spoken, {"tools": {}})
    assert result["serverInfo"]["name"]
    notified = post(client, {"jsonrpc": "2.0", "method": "notifications/initialized"})
    assert (notified.status_code, notified.content) == (202, b"")
    assert "Mcp-Session-Id" not in notified.headers
    assert rpc(client, "ping") == {}


def test_lists_the_tools(client):
    """The seven tools have valid schemas; those that only read say so."""
    tools = rpc(client, "tools/list")["tools"]
    assert [each["name"] for each in tools] == [
        "createEvent",
        "listEvents",
        "getEvent",
        "cancelEvent",
        "listChannels",
        "identifyUser",
        "deleteIdentity",
    ]
    for each in tools:
        jsonschema.Draft202012Validator.check_schema(each["inputSchema"])
        assert each["inputSchema"]["type"] == "object"
        assert not {"anyOf", "oneOf", "allOf", "if"} & each["inputSchema"].keys()
        assert each["description"]
    reading = {each["name"] for each in tools if each["annotations"]["readOnlyHint"]}
    assert reading == {"listEvents", "getEvent", "listChannels"}
    destroying = {each["name"] for each in tools if each["annotations"]["destructiveHint"]}
    assert destroying == {"identifyUser", "deleteIdentity"}


def test_asks_and_reads_the_answer(fresh):
    """An agent asks a question, and reads its answer once a person has given it."""
    event, is_error = tool(fresh, "createEvent", channelName="agents", title="Go?", actions=BUTTONS, fields=FIELDS)
    assert (is_error, event["answer"]["status"]) == (False, "pending")
    answer(fresh, event["id"], "yes")
    assert tool(fresh, "getEvent", id=event["id"])[0]["answer"]["action"] == "yes"
    refused, is_error = tool(fresh, "cancelEvent", id=event["id"])
    assert (is_error, refused["code"]) == (True, "not_pending")
    other, _ = tool(fresh, "createEvent", channelName="agents", title="Go?", actions=BUTTONS[:1])
    assert tool(fresh, "cancelEvent", id=other["id"])[0]["answer"]["status"] == "canceled"
    listed = tool(fresh, "listEvents", channel="agents", limit=1)[0]
    assert ([each["id"] for each in listed["events"]], listed["nextCursor"]) == ([other["id"]], other["id"])
    assert [each["id"] for each in tool(fresh, "listEvents", before=other["id"])[0]["events"]] == [event["id"]]
    assert [each["name"] for each in tool(fresh, "listChannels")[0]["channels"]] == ["agents"]


def test_identifies_and_erases(client):
    """A user is identified and erased by the tools as by the API."""
    identity, _ = tool(client, "identifyUser", userId="mcp/1", properties={"plan": "pro"}, aliases=["m"])
    assert (identity["userId"], identity["properties"]) == ("mcp/1", {"plan": "pro"})
    assert tool(client, "deleteIdentity", user_id="mcp/1")[0]["aliasesDeleted"] == 1
    assert tool(client, "deleteIdentity", user_id="mcp/1")[0]["code"] == "not_found"


def test_an_idempotency_key_is_an_argument(client):
    """The same key creates one event."""
    first, second = (
        tool(client, "createEvent", channelName="c", title="Once by tool", idempotencyKey="mcp-1")[0] for _ in range(2)
    )
    assert first == second
    body, is_error = tool(client, "createEvent", channelName="c", title="Another", idempotencyKey="mcp-1")
    assert (is_error, body["code"]) == (True, "idempotency_conflict")


def test_a_wrong_argument_is_an_error_of_the_tool(client):
    """An agent sees which argument is wrong, as the API names it."""
    body, is_error = tool(client, "createEvent", channelName="c", title="")
    assert (is_error, body["code"], body["details"][0]["path"]) == (True, "validation_error", ["title"])
    assert tool(client, "listEvents", limit=1000)[0]["code"] == "validation_error"


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"name": "dropEverything"}, "createEvent"),
        ({}, "createEvent"),
        ({"name": ["createEvent"]}, "createEvent"),
        ({"name": "createEvent", "arguments": []}, "object"),
        ({"name": "getEvent", "arguments": {}}, "id"),
        ({"name": "getEvent", "arguments": {"id": 1}}, "id"),
    ],
)
def test_wrong_calls(client, params, message):
    """An unknown tool or wrong arguments are an error of the protocol."""
    error = rpc(client, "tools/call", **params)
    assert error["code"] == -32602
    assert message in error["message"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        ([], -32600),
        ([{"jsonrpc": "2.0", "id": 1, "method": "ping"}], -32600),
        ({"jsonrpc": "1.0", "id": 1, "method": "ping"}, -32600),
        ({"jsonrpc": "2.0", "id": 1}, -32600),
        ({"jsonrpc": "2.0", "id": 1, "method": 1}, -32600),
    ],
)
def test_what_is_no_message(client, body, code):
    """Anything else than one JSON-RPC message is a 400 with the error of the protocol."""
    response = post(client, body)
    assert (response.status_code, response.json()["error"]["code"]) == (400, code)


def test_null_stands_for_no_argument(fresh):
    """Agents write null for what they leave out of a query."""
    tool(fresh, "createEvent", channelName="None", title="First")
    tool(fresh, "createEvent", channelName="other", title="Second")
    listed = tool(fresh, "listEvents", channel=None, since=None, before=None, limit=None)[0]
    assert [each["title"] for each in listed["events"]] == ["Second", "First"]


def test_unknown_methods(client):
    """A method that does not exist is an error of the protocol; a reply to nothing is accepted."""
    assert rpc(client, "resources/list")["code"] == -32601
    assert post(client, {"jsonrpc": "2.0", "id": 1, "result": {}}).status_code == 202


def test_there_is_no_stream(client):
    """The server sends nothing by itself: a GET is a 405."""
    response = client.session.get(f"{client.inbox.url}/mcp", timeout=10)
    assert (response.status_code, response.headers["Allow"]) == (405, "POST")


def test_needs_a_key_and_its_scope(connect):
    """The key, its scopes and its rate limit hold for the tools too."""
    with Inbox(keys={"emitkit_reader": ["events:read"]}, rate_limit=2) as inbox:
        refusal(post(connect(inbox, "emitkit_wrong"), {}), 401, "unauthorized")
        reader = connect(inbox, "emitkit_reader")
        assert tool(reader, "listEvents")[0] == {"events": [], "nextCursor": None}
        body, is_error = tool(reader, "createEvent", channelName="c", title="No")
        assert (is_error, body["code"]) == (True, "forbidden")
        refusal(post(reader, {}), 429, "rate_limited")
        assert inbox.events == []
