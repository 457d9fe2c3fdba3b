"""What the commands share: options, the environment, how they reach the service."""

from __future__ import annotations

import base64
import json
import math
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from streamvlm.client import DEFAULT_ADDRESS, Client
from streamvlm.errors import ConfigError
from streamvlm.types import UtcInterval


class Environment(BaseSettings):
    """What the environment may set: STREAMVLM_ADDRESS and so on."""

    model_config = SettingsConfigDict(env_prefix="STREAMVLM_", frozen=True)

    address: str = DEFAULT_ADDRESS
    log_format: Literal["text", "json"] = "text"
    data: Path = Path("~/.local/share/streamvlm")
    api_key: SecretStr = SecretStr("")
    tls: bool = False
    """Whether the service is reached by TLS."""
    tls_root_certificates: Path | None = None
    """PEM, of who signed the service's certificate; else those of the system."""
    redis_url: SecretStr = SecretStr("")
    """May hold a password."""
    metrics: str = ""
    """HOST:PORT where Prometheus finds a service; empty for nowhere."""
    name: str = Field(default_factory=socket.gethostname, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    """Tells a service from others of its kind; the same after a restart."""


def environment() -> Environment:
    """What is set. Raises ConfigError."""
    try:
        return Environment()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"STREAMVLM_{first['loc'][0]}".upper()
        raise ConfigError(f"{name}={first['input']!r}: {first['msg']}") from error


Address = Annotated[
    str | None,
    typer.Option(
        metavar="HOST:PORT",
        help=f"Where the service is; else STREAMVLM_ADDRESS, else {DEFAULT_ADDRESS}.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on one line, for scripts.")]
Timeout = Annotated[
    float, typer.Option("--timeout", min=0.1, max=86_400.0, help="Seconds to wait at most.")
]


From = Annotated[
    datetime | None,
    typer.Option(
        "--from",
        metavar="TIME",
        parser=datetime.fromisoformat,
        help="Only from then on: 2026-11-28T16:00, in UTC or with an offset.",
    ),
]
To = Annotated[
    datetime | None,
    typer.Option("--to", metavar="TIME", parser=datetime.fromisoformat, help="Only until then."),
]


def during(begin: datetime | None, end: datetime | None) -> UtcInterval | None:
    """What lies between, either of which may be open; None for no limit. Raises
    InvalidInputError.
    """
    if begin is None and end is None:
        return None
    return UtcInterval(
        start_seconds=_utc_seconds(begin) if begin else -math.inf,
        end_seconds=_utc_seconds(end) if end else math.inf,
    )


def _utc_seconds(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def client_at(address: str | None, timeout_seconds: float = 30.0) -> Client:
    """A client of the service there, or of the one that the environment names."""
    defaults = environment()
    roots = None
    if defaults.tls:
        roots = (
            defaults.tls_root_certificates.read_bytes() if defaults.tls_root_certificates else b""
        )
    return Client(
        address or defaults.address,
        timeout_seconds=timeout_seconds,
        api_key=defaults.api_key.get_secret_value(),
        tls_root_certificates=roots,
    )


def print_json(value: Any) -> None:
    """For scripts, on one line."""
    typer.echo(json.dumps(value, default=_plain))


def _plain(value: object) -> str:
    """Pictures, which JSON does not know."""
    assert isinstance(value, bytes), f"{type(value).__name__} is not for JSON"
    return base64.b64encode(value).decode()
