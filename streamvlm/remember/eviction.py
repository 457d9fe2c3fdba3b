"""Which block goes down next: the one with the lowest key."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamvlm.remember.stored import StoredBlock

Key = tuple[int, int]
"""What the policy looks at, then the id: among equals the oldest goes."""


def oldest(block: StoredBlock, num_recalls: int) -> Key:
    """Memory reaches back evenly."""
    return (0, block.block_id)


def least_recalled(block: StoredBlock, num_recalls: int) -> Key:
    """What questions were answered from stays. The only policy under which questions have a say in
    what is forgotten.
    """
    return (num_recalls, block.block_id)


def lowest_weight(block: StoredBlock, num_recalls: int) -> Key:
    """What showed most stays: the weight is the number of visual tokens that the reducer kept."""
    return (block.num_visual, block.block_id)


EVICT: Mapping[str, Callable[[StoredBlock, int], Key]] = {
    "oldest": oldest,
    "least_recalled": least_recalled,
    "lowest_weight": lowest_weight,
}
