"""Rows as a graph: what lies at each of them, handed on along its links."""

from __future__ import annotations

from torch import Tensor


def handed_on(amount: Tensor, links: Tensor, *, num_steps: int) -> Tensor:
    """float [N]: `amount`, float [N], after so many steps. In each of them every row gives away all
    it has, shared out by the softmax of its own row of `links`, float [N,N]; -inf is no link, and
    each row has at least one. The sum stays. O(N^2) a step.
    """
    share = links.softmax(dim=1)
    for _ in range(num_steps):
        amount = amount @ share
    return amount
