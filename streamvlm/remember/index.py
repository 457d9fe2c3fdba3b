"""Which blocks answer a probe best: exact inner-product search. The only file that imports
faiss.
"""

from __future__ import annotations

import faiss
import numpy as np
from torch import Tensor

# Two OpenMP threads make searches of this size ten to a hundred times slower than one (measured,
# see design notes).
faiss.omp_set_num_threads(1)


class BlockIndex:
    """Block vectors by block id. Exact; deletions hold at once."""

    def __init__(self, vector_size: int) -> None:
        self._index = faiss.IndexIDMap2(faiss.IndexFlatIP(vector_size))

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def block_ids(self) -> set[int]:
        """Ids in the index."""
        return set(faiss.vector_to_array(self._index.id_map).tolist())

    def add(self, block_id: int, summary: Tensor) -> None:
        """Add a block's `summary` float32 [R]."""
        self._index.add_with_ids(summary[None].numpy(), np.array([block_id]))

    def remove(self, block_id: int) -> None:
        """Take a block out; raises KeyError where it is not in."""
        if not self._index.remove_ids(faiss.IDSelectorBatch(np.array([block_id]))):
            raise KeyError(block_id)

    def search(self, probe: Tensor, num_blocks: int) -> list[tuple[int, float]]:
        """The (id, score) of at most `num_blocks` blocks, best first; equal scores by id. `probe`
        float32 [R].
        """
        count = min(num_blocks, len(self))
        if count < 1:
            return []
        # All scores are computed anyway; taking them all makes ties at the cut independent of
        # faiss's order.
        scores, ids = self._index.search(probe[None].numpy(), len(self))
        found = zip(ids[0].tolist(), scores[0].tolist(), strict=True)
        return sorted(found, key=lambda hit: (-hit[1], hit[0]))[:count]
