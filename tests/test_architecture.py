"""The shape of the project, held by a machine."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import streamvlm.errors
from streamvlm.errors import StreamVLMError

ROOT = Path(__file__).parent.parent
MAKE_TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_every_make_target_of_the_readme_exists() -> None:
    named = set(re.findall(r"\bmake ([a-z]+)", (ROOT / "README.md").read_text()))
    assert named and named <= MAKE_TARGETS


def test_every_path_in_the_readme_exists() -> None:
    links = re.findall(r"\]\(([^#)h][^)]*)\)", (ROOT / "README.md").read_text())
    assert links
    for link in links:
        assert (ROOT / link).exists(), link


def test_every_command_of_the_readme_is_one_of_the_command_line() -> None:
    named = set(re.findall(r"bin/streamvlm ([a-z-]+)", (ROOT / "README.md").read_text()))
    shown = subprocess.run(
        [sys.executable, "-m", "streamvlm.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    offered = set(re.findall(r"^\W*([a-z]+)  ", shown, re.MULTILINE))
    assert named and named <= offered, named - offered


def test_every_error_has_a_reason_of_its_own_and_is_in_the_drawn_tree() -> None:
    def below(error: type[StreamVLMError]) -> list[type[StreamVLMError]]:
        return [error, *(e for child in error.__subclasses__() for e in below(child))]

    errors = set(below(StreamVLMError))
    assert len({error.reason for error in errors}) == len(errors)
    assert streamvlm.errors.__doc__ is not None
    for error in errors:
        assert error.__name__ in streamvlm.errors.__doc__, error.__name__


@pytest.mark.parametrize("module", ["streamvlm.types", "streamvlm.capture", "streamvlm.client"])
def test_what_must_start_small_loads_no_torch(module: str) -> None:
    check = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_files_are_short_enough_to_read() -> None:
    generated = ROOT / "streamvlm" / "wire" / "v1"
    long = {
        str(path.relative_to(ROOT))
        for folder in ("streamvlm", "services")
        for path in (ROOT / folder).rglob("*.py")
        if generated not in path.parents and len(path.read_text().splitlines()) > 300
    }
    # What flows is one list, read from top to bottom.
    assert long <= {"streamvlm/types.py"}, "split by idea, not by size"
