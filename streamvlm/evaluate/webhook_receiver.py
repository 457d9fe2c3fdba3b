"""A webhook receiver that misbehaves when told to, and checks what it gets with public packages."""

from __future__ import annotations

import base64
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cloudevents.v1.http import from_http
from standardwebhooks import Webhook, WebhookVerificationError

SILENCE_SECONDS = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request whose signature was right."""

    identity: str
    """Its `webhook-id`."""
    event: dict[str, Any]
    """Attributes of the CloudEvent, and `data`."""
    outcome: str
    at_utc_seconds: float


class Receiver:
    """Listens on the loopback interface; entering starts it.

    `outcome` chooses what becomes of each request: "ok", a status such as "503", "hang up" or
    "silence".
    """

    def __init__(self, secret: str, outcome: Callable[[], str] = lambda: "ok") -> None:
        self._webhook, self._outcome = Webhook(secret), outcome
        self._lock = threading.Lock()
        self._requests: list[Received] = []
        self.num_refused_signatures = 0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver._receive(self)

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}/alerts"

    @property
    def requests(self) -> list[Received]:
        """All that came, signed well, in its order."""
        with self._lock:
            return list(self._requests)

    @property
    def accepted(self) -> list[Received]:
        """Those that were answered with 200."""
        return [each for each in self.requests if each.outcome == "ok"]

    @property
    def num_accepted_ids(self) -> int:
        """Different events that were answered with 200."""
        return len({each.identity for each in self.accepted})

    def _receive(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("content-length", 0))
        body = handler.rfile.read(size)
        if len(body) < size:  # whoever sent it is gone
            handler.close_connection = True
            return
        headers = {key.lower(): value for key, value in handler.headers.items()}
        try:
            self._webhook.verify(body, headers)
        except WebhookVerificationError:
            with self._lock:
                self.num_refused_signatures += 1
            _answer(handler, 401)
            return
        parsed: Any = from_http(headers, body)
        outcome = self._outcome()
        received = Received(
            identity=headers["webhook-id"],
            event={**parsed.get_attributes(), "data": parsed.get_data()},
            outcome=outcome,
            at_utc_seconds=time.time(),
        )
        with self._lock:
            self._requests.append(received)
        if outcome == "hang up":
            handler.close_connection = True
            handler.connection.close()
        elif outcome == "silence":
            time.sleep(SILENCE_SECONDS)
            handler.close_connection = True
        else:
            _answer(handler, 200 if outcome == "ok" else int(outcome))


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who sends may be killed in the middle."""


def _answer(handler: BaseHTTPRequestHandler, status: int) -> None:
    handler.send_response(status)
    handler.send_header("content-length", "0")
    handler.end_headers()


def new_secret() -> str:
    """A secret for signatures."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
