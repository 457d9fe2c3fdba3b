"""Is this machine fit to run streamvlm? Each check finds out one thing, by trying it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

from streamvlm import config
from streamvlm.client import Client
from streamvlm.errors import StreamVLMError

LIBAVFORMAT_MAJOR = 59
"""Since FFmpeg 5, from which on the camera's clock reaches us."""
TRANSFORMERS = ((5, 17), (5, 24))
"""From this version, to below that one."""
TORCH = (2, 11)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One finding."""

    name: str
    is_ok: bool
    detail: str
    is_required: bool = True


def examine(config_path: Path | None, address: str) -> Iterator[Check]:
    """All checks, one after the other; each may take a moment."""
    yield _try("Python", _python)
    yield _try("torch", _torch)
    yield _try("transformers", _transformers)
    yield _try("libavformat", _libavformat)
    yield _try("libx264", _libx264, is_required=False)
    yield _try("decord", lambda: _imported("decord"), is_required=False)
    yield _try("faiss", lambda: _imported("faiss"))
    yield _try("gRPC", lambda: _imported("streamvlm.wire.v1.query_service_pb2_grpc", of="grpcio"))
    yield _try("checkpoint", lambda: _checkpoint(config_path))
    yield _try("service", lambda: _service(address), is_required=False)


class _Unfit(Exception):
    """What a check found wrong."""


def _try(name: str, check: Callable[[], str], *, is_required: bool = True) -> Check:
    try:
        return Check(name=name, is_ok=True, detail=check(), is_required=is_required)
    except (StreamVLMError, _Unfit) as error:
        detail = str(error)
    except Exception as error:
        # A broken library may raise anything while it is imported; that is what we look for.
        detail = f"{type(error).__name__}: {error}"
    return Check(name=name, is_ok=False, detail=detail, is_required=is_required)


def _python() -> str:
    found = sys.version_info[:3]
    if not (3, 11) <= found < (3, 13):
        raise _Unfit(f"{_dotted(found)}; needed: 3.11 or 3.12")
    return _dotted(found)


def _torch() -> str:
    torch = import_module("torch")
    if _version_of("torch") < TORCH:
        raise _Unfit(f"{torch.__version__}; needed: {_dotted(TORCH)} or newer")
    if not torch.cuda.is_available():
        return f"{torch.__version__}, no CUDA device: everything runs on the CPU"
    return f"{torch.__version__}, {torch.cuda.get_device_name()}"


def _transformers() -> str:
    import_module("transformers")
    first, beyond = TRANSFORMERS
    if not first <= _version_of("transformers") < beyond:
        raise _Unfit(
            f"{version('transformers')}; needed: {_dotted(first)} to below {_dotted(beyond)}"
        )
    return version("transformers")


def _libavformat() -> str:
    found = import_module("av").library_versions["libavformat"]
    if found[0] < LIBAVFORMAT_MAJOR:
        raise _Unfit(f"{_dotted(found)}; needed: {LIBAVFORMAT_MAJOR} or newer")
    return f"{_dotted(found)} in PyAV {version('av')}"


def _libx264() -> str:
    if "libx264" not in import_module("av").codecs_available:
        raise _Unfit("missing; the test camera of `make demo` needs it")
    return "present"


def _imported(module: str, of: str | None = None) -> str:
    found = import_module(module)
    return version(of) if of else str(found.__version__)


def _checkpoint(config_path: Path | None) -> str:
    settings = config.load(config_path) if config_path else config.Config()
    load = import_module("streamvlm.vlm").load
    vlm = load(settings.vlm.checkpoint, dtype=settings.vlm.dtype, device=settings.vlm.device)
    return f"{settings.vlm.checkpoint} on {vlm.device}"


def _service(address: str) -> str:
    with Client(address, timeout_seconds=3.0) as client:
        if not client.is_serving():
            raise _Unfit(
                f"{address} is there, but not ready: Redis, a worker or an ingest is missing, or "
                "the model is being loaded; the log of each says more"
            )
        streams = client.list_streams()
    blind = [f"{each.stream_id} ({each.feed.reason})" for each in streams if each.feed.reason]
    if blind:
        raise _Unfit(f"{address} does not see {', '.join(blind)}")
    return f"{address} watches {len(streams)} streams"


def _version_of(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(package).split(".")[:2])


def _dotted(numbers: tuple[int, ...]) -> str:
    return ".".join(map(str, numbers))
