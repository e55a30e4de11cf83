"""The layer in front of both origins that makes faults happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stoq_provider.testing.faults import Fault
from stoq_provider.testing.protocol import CONTROL_PATH, abort, close
from stoq_provider.testing.world import World

GATEWAY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body>Bad gateway</body></html>"
GARBAGE = '{"job_id": "exp_'
Effect = Callable[[Fault, Scope, Receive, Send], Awaitable[None]]


class FaultLayer:
    """ASGI application around the real one."""

    def __init__(self, app: ASGIApp, world: World, origin: str) -> None:
        self._app = app
        self._world = world
        self._origin = origin
        self._effects: dict[str, Effect] = {
            "reset_before": self._reset_before,
            "reset_after": self._reset_after,
            "delay": self._delay,
            "truncated": self._truncated,
            "stall": self._stall,
            "expired_url": self._pass_on,
            "changed_etag": self._pass_on,
            "ignore_range": self._pass_on,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request, well or badly."""
        path = scope["path"]
        fault = None
        if not path.startswith(CONTROL_PATH):
            fault = self._world.faults.take(self._origin, scope["method"], path)
        try:
            if fault is None:
                await self._app(scope, receive, send)
            else:
                await self._effects.get(fault.kind, self._replaced)(fault, scope, receive, send)
        except asyncio.CancelledError:
            # A sandbox that stops cancels requests, as it drops those it held; uvicorn would log each with
            # its traceback.
            return

    async def _reset_before(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        await abort(scope, receive)

    async def _reset_after(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        await self._process(scope, receive)
        await abort(scope, receive)

    async def _delay(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        if not fault.processed:
            # The request has arrived whole: a client that gives up waiting does not undo it.
            arrived = await _arrived(receive)
            await self._wait(fault, scope, receive)
            await self._app(scope, arrived, send)
            return
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        await self._wait(fault, scope, receive)
        for message in messages:
            await send(message)

    async def _wait(self, fault: Fault, scope: Scope, receive: Receive) -> None:
        """Wait as long as the fault lasts; one without an end ends the request unanswered."""
        if fault.seconds is not None:
            await asyncio.sleep(fault.seconds)
            return
        await self._world.faults.hold(fault)
        await abort(scope, receive)
        raise asyncio.CancelledError

    async def _pass_on(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["fault"] = fault.kind
        await self._app(scope, receive, send)

    async def _process(self, scope: Scope, receive: Receive) -> dict[bytes, bytes]:
        """Carry the request out, throw its response away and keep the rate-limit headers."""
        kept: dict[bytes, bytes] = {}

        async def swallow(message: Message) -> None:
            if message["type"] == "http.response.start":
                kept.update((k, v) for k, v in message["headers"] if k.startswith(b"x-ratelimit-"))

        await self._app(scope, receive, swallow)
        return kept

    async def _replaced(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        headers = await self._process(scope, receive) if fault.processed else {}
        status, body, kind = _replacement(fault)
        headers |= {b"content-type": kind.encode(), b"content-length": str(len(body)).encode()}
        for name, value in (fault.options.get("headers") or {}).items():
            headers[str(name).lower().encode()] = str(value).encode()
        await send({"type": "http.response.start", "status": status, "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": body})

    async def _truncated(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        async def cut() -> None:
            await (abort if fault.options.get("reset") else close)(scope, receive)

        await self._app(scope, receive, _Interrupted(send, fault.options.get("after"), cut))

    async def _stall(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        async def wait() -> None:
            await self._wait(fault, scope, receive)

        await self._app(scope, receive, _Interrupted(send, fault.options.get("after"), wait, goes_on=True))


async def _arrived(receive: Receive) -> Receive:
    """Take in the whole request now, to be read later."""
    messages = [await receive()]
    while messages[-1].get("more_body"):
        messages.append(await receive())

    async def replay() -> Message:
        return messages.pop(0) if messages else await receive()

    return replay


class _Interrupted:
    """A `send` that lets some bytes of the body pass, then does something, and perhaps goes on."""

    def __init__(
        self,
        send: Send,
        after: int | None,
        interrupt: Callable[[], Awaitable[None]],
        *,
        goes_on: bool = False,
    ) -> None:
        self._send = send
        self._left = after
        self._interrupt = interrupt
        self._goes_on = goes_on
        self._done = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self._send(message)
            if self._left is None:
                self._left = _content_length(message) // 2
        elif self._done:
            if self._goes_on:
                await self._send(message)
        else:
            await self._body(message)

    async def _body(self, message: Message) -> None:
        body = message.get("body", b"")
        left = self._left or 0
        if len(body) <= left and message.get("more_body"):
            self._left = left - len(body)
            await self._send(message)
            return
        self._done = True
        await self._send({**message, "body": body[:left], "more_body": True})
        await self._interrupt()
        if self._goes_on:
            await self._send({**message, "body": body[left:]})


def _content_length(message: Message) -> int:
    return next((int(value) for name, value in message["headers"] if name == b"content-length"), 0)


def _replacement(fault: Fault) -> tuple[int, bytes, str]:
    """Status, body and content type of a response that replaces the real one."""
    options = fault.options
    if fault.kind == "garbage":
        return options.get("status", 200), GARBAGE.encode(), "application/json"
    if fault.kind == "empty":
        return options.get("status", 200), b"", "application/json"
    if fault.kind == "html":
        return options.get("status", 200), str(options.get("body", GATEWAY_PAGE)).encode(), "text/html"
    default = 200 if fault.kind == "json" else 500
    status = options.get("status", default)
    return (status, *_encoded(options.get("body", _default_body(fault, status))))


def _default_body(fault: Fault, status: int) -> Any:
    """An error in the way of the system that would have answered."""
    if fault.kind == "json":
        return {}
    if status in {502, 503, 504}:
        return GATEWAY_PAGE
    ordered = f"The sandbox was ordered to answer {status}"
    bodies: dict[str, Any] = {
        "medusa": {"code": "unknown_error", "type": "unknown_error", "message": ordered},
        "surecart": {
            "http_status": "error",
            "type": "ordered",
            "code": "sandbox.ordered",
            "message": ordered,
            "validation_errors": [],
        },
        "printstudio": {"error": ordered, "code": "ORDERED", "details": {}},
    }
    if fault.origin == "medusa" and status == 401:
        return "Unauthorized"
    return bodies.get(fault.origin, {"errors": [ordered]})


def _encoded(body: Any) -> tuple[bytes, str]:
    if isinstance(body, str):
        kind = "text/html" if body.lstrip().startswith("<") else "text/plain"
        return body.encode(), kind
    return json.dumps(body).encode(), "application/json"
