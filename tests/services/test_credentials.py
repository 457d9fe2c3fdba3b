"""API keys and TLS at the gateway of a real service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.credentials import KeyCheck
from streamvlm.client import Client
from streamvlm.config import Config
from streamvlm.errors import AuthenticationError, ConfigError, ServiceUnreachableError
from tests.services.serving import Serving, small_config, until

KEYS = ("first-key-0123456789", "second-key-0123456789")


@pytest.fixture(scope="module")
def key_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys"
    path.write_text("\n".join(KEYS))
    return path


@pytest.fixture(scope="module")
def guarded(key_file: Path) -> Iterator[Serving]:
    config = small_config()
    with Serving(
        config.model_copy(
            update={"gateway": config.gateway.model_copy(update={"api_keys_file": str(key_file)})}
        )
    ) as serving:
        yield serving


def test_only_who_has_a_key_gets_in(guarded: Serving) -> None:
    for key in KEYS:
        with Client(guarded.address, api_key=key) as client:
            assert client.list_streams() == []
            assert client.list_rules() == []
    for wrong in ("", "first-key", "third-key-0123456789"):
        with Client(guarded.address, api_key=wrong) as client:
            with pytest.raises(AuthenticationError) as raised:
                client.list_streams()
            assert not wrong or wrong not in str(raised.value)
            with pytest.raises(AuthenticationError):
                next(client.subscribe())
            with pytest.raises(AuthenticationError):
                list(client.push_frames("door", []))


def test_health_needs_no_key(guarded: Serving) -> None:
    with grpc.insecure_channel(guarded.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        answer = check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_key_that_was_taken_out_counts_no_more(guarded: Serving, key_file: Path) -> None:
    def is_refused() -> bool:
        with Client(guarded.address, api_key=KEYS[1]) as client:
            try:
                client.list_streams()
            except AuthenticationError:
                return True
        return False

    key_file.write_text(KEYS[0])
    try:
        until(is_refused)
        with Client(guarded.address, api_key=KEYS[0]) as client:
            assert client.list_streams() == []
    finally:
        key_file.write_text("\n".join(KEYS))


@pytest.mark.parametrize("content", ["", "short"])
def test_keys_that_are_none_are_refused_at_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(ConfigError, match="16 characters") as raised:
        KeyCheck(str(path))
    assert not content or content not in str(raised.value)
    with pytest.raises(ConfigError, match="No such file"):
        KeyCheck(str(tmp_path / "nowhere"))


def test_a_certificate_needs_its_key() -> None:
    with pytest.raises(ValueError, match="come together"):
        Config.model_validate({"gateway": {"tls_certificate_file": "a.pem"}})
    config = Config.model_validate(
        {"gateway": {"tls_certificate_file": "/no/a.pem", "tls_key_file": "/no/b.pem"}}
    )
    with pytest.raises(ConfigError, match=r"/no/b\.pem: No such file"), Serving(config):
        pass


def test_tls_keeps_out_who_does_not_speak_it(tmp_path: Path) -> None:
    authority = trustme.CA()
    made = authority.issue_cert("localhost")
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    made.cert_chain_pems[0].write_to_path(certificate)
    made.private_key_pem.write_to_path(key)
    gateway = {"tls_certificate_file": str(certificate), "tls_key_file": str(key)}
    config = Config.model_validate(small_config().model_dump() | {"gateway": gateway})
    with Serving(config) as serving:
        address = serving.address.replace("127.0.0.1", "localhost")
        with Client(address, tls_root_certificates=authority.cert_pem.bytes()) as client:
            assert client.list_streams() == []
        with Client(address, timeout_seconds=5) as client, pytest.raises(ServiceUnreachableError):
            client.list_streams()
