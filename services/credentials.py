"""Who may call the gateway: API keys, and TLS."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

import grpc

from services.calls import Behavior, Context, Handler, wrapped
from streamvlm.config import GatewayConfig
from streamvlm.errors import AuthenticationError, ConfigError

logger = logging.getLogger(__name__)

_HEADER, _SCHEME = "authorization", "bearer "
_LEAST_CHARACTERS = 16


class KeyCheck(grpc.aio.ServerInterceptor):
    """Lets our calls through that have a key of the file, which is read anew where it changes."""

    def __init__(self, path: str) -> None:
        """Raises ConfigError."""
        self._path = Path(path)
        self._changed_at = float("-inf")
        self._digests: tuple[bytes, ...] = ()
        if path:
            self._read()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The handler of this call, behind a door."""
        method = handler_call_details.method
        handler = await continuation(handler_call_details)
        metadata = handler_call_details.invocation_metadata or ()
        given = {key: value for key, value in metadata}.get(_HEADER, "")
        return wrapped(handler, method, lambda behavior: self._guarded(behavior, str(given)))

    def _guarded(self, behavior: Behavior, given: str) -> Behavior:
        async def call(request: object, context: Context) -> object:
            if not self._is_known(given):
                raise AuthenticationError(
                    "this service wants an API key: metadata 'authorization: Bearer KEY'"
                    if not given
                    else "the API key is not known here"
                )
            return await behavior(request, context)

        return call

    def _is_known(self, given: str) -> bool:
        try:
            if self._path.stat().st_mtime != self._changed_at:
                self._read()
        except (OSError, ConfigError) as error:
            logger.error("the API keys stay as they were: %s", error)
        if given[: len(_SCHEME)].lower() != _SCHEME:
            return False
        digest = _digest(given[len(_SCHEME) :].strip())
        # All of them, so that the time tells nothing.
        return any([hmac.compare_digest(digest, known) for known in self._digests])

    def _read(self) -> None:
        try:
            self._changed_at = self._path.stat().st_mtime
            lines = self._path.read_text().split()
        except OSError as error:
            raise ConfigError(f"gateway.api_keys_file {self._path}: {error.strerror}") from error
        if not lines or min(map(len, lines)) < _LEAST_CHARACTERS:
            raise ConfigError(
                f"gateway.api_keys_file {self._path}: needs a key a line, each of at least "
                f"{_LEAST_CHARACTERS} characters"
            )
        self._digests = tuple(map(_digest, lines))


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="replace")).digest()


def server_credentials(config: GatewayConfig) -> grpc.ServerCredentials | None:
    """TLS where it is configured; new certificates count without a restart. Raises ConfigError."""
    if not config.tls_certificate_file:
        return None
    certificate, key = Path(config.tls_certificate_file), Path(config.tls_key_file)
    last = b"", b""

    def read() -> tuple[bytes, bytes]:
        return key.read_bytes(), certificate.read_bytes()

    def renewed() -> grpc.ServerCertificateConfiguration | None:
        nonlocal last
        try:
            newest = read()
        except OSError as error:
            logger.error("the certificate stays as it was: %s", error)
            return None
        if newest == last:
            return None
        last = newest
        return grpc.ssl_server_certificate_configuration([newest])

    try:
        last = read()
    except OSError as error:
        raise ConfigError(f"gateway: {error.filename}: {error.strerror}") from error
    first = grpc.ssl_server_certificate_configuration([last])
    # Its types do not know that None says "as before".
    return grpc.dynamic_ssl_server_credentials(first, renewed)  # type: ignore[arg-type]
