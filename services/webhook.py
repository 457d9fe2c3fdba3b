"""One attempt to deliver: to the address that was checked, without redirects, within a time."""

from __future__ import annotations

import asyncio
import email.utils
import ipaddress
import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path

import httpx

from services.envelope import CONTENT_TYPE, checked_secret, signed_headers
from streamvlm.config import WebhookConfig
from streamvlm.errors import ConfigError

_BUSY = (429, 502, 503, 504)
_GONE = 410
_LONGEST_WAIT_SECONDS = 3_600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """What came of it."""

    is_delivered: bool = False
    is_gone: bool = False
    """The receiver wants nothing any more."""
    problem: str = ""
    wait_seconds: float | None = None
    """How long the receiver asks to be left alone."""


class Webhook:
    """A receiver."""

    def __init__(self, config: WebhookConfig, client: httpx.AsyncClient) -> None:
        """Raises ConfigError where the secret is missing or none."""
        self.config, self._client = config, client
        self._url = httpx.URL(config.url)
        self._secrets = _secrets(config)

    async def send(self, identity: str, body: bytes) -> Attempt:
        """Try once."""
        now = time.time()
        headers = {
            "content-type": CONTENT_TYPE,
            "user-agent": "streamvlm",
            "host": self._url.netloc.decode(),
            **signed_headers(self._secrets, identity, int(now), body),
        }
        try:
            address = await self._address()
            request = self._client.build_request(
                "POST",
                self._url.copy_with(host=address),
                content=body,
                headers=headers,
                extensions={"sni_hostname": self._url.host},
            )
            response = await self._client.send(request, stream=True)
            await response.aclose()  # what it says does not matter, however long that is
        except (httpx.HTTPError, httpx.InvalidURL, OSError, _NotAllowedError) as error:
            return Attempt(problem=f"{type(error).__name__.lstrip('_')}: {error}")
        if response.is_success:
            return Attempt(is_delivered=True)
        return Attempt(
            is_gone=response.status_code == _GONE,
            problem=f"status {response.status_code}",
            wait_seconds=_wait_seconds(response) if response.status_code in _BUSY else None,
        )

    async def _address(self) -> str:
        """Where the name leads now, if that is allowed: a name that is checked and then looked up
        again could lead elsewhere.
        """
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(
            self._url.host, port, type=socket.SOCK_STREAM
        )
        addresses = [entry[4][0] for entry in found]
        allowed = [each for each in addresses if self.config.allow_private or _is_public(str(each))]
        if not allowed:
            raise _NotAllowedError(
                f"{self._url.host} is in a private network; allow_private allows that"
            )
        return str(allowed[0])


class _NotAllowedError(Exception):
    """The address is not one that may be called."""


def _is_public(address: str) -> bool:
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_global and not parsed.is_multicast


def _wait_seconds(response: httpx.Response) -> float | None:
    """Of `Retry-After`, in seconds or as a date."""
    told = response.headers.get("retry-after", "")
    if told.isdecimal():
        return min(float(told), _LONGEST_WAIT_SECONDS)
    try:
        until = email.utils.parsedate_to_datetime(told).timestamp()
    except ValueError:
        return None
    return min(max(0.0, until - time.time()), _LONGEST_WAIT_SECONDS)


def _secrets(config: WebhookConfig) -> list[bytes]:
    where = f"webhook {config.name}"
    if bool(config.secret_file) is bool(config.secret_variable):
        raise ConfigError(f"{where}: give one of secret_file and secret_variable")
    if config.secret_file:
        try:
            texts = Path(config.secret_file).read_text().split()
        except OSError as error:
            raise ConfigError(f"{where}: {config.secret_file}: {error.strerror}") from error
    else:
        texts = os.environ.get(config.secret_variable, "").split()
    if not texts:
        raise ConfigError(f"{where}: {config.secret_file or config.secret_variable} is empty")
    return [checked_secret(text, where) for text in texts]
