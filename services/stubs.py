"""From `proto/` to `streamvlm/wire/v1`: `python -m services.stubs` writes, `--check` compares."""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from importlib.resources import files
from pathlib import Path

_ROOT = Path(__file__).parents[1]
PROTO_FOLDER = _ROOT / "proto"
WIRE_FOLDER = _ROOT / "streamvlm" / "wire" / "v1"
_PATTERNS = ("*_pb2.py", "*_pb2.pyi", "*_pb2_grpc.py")


def generate() -> dict[str, str]:
    """The text of every generated module by file name. Raises RuntimeError where protoc fails."""
    from grpc_tools import protoc

    sources = sorted(str(path) for path in PROTO_FOLDER.glob("streamvlm/v1/*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        well_known = files("grpc_tools") / "_proto"
        command = ["protoc", f"-I{PROTO_FOLDER}", f"-I{well_known}", *outputs, *sources]
        if protoc.main(command) != 0:
            raise RuntimeError(f"protoc could not compile {PROTO_FOLDER}")
        written = Path(folder, "streamvlm", "v1")
        return {
            path.name: _at_home(path.read_text())
            for pattern in _PATTERNS
            for path in sorted(written.glob(pattern))
        }


def _at_home(code: str) -> str:
    """Import siblings from where they really are.

    protoc derives modules from the proto path, `streamvlm.v1`, which would be inside our package.
    Mapping that path with -I would also rename the files in the descriptors, which reflection
    shows and in which other people's generated code must agree.
    """
    return re.sub(r"^from streamvlm\.v1 import", "from streamvlm.wire.v1 import", code, flags=re.M)


def stale(generated: dict[str, str]) -> list[str]:
    """Names of committed modules that are missing, superfluous, or differ from these."""
    committed = {
        path.name: path.read_text() for pattern in _PATTERNS for path in WIRE_FOLDER.glob(pattern)
    }
    return sorted(
        name
        for name in committed.keys() | generated.keys()
        if committed.get(name) != generated.get(name)
    )


def write(generated: dict[str, str]) -> None:
    """Make the committed modules equal to these."""
    for pattern in _PATTERNS:
        for path in WIRE_FOLDER.glob(pattern):
            path.unlink()
    for name, code in generated.items():
        (WIRE_FOLDER / name).write_text(code)


def main() -> int:
    """Write or check; the exit status."""
    parser = argparse.ArgumentParser(description="Generated code from proto/.")
    parser.add_argument("--check", action="store_true", help="fail when it differs, write nothing")
    generated = generate()
    if not parser.parse_args().check:
        write(generated)
        return 0
    names = stale(generated)
    if names:
        sys.stderr.write(f"streamvlm/wire/v1 differs from proto/: {', '.join(names)}; make proto\n")
    return 1 if names else 0


if __name__ == "__main__":
    sys.exit(main())
