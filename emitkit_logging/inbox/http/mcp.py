"""The API as tools of the Model Context Protocol: `POST /mcp`, so that an agent can be tried against the inbox.

Streamable HTTP without sessions: each request is one JSON-RPC message, and its response is JSON. A tool makes the
request of the API that has its name, with the same key, scope, validation and result.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.requests import Request

from emitkit_logging import __version__
from emitkit_logging._api.contract import CURRENT
from emitkit_logging._api.limits import LONGEST_CHANNEL, LONGEST_IDEMPOTENCY_KEY
from emitkit_logging._api.rules import Problem, object_with, text
from emitkit_logging.inbox.emulation import javascript
from emitkit_logging.inbox.emulation.base import EmulatedResponse, json_response
from emitkit_logging.inbox.emulation.current import LARGEST_PAGE
from emitkit_logging.inbox.emulation.refusals import Invalid

if TYPE_CHECKING:
    from starlette.types import Message

VERSIONS = ("2025-11-25", "2025-06-18", "2025-03-26")
"""The versions of the protocol with this transport, the newest first."""

_PARSE_ERROR, _INVALID_REQUEST, _NO_METHOD, _INVALID_PARAMS = -32700, -32600, -32601, -32602

_TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1}
_READS: Mapping[str, bool] = {"readOnlyHint": True, "idempotentHint": True, "destructiveHint": False}
_WRITES: Mapping[str, bool] = {"readOnlyHint": False, "idempotentHint": False, "destructiveHint": False}
_DESTROYS: Mapping[str, bool] = {**_WRITES, "destructiveHint": True}


@dataclass(frozen=True)
class Tool:
    """One tool.

    Attributes:
        title: for people.
        description: for agents.
        endpoint: method and path of the request that it makes.
        schema: the JSON Schema of its arguments.
        hints: what it does to its environment, as the protocol names it.
        in_path: the argument that is a part of the path.
    """

    title: str
    description: str
    endpoint: tuple[str, str]
    schema: Mapping[str, Any]
    hints: Mapping[str, bool]
    in_path: str = ""


def _arguments(required: tuple[str, ...] = (), **properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


_EVENT_ID = _arguments(("id",), id={**_TEXT, "description": "The event's id."})
_KEY = {**_TEXT, "maxLength": LONGEST_IDEMPOTENCY_KEY, "description": "The same key creates one event only."}


def _body(schema: Mapping[str, Any], **more: Mapping[str, Any]) -> dict[str, Any]:
    """Return the schema of a body as one of arguments. Agents do not take rules between properties at its top."""
    kept = {name: schema[name] for name in ("type", "description", "required") if name in schema}
    return {**kept, "properties": {**schema["properties"], **more}}


TOOLS: Mapping[str, Tool] = {
    "createEvent": Tool(
        "Create Event",
        "Create an event in a channel. With buttons (actions with an id) or fields it asks a person, and waits.",
        ("POST", "/v1/events"),
        _body(CURRENT.event.schema, idempotencyKey=_KEY),
        _WRITES,
    ),
    "listEvents": Tool(
        "List Events",
        "List events, the newest first. nextCursor is the value of before for the next page.",
        ("GET", "/v1/events"),
        _arguments(
            channel={**_TEXT, "maxLength": LONGEST_CHANNEL, "description": "The name of their channel."},
            since={**_TEXT, "description": "ISO 8601; they were created then or later."},
            before={**_TEXT, "description": "ISO 8601 or a cursor; they were created before."},
            limit={"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
        ),
        _READS,
    ),
    "getEvent": Tool(
        "Get Event", "Get an event with its answer.", ("GET", "/v1/events/{event_id}"), _EVENT_ID, _READS, "id"
    ),
    "cancelEvent": Tool(
        "Cancel Event",
        "End the wait of an event for its answer.",
        ("POST", "/v1/events/{event_id}/cancel"),
        _EVENT_ID,
        _WRITES,
        "id",
    ),
    "listChannels": Tool("List Channels", "List the channels, by name.", ("GET", "/v1/channels"), _arguments(), _READS),
    "identifyUser": Tool(
        "Identify User",
        "Create or update a user. Properties are added to the known ones, aliases move to this user.",
        ("POST", "/v1/identify"),
        _body(CURRENT.identify.schema),
        _DESTROYS,
    ),
    "deleteIdentity": Tool(
        "Delete Identity",
        "Erase a user with its aliases. Its events stay, without the user.",
        ("DELETE", "/v1/identities/{user_id:path}"),
        _arguments(("user_id",), user_id={**_TEXT, "description": "The user's id, not an alias."}),
        _DESTROYS,
        "user_id",
    ),
}

Run = Callable[[Request, "tuple[str, str]"], Awaitable[EmulatedResponse]]
"""Carries out the request of an endpoint, with its scope checked."""

_MESSAGE = object_with({"jsonrpc": text(), "method": text()}, "jsonrpc", "method")


class _RpcError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class McpEndpoint:
    """Answers messages of the protocol.

    Args:
        run: carries out the request of a tool.
    """

    def __init__(self, run: Run) -> None:
        self._run = run

    async def respond(self, request: Request, request_id: str) -> EmulatedResponse:  # noqa: ARG002
        """Return the response to one message."""
        message_id = None
        try:
            message = _parse(await request.body())
            message_id = message.get("id")
            if "id" not in message or "method" not in message:
                return EmulatedResponse(202, b"")  # a notification, or a response to nothing that was asked
            result = await self._result(request, message["method"], _dict(message.get("params")))
        except _RpcError as error:
            content = {"error": {"code": error.code, "message": str(error)}}
            status = 400 if error.code in (_PARSE_ERROR, _INVALID_REQUEST) else 200
            return json_response(status, {"jsonrpc": "2.0", "id": message_id, **content})
        return json_response(200, {"jsonrpc": "2.0", "id": message_id, "result": result})

    async def _result(self, request: Request, method: str, params: dict[str, Any]) -> dict[str, Any]:
        if method == "initialize":
            return _initialized(params.get("protocolVersion"))
        if method == "ping":
            return {}
        if method == "tools/list":
            return {"tools": [_described(name, tool) for name, tool in TOOLS.items()]}
        if method == "tools/call":
            return await self._call(request, params)
        raise _RpcError(_NO_METHOD, f"there is no method {method[:100]}")

    async def _call(self, request: Request, params: dict[str, Any]) -> dict[str, Any]:
        name, arguments = params.get("name"), params.get("arguments", {})
        tool = TOOLS.get(name) if isinstance(name, str) else None
        if tool is None:
            raise _RpcError(_INVALID_PARAMS, f"there is no such tool; the tools are {', '.join(TOOLS)}")
        if not isinstance(arguments, dict):
            raise _RpcError(_INVALID_PARAMS, "arguments must be an object")
        missing = [each for each in (tool.in_path,) if each and not isinstance(arguments.get(each), str)]
        if missing:
            raise _RpcError(_INVALID_PARAMS, f"{missing[0]} must be a text")
        response = await self._run(_request(request, tool, arguments), tool.endpoint)
        content = json.loads(response.body)
        is_error = response.status >= 400
        shown = content if is_error else content["data"]
        text_of_it = {"type": "text", "text": javascript.to_text(shown)}
        return {"content": [text_of_it], "structuredContent": shown, "isError": is_error}


def _parse(body: bytes) -> dict[str, Any]:
    try:
        message = javascript.mend(javascript.parse(body))
    except Invalid as error:
        raise _RpcError(_PARSE_ERROR, str(error)) from None
    is_reply = isinstance(message, dict) and "method" not in message and ("result" in message or "error" in message)
    problems: list[Problem] = [] if is_reply else list(_MESSAGE(message, ()))
    if problems or message["jsonrpc"] != "2.0":
        raise _RpcError(_INVALID_REQUEST, "the body must be one JSON-RPC 2.0 message")
    parsed: dict[str, Any] = message
    return parsed


def _initialized(version: object) -> dict[str, Any]:
    return {
        "protocolVersion": version if version in VERSIONS else VERSIONS[0],
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "emitkit-inbox", "version": __version__},
    }


def _described(name: str, tool: Tool) -> dict[str, Any]:
    return {
        "name": name,
        "title": tool.title,
        "description": tool.description,
        "inputSchema": tool.schema,
        "annotations": {"title": tool.title, **tool.hints},
    }


def _request(outer: Request, tool: Tool, arguments: dict[str, Any]) -> Request:
    """Return the request to the API that a call of a tool stands for."""
    left = dict(arguments)
    headers = {"content-type": "application/json"}
    in_path = left.pop(tool.in_path, None)
    if tool.endpoint == ("POST", "/v1/events") and "idempotencyKey" in left:
        headers["idempotency-key"] = str(left.pop("idempotencyKey"))
    method, path = tool.endpoint
    names = [part.strip("{}").partition(":")[0] for part in path.split("/") if part.startswith("{")]
    scope = {
        **outer.scope,
        "method": method,
        "path": path,
        "path_params": dict.fromkeys(names, in_path),
        "query_string": urlencode({name: str(value) for name, value in left.items() if value is not None}).encode()
        if method == "GET"
        else b"",
        "headers": [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers.items()],
        "state": dict(outer.scope.get("state", {})),
    }
    unread = [javascript.encode(left)]

    async def receive() -> Message:
        return {"type": "http.request", "body": unread.pop() if unread else b"", "more_body": False}

    return Request(scope, receive)


def _dict(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
