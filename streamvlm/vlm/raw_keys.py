"""Raw keys and queries: what the projections give before rotary positions, caught on their way.

A forward hook on the projection (or the norm behind it) sees exactly what attention will rotate, so
rotating it gives the native key bit for bit; nothing of transformers is patched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn


@dataclass(slots=True, eq=False)
class Caught:
    """What came by while the model ran once; each as the module gave it, [1,S,heads*E] or
    [1,S,heads,E].
    """

    keys: list[Tensor] = field(default_factory=list)
    """One a layer."""
    queries: list[Tensor] = field(default_factory=list)
    """Of the index layer."""
    last_queries: list[Tensor] = field(default_factory=list)
    """Those of the last token, one a layer."""


@contextmanager
def catch(
    attentions: Sequence[nn.Module], *, key_module: str, query_module: str, index_layer: int
) -> Iterator[Caught]:
    """Catch the raw keys of all layers, the raw queries of `index_layer` and those of the last
    token while inside.
    """
    caught = Caught()

    def into(tensors: list[Tensor]) -> Callable[[Any, Any, Tensor], None]:
        return lambda _module, _inputs, output: tensors.append(output)

    def last_into(tensors: list[Tensor]) -> Callable[[Any, Any, Tensor], None]:
        # A copy: a view would keep the queries of all tokens.
        return lambda _module, _inputs, output: tensors.append(output[:, -1:].clone())

    queries = [attention.get_submodule(query_module) for attention in attentions]
    hooks = [
        attention.get_submodule(key_module).register_forward_hook(into(caught.keys))
        for attention in attentions
    ]
    hooks += [each.register_forward_hook(last_into(caught.last_queries)) for each in queries]
    hooks.append(queries[index_layer].register_forward_hook(into(caught.queries)))
    try:
        yield caught
    finally:
        for hook in hooks:
            hook.remove()
