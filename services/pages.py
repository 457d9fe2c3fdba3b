"""Listings in pages: sorted by id, and the token of a page is the last id of the one before."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from streamvlm.errors import InvalidInputError

DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE = 100, 1000

_Entry = TypeVar("_Entry")


def page(
    entries: Sequence[_Entry], id_of: Callable[[_Entry], str], page_size: int, page_token: str
) -> tuple[Sequence[_Entry], str]:
    """One page of entries sorted by id, and the token of the next; empty where it is the last.

    Raises InvalidInputError.
    """
    if page_size < 0:
        raise InvalidInputError(f"page_size = {page_size}; allowed: 0 and above")
    most = min(page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
    rest = [entry for entry in entries if id_of(entry) > page_token]
    return rest[:most], id_of(rest[most - 1]) if len(rest) > most else ""
