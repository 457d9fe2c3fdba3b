"""The example of docs/adding-a-strategy.md is a strategy: one new file and one new line."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "adding-a-strategy.md"
TABLE = Path("streamvlm/reduce/table.py")
FILE = Path("streamvlm/reduce/strategies/centre.py")
TESTS = ("tests/reduce/test_reducer_contract.py", "tests/reduce/test_build_reducer.py")


def sources(folder: Path) -> dict[Path, str]:
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.py")}


def copy_to(folder: Path) -> None:
    """What the contract test takes; no weights."""
    without = shutil.ignore_patterns("__pycache__", "*.safetensors", "*.png")
    for part in ("streamvlm", "tests/reduce"):
        shutil.copytree(ROOT / part, folder / part, ignore=without)
    shutil.copy(ROOT / "pyproject.toml", folder)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_example_passes_the_contract_as_it_stands_on_the_page(tmp_path: Path) -> None:
    copy_to(tmp_path)
    before = sources(tmp_path)
    file, line = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / FILE).write_text(file)
    head, middle, tail = before[TABLE].partition('    "compressor"')
    (tmp_path / TABLE).write_text(head + line + middle + tail)

    after = sources(tmp_path)
    assert {path for path in after if after[path] != before.get(path)} == {FILE, TABLE}
    added = Counter(after[TABLE].splitlines()) - Counter(before[TABLE].splitlines())
    assert added.total() == 1
    assert len(after[TABLE].splitlines()) == len(before[TABLE].splitlines()) + 1

    told = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "centre or table", *TESTS],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stdout + told.stderr
    passed = re.search(r"(\d+) passed", told.stdout)
    assert passed and int(passed[1]) > 50
