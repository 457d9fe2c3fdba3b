"""Annotation files, field by field: what is not as published is named with file and entry."""

from __future__ import annotations

import ast
import csv
import importlib
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streamvlm.errors import SuiteFormatError
from streamvlm.evaluate.suites.timestamps import to_seconds


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of an annotation file. Every getter raises SuiteFormatError."""

    file: Path
    place: str
    """Where in the file, such as "entry 3"; counted from 0."""
    values: Mapping[str, Any]

    def __str__(self) -> str:
        return f"{self.file}: {self.place}"

    def error(self, field: str, expected: str) -> SuiteFormatError:
        """This field is not what was expected."""
        found = repr(self.values[field]) if field in self.values else "missing"
        shown = found if len(found) <= 120 else f"{found[:117]}..."
        return SuiteFormatError(f"{self}: {field} is {shown}; expected {expected}")

    def text(self, field: str) -> str:
        """Text that is not empty, without spaces around it."""
        value = self.values.get(field)
        if not isinstance(value, str) or not value.strip():
            raise self.error(field, "text")
        return value.strip()

    def word(self, field: str, allowed: Mapping[str, object]) -> str:
        """One of the allowed words."""
        value = self.values.get(field)
        if not isinstance(value, str) or value.strip() not in allowed:
            raise self.error(field, f"one of {', '.join(allowed)}")
        return value.strip()

    def whole(self, field: str, least: int, below: float = math.inf) -> int:
        """A whole number in [least, below)."""
        value = self.values.get(field)
        if type(value) is not int or not least <= value < below:
            most = f" and below {below}" if below < math.inf else ""
            raise self.error(field, f"a whole number from {least}{most}")
        return value

    def seconds(self, field: str) -> float:
        """Seconds as a number."""
        value = self.values.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf:
            return float(value)
        raise self.error(field, "seconds, at least 0")

    def timestamp(self, field: str) -> float:
        """Seconds of a text such as "00:01:23"."""
        value = self.values.get(field)
        seconds = to_seconds(value) if isinstance(value, str) else None
        if seconds is None:
            raise self.error(field, 'a time such as "00:01:23" or "01:23"')
        return seconds

    def texts(self, field: str, *, is_literal: bool = False) -> tuple[str, ...]:
        """At least two texts; `is_literal`: written as a Python list into one text."""
        value = self.values.get(field)
        if is_literal and isinstance(value, str):
            try:
                value = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                value = None
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.error(field, "a list of texts")
        if not 2 <= len(value) <= 26:
            raise self.error(field, "2 to 26 texts")
        return tuple(value)

    def letter(self, field: str, num_options: int) -> str:
        """The letter of one of so many options."""
        letters = {chr(ord("A") + index): index for index in range(num_options)}
        return self.word(field, letters)

    def entries(self, field: str) -> list[Entry]:
        """Entries inside this one; at least one."""
        value = self.values.get(field)
        if not isinstance(value, list) or not value:
            raise self.error(field, "a list of entries")
        return _entries(self.file, value, f"{self.place}, {field} ")


def read_json(path: Path) -> list[Entry]:
    """The entries of a file that holds a list of objects. Raises SuiteFormatError."""
    value = _read(path, lambda: json.loads(path.read_text(encoding="utf-8-sig")))
    if not isinstance(value, list):
        raise SuiteFormatError(f"{path}: expected a list of entries, found {type(value).__name__}")
    return _entries(path, value, "entry ")


def read_csv(path: Path, columns: tuple[str, ...]) -> list[Entry]:
    """The rows of a file that has at least these columns. Raises SuiteFormatError."""

    def rows() -> list[dict[str, Any]]:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            lacking = [each for each in columns if each not in (reader.fieldnames or ())]
            if lacking:
                raise SuiteFormatError(
                    f"{path}: no column {', '.join(lacking)}; found "
                    f"{', '.join(reader.fieldnames or ()) or 'none'}"
                )
            return list(reader)

    return _entries(path, _read(path, rows), "row ")


def read_parquet(path: Path) -> list[Entry]:
    """The rows of a file. Raises SuiteFormatError, also where pyarrow is not installed."""

    def rows() -> Any:
        try:
            parquet = importlib.import_module("pyarrow.parquet")
        except ImportError:
            raise SuiteFormatError(f"{path}: to read parquet, install pyarrow") from None
        # Not `read_table`: it takes the names of folders for columns.
        return parquet.ParquetFile(path).read().to_pylist()

    return _entries(path, _read(path, rows), "row ")


def _read(path: Path, read: Callable[[], Any]) -> Any:
    """What `read` gives, its failures named."""
    if not path.is_file():
        raise SuiteFormatError(f"{path}: there is no such annotation file")
    try:
        return read()
    except SuiteFormatError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        kind = path.suffix.lstrip(".")
        raise SuiteFormatError(f"{path}: cannot be read as {kind}: {error}") from error


def _entries(path: Path, values: list[Any], place: str) -> list[Entry]:
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise SuiteFormatError(
                f"{path}: {place}{index} is {type(value).__name__}; expected an object"
            )
    return [Entry(path, f"{place}{index}", value) for index, value in enumerate(values)]
