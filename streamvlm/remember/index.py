"""Which blocks answer a probe best. The only file that imports faiss.

Up to `exact_vectors` all blocks are scored, by sums over rows in torch. Measured on one core of an
AMD EPYC (benchmarks/index.py), 1e3, 1e4, 1e5 vectors of 512 numbers, five a block: by their best
token they take 0.2, 1.3, 13 ms; a matrix product 0.05, 1.9, 24 ms, but is not the same in every row
(`score`). faiss's IndexFlatIP knows inner products only. All are little beside the prefill of a
question. Beyond, an inverted file of product codes (IVF-PQ) names the blocks that are worth
scoring: by `vote` 10 ms instead of 103 for 1e6 vectors of 256.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import faiss
import numpy as np
import torch
from torch import Tensor

from streamvlm.remember.score import RULES
from streamvlm.remember.summary import MOST_REPRESENTATIVES
from streamvlm.remember.table import SummaryTable
from streamvlm.types import Summary

log = logging.getLogger(__name__)

EXACT_VECTORS = 200_000
"""Most vectors that are all looked at: those of forty thousand blocks, about two days."""

_VECTORS = MOST_REPRESENTATIVES + 1
"""Of a block at most: its mean and its representative tokens."""
_BACKGROUND = ThreadPoolExecutor(max_workers=1, thread_name_prefix="index")
"""Builds the inverted files of all streams, one after the other."""

# Two OpenMP threads make searches of this size ten to a hundred times slower than one (measured,
# see design notes).
faiss.omp_set_num_threads(1)


class BlockIndex:
    """Summaries by block id, scored by one rule of `score.RULES`.

    Scores are exact always. Which blocks are scored is exact up to `exact_vectors`; beyond, all
    those that are newer than the inverted file, and those of which it finds a vector by its inner
    product with the probe. It is built in the background: from when on it is used depends on the
    machine. Deletions hold at once.
    """

    def __init__(self, rule: str = "mean", exact_vectors: int = EXACT_VECTORS) -> None:
        """Raises ValueError for a rule that there is not."""
        if rule not in RULES:
            raise ValueError(f"no scoring rule {rule!r}; allowed: {', '.join(RULES)}")
        self._rule, self._exact_blocks = RULES[rule], exact_vectors // _VECTORS
        self._summaries: dict[int, Summary] = {}
        self._table = SummaryTable()
        self._file: InvertedFile | None = None
        self._newer: dict[int, None] = {}
        """Blocks that are not in the file; all where there is none."""
        self._building: Future[InvertedFile] | None = None

    def __len__(self) -> int:
        return len(self._table)

    def block_ids(self) -> set[int]:
        """Ids in the index."""
        return set(self._table.ids.tolist())

    def add(self, block_id: int, summary: Summary) -> None:
        """A block that is not in yet."""
        self._table.add(block_id, summary)
        self._summaries[block_id] = summary
        self._newer[block_id] = None
        self._take_over()
        if self._building is None and len(self._newer) > self._exact_blocks:
            # Summaries never change, so that another thread may read them.
            self._building = _BACKGROUND.submit(InvertedFile, dict(self._summaries))

    def remove(self, block_id: int) -> None:
        """Take a block out; raises KeyError where it is not in."""
        self._table.remove(block_id)
        del self._summaries[block_id]
        if block_id in self._newer:
            del self._newer[block_id]
        elif self._file is not None:
            self._file.remove(block_id)
        if self._file is not None and len(self) <= self._exact_blocks:
            self._file, self._newer = None, dict.fromkeys(self._summaries)

    def search(
        self,
        probe: Tensor,
        num_blocks: int,
        among: Sequence[int] | None = None,
        *,
        rule: str | None = None,
    ) -> list[tuple[int, float]]:
        """The (id, score) of at most `num_blocks` blocks, best first; equal scores by id. `probe`
        float32 [R]. `among` are ids of blocks that are in, where not all are wanted; `rule` is
        another one than the index's own.
        """
        if num_blocks < 1 or not len(self) or (among is not None and not among):
            return []
        if among is None:
            among = self._worth_scoring(probe, num_blocks)
        ids, scores = self.scores(probe, among, rule)
        rows = _best(ids.numpy(), scores.numpy(), num_blocks)
        return [(int(ids[row]), float(scores[row])) for row in rows]

    def scores(
        self, probe: Tensor, among: Sequence[int] | None = None, rule: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Ids int64 [B] and scores float32 [B] of blocks that are in, or of all; in no order. Needs
        one.
        """
        ids, stack = self._table.stack(among)
        return ids, (RULES[rule] if rule else self._rule)(probe, stack)

    def sample(self, most: int) -> list[int]:
        """At most `most` ids, evenly over time."""
        every = max(1, math.ceil(len(self) / most))
        return list(islice(self._summaries, 0, None, every))

    def settle(self) -> bool:
        """Wait for an inverted file that is being built. Whether one is in use. For tests and idle
        moments.
        """
        if self._building is not None:
            self._building.exception()
        self._take_over()
        return self._file is not None

    def _worth_scoring(self, probe: Tensor, num_blocks: int) -> Sequence[int] | None:
        """Ids to score; None for all."""
        self._take_over()
        if self._file is None:
            return None
        found = self._file.nearest(probe, num_blocks)
        is_enough = len(found) + len(self._newer) >= num_blocks
        return [*found, *self._newer] if is_enough else None

    def _take_over(self) -> None:
        """Use the file that was being built, once it is there."""
        if self._building is None or not self._building.done():
            return
        building, self._building = self._building, None
        if (error := building.exception()) is not None:
            log.error("all blocks are scored on, as their index cannot be built: %s", error)
            return
        if len(self) > self._exact_blocks:
            self._file = building.result()
            for block_id in self._file.block_ids - self._summaries.keys():
                self._file.remove(block_id)
            self._newer = dict.fromkeys(
                each for each in self._newer if each not in self._file.block_ids
            )


class InvertedFile:
    """Summaries of many blocks as product codes (IVF-PQ): finds vectors with large inner products,
    not always the largest.
    """

    _MEAN = 2**20 - 1
    """In an id, which is block * 2**20 + token, where the mean has no token."""
    _CANDIDATES = 32
    """Vectors looked up for each block that is wanted."""
    _POINTS = 64
    """To train each list and each code with; faiss wants 39."""
    _BATCH = 1_024
    """Blocks added at a time: the lists of many vectors are found by one matrix product."""

    def __init__(self, summaries: Mapping[int, Summary]) -> None:
        """Trained on an even sample of these. Takes half a minute for a million vectors."""
        faiss.omp_set_num_threads(1)  # holds for one thread alone
        self.block_ids = set(summaries)
        """Blocks that are in."""
        sizes = [1 + len(each.tokens) for each in summaries.values()]
        vector_size, total = next(iter(summaries.values())).mean.numel(), sum(sizes)
        every = max(1, total // (self._POINTS * max(math.isqrt(total), 256)))
        training = _vectors(islice(summaries.values(), 0, None, every))
        most = max(2, len(training) // self._POINTS)
        lists, codes = min(math.isqrt(total), most), min(8, int(math.log2(most)))
        parts = max(each for each in (1, 2, 4, 8, 16, 32, 64) if vector_size % each == 0)
        self._index = faiss.IndexIVFPQ(
            faiss.IndexFlatIP(vector_size),
            vector_size,
            lists,
            parts,
            codes,
            faiss.METRIC_INNER_PRODUCT,
        )
        self._index.nprobe = max(16, lists // 16)
        self._index.train(training)
        rest = iter(summaries.items())
        while some := dict(islice(rest, self._BATCH)):
            self._index.add_with_ids(_vectors(some.values()), self._vector_ids(some))

    def nearest(self, probe: Tensor, num_blocks: int) -> list[int]:
        """Ids of blocks of which a vector is among the nearest; more than `num_blocks`, unless most
        of them share blocks.
        """
        count = min(self._CANDIDATES * num_blocks, self._index.ntotal)
        _, ids = self._index.search(probe[None].numpy(), max(1, count))
        return sorted({each // 2**20 for each in ids[0].tolist() if each >= 0})

    def _vector_ids(self, summaries: Mapping[int, Summary]) -> np.ndarray:
        """int64, one for each row of `_vectors`."""
        each = [block * 2**20 + np.append(self._MEAN, s.tokens) for block, s in summaries.items()]
        ids: np.ndarray = np.concatenate(each)
        return ids

    def remove(self, block_id: int) -> None:
        """A block that is in."""
        self.block_ids.remove(block_id)
        self._index.remove_ids(faiss.IDSelectorRange(block_id * 2**20, (block_id + 1) * 2**20))


def _best(ids: np.ndarray, scores: np.ndarray, most: int) -> np.ndarray:
    """Rows of at most so many, best first; equal scores by id."""
    rows = np.arange(len(ids))
    if most < len(ids):
        # Sorting all of them takes as long as scoring their means.
        rows = np.flatnonzero(scores >= np.partition(scores, -most)[-most])
    best: np.ndarray = rows[np.lexsort((ids[rows], -scores[rows]))[:most]]
    return best


def _vectors(summaries: Iterable[Summary]) -> np.ndarray:
    """float32 [N,R]: of each block the mean, then the representative tokens."""
    parts = [part for each in summaries for part in (each.mean[None], each.keys)]
    stacked: np.ndarray = torch.cat(parts).flatten(1).numpy()
    return stacked
