"""How many bytes a stream's reduction holds, whatever it is made of."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import fields, is_dataclass

from torch import Tensor

_OURS = __name__.rpartition(".")[0]


def held_bytes(*held: object) -> int:
    """Bytes of the tensors in these and in all that they hold: containers, dataclasses, and objects
    of this package. What several views or owners share counts once, and in full.
    """
    storages: dict[int, int] = {}
    seen: dict[int, object] = {}
    todo = list(held)
    while todo:
        each = todo.pop()
        if isinstance(each, Tensor):
            storage = each.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        elif id(each) not in seen:
            seen[id(each)] = each
            todo += _parts(each)
    return sum(storages.values())


def _parts(each: object) -> Iterable[object]:
    if isinstance(each, (list, tuple, deque, set, frozenset)):
        return each
    if isinstance(each, dict):
        return each.values()
    if is_dataclass(each) and not isinstance(each, type):
        return [getattr(each, field.name) for field in fields(each)]
    return vars(each).values() if type(each).__module__.startswith(_OURS) else ()
