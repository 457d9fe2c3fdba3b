"""What reduction strategies are made of: choose rows, keep rows, compare cells. Pure functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product

import torch
from torch import Tensor
from torch.linalg import vector_norm
from torch.nn.functional import threshold

from streamvlm.reduce.base import Reference
from streamvlm.reduce.host import read
from streamvlm.types import KeptTokens, VisualTokens

_ZERO_NORM = 1e-12
_ROUNDING = 64
"""Of a cosine, in units of the last place; sums of some thousand numbers differ by a few."""
_CACHED_NUMBERS = 2**19
"""So many float32 stay in the cache of a core."""
_NO_SPAN = 1e-6
_STEPS = 2**16


def keep_rows(tokens: VisualTokens, indices: Tensor) -> KeptTokens:
    """Prune: keep these rows as they are, each with weight 1.

    `indices` int64 [K], in any order, on any device. Raises ValueError for a row that is not there
    or comes twice; the host waits for the device to know.
    """
    rows = indices.to(tokens.features.device).sort().values
    _check_rows(rows, len(tokens))
    return take_rows(tokens, rows)


def take_rows(tokens: VisualTokens, rows: Tensor) -> KeptTokens:
    """`keep_rows` of rows that are known to be there, in order and distinct; nobody waits."""
    deepstack = tokens.deepstack
    return KeptTokens(
        features=tokens.features.index_select(0, rows),
        cells=tokens.cells.index_select(0, rows),
        indices=rows,
        weight=torch.ones(len(rows), dtype=torch.float32, device=rows.device),
        grid_thw=tokens.grid_thw,
        interval=tokens.interval,
        pts_seconds=tokens.pts_seconds,
        deepstack=None if deepstack is None else deepstack.index_select(1, rows),
        picture=tokens.picture,
    )


def whole_clip(tokens: VisualTokens, max_kept: int | None) -> KeptTokens:
    """All tokens; under a cap evenly spaced ones, as nothing ranks cells without a distance."""
    count = len(tokens) if max_kept is None else min(len(tokens), max_kept)
    return take_rows(tokens, evenly_spaced(len(tokens), count, tokens.features.device))


def _check_rows(rows: Tensor, num_total: int) -> None:
    """Raise ValueError unless the sorted `rows` are distinct and in [0, num_total)."""
    # One boolean for all three conditions: on a GPU each one read costs a synchronisation.
    is_valid = (rows >= 0).all() & (rows < num_total).all() & (rows.diff() > 0).all()
    if not is_valid:
        raise ValueError(f"rows must be distinct and in [0, {num_total}), got {rows.tolist()}")


def merge_rows(tokens: VisualTokens, owner: Tensor) -> KeptTokens:
    """Merge: each row joins the one that `owner`, int64 [N], names, itself or another; -1 leaves it
    out. What is kept stands at the owner and is the mean of those that joined it.

    Raises ValueError where an owner is not there or does not own itself.
    """
    owner = owner.to(tokens.features.device)
    joined = owner.clamp_min(0)
    is_valid = (owner < len(owner)) & (owner >= -1) & ((owner < 0) | (owner[joined] == owner))
    if not is_valid.all():
        raise ValueError(f"owners must own themselves and be in [0, {len(owner)}), got {owner}")
    rows = (owner == torch.arange(len(owner), device=owner.device)).nonzero().flatten()
    kept = keep_rows(tokens, rows)
    members = (owner >= 0).nonzero().flatten()
    group = torch.searchsorted(rows, owner[members])
    weight = torch.zeros_like(kept.weight).index_add(0, group, kept.weight.new_ones(len(members)))
    deepstack = tokens.deepstack
    return replace(
        kept,
        features=group_means(tokens.features[members], group, weight),
        weight=weight,
        owner=owner,
        deepstack=None
        if deepstack is None
        else torch.stack([group_means(each[members], group, weight) for each in deepstack]),
    )


def group_means(rows: Tensor, group: Tensor, weight: Tensor) -> Tensor:
    """[K,D]: the mean of the rows of each group, of which there are `weight` [K]; `group` int64 is
    that of each of the rows [M,D]. A single row comes out as it was.
    """
    wide = rows.to(torch.promote_types(rows.dtype, torch.float32))
    sums = wide.new_zeros(len(weight), rows.shape[-1]).index_add(0, group, wide)
    return (sums / weight[:, None]).to(rows.dtype)


def scaled(values: Tensor) -> Tensor:
    """float [N] brought to [0, 1]; 0.5 where all are alike, as then none of them says anything."""
    if not len(values):
        return values
    low, high = values.aminmax()
    span = high - low
    return torch.where(span > _NO_SPAN, (values - low) / span.clamp_min(_NO_SPAN), 0.5)


def evenly_spaced(num_total: int, count: int, device: torch.device | str | None = None) -> Tensor:
    """int64 [count]: the middles of `count` <= `num_total` equal stretches of the rows."""
    index = torch.arange(count, device=device)
    return (2 * index + 1) * num_total // (2 * max(1, count))


def strongest_rows(keep: Tensor, strength: Tensor, *, at_least: int, at_most: int | None) -> Tensor:
    """The rows marked in `keep`, bool [N], brought within bounds: int64 [K], strongest first.

    Too few: the strongest others join them. Too many: the weakest leave. `strength` is float [N];
    of equally strong rows the lower index comes first. `at_most` (None = no bound) wins over
    `at_least`.
    """
    ((marked,),) = read(keep.sum())
    count = max(int(marked), at_least)
    return ranked(keep, strength)[: count if at_most is None else min(count, at_most)]


def ranked(keep: Tensor, strength: Tensor) -> Tensor:
    """int64 [...,N]: all rows, those marked in `keep`, bool [...,N], first, and of each kind the
    strongest first.
    """
    rows = by_strength(strength)
    return rows.gather(-1, by_strength(keep.gather(-1, rows).byte()))


def marked_rows(keep: Tensor, count: int) -> Tensor:
    """int64 [count]: the rows marked in `keep`, bool [N], in order, where it is known how many
    there are.
    """
    return by_strength(keep.byte())[:count]


def by_strength(strength: Tensor) -> Tensor:
    """int64 [...,N]: all rows, the strongest first, of equally strong ones the lower index."""
    return strength.sort(dim=-1, descending=True, stable=True).indices


def in_steps(values: Tensor) -> Tensor:
    """float [...], whole numbers: what differs in its last bits only, which depend on where it
    stands, is equal here.
    """
    return (values * _STEPS).round()


def first_highest(values: Tensor) -> Tensor:
    """int64 [...]: where the highest of [...,N] is, of equal ones the first; compared in steps."""
    steps = in_steps(values)
    return (steps == steps.amax(dim=-1, keepdim=True)).byte().argmax(dim=-1)


def novelty(tokens: VisualTokens, reference: Reference | None) -> Tensor:
    """float [N] in [0, 2]: how far each cell is from what was last kept of it; from the mean of its
    clip where there is nothing of this grid to compare with.
    """
    if reference is not None and reference.grid_thw == tokens.grid_thw:
        return cosine_distance(tokens.features, reference.features)
    return cosine_distance(tokens.features, tokens.features.mean(dim=0, keepdim=True))


def cosine_distance(left: Tensor, right: Tensor) -> Tensor:
    """1 - cosine of matching rows: float [N,D] and [N,D] or [1,D] to [N] in [0, 2].

    Exactly 0 for equal rows, and where only rounding is between them; 1 where either is a zero
    vector. Computed in float32 at least: near 1 a bfloat16 cosine cannot tell noise from change.
    """
    return cosine_distances([left], [right])[0][0]


def cosine_distances(
    left: Sequence[Tensor],
    right: Sequence[Tensor],
    right_lengths: Sequence[Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """[S,N]: `cosine_distance` of S pairs of float [N,D], in one go where that is faster; the same
    numbers in any company. And [S,N], `row_lengths` of the left ones. Those of the right ones, [N]
    each, are worked out unless somebody has kept them.
    """
    pairs = list(zip(left, right, strict=True))
    if len(pairs) > 1 and left[0].device.type != "cpu":
        # On a CPU the copies cost more than the calls.
        pairs = [(torch.cat(list(left)), torch.cat(list(right)))]
    ours, theirs, inner = [], list(right_lengths or ()), []
    for pair in pairs:
        for one, other in _parts(*pair):
            ours.append(row_lengths(one))
            if right_lengths is None:
                theirs.append(row_lengths(other).expand(len(one)))
            inner.append(_inner(one, other))
    lengths, products = torch.cat(ours), torch.cat(inner)
    distance = _one_minus(products, lengths * torch.cat(theirs))
    return distance.view(len(left), -1), lengths.view(len(left), -1)


def row_lengths(features: Tensor) -> Tensor:
    """[...]: the Euclidean norm of each row of float [...,D], in float32 at least."""
    lengths: Tensor = vector_norm(features, dim=-1, dtype=_wide_type(features))
    return lengths


def _parts(left: Tensor, right: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Matching rows of [N,D] and [N,D] or [1,D] in float32 at least, as many as are best compared
    at once; those of `left` are a copy.
    """
    # On a CPU the float32 copies of a whole clip leave the cache, which costs more than arithmetic.
    is_cpu = left.device.type == "cpu"
    at_once = max(1, _CACHED_NUMBERS // max(1, left.shape[1])) if is_cpu else max(1, len(left))
    ours = left.split(at_once)
    theirs = right.split(at_once) if len(right) == len(left) else [right] * len(ours)
    for one, other in zip(ours, theirs, strict=True):
        yield one.to(_wide_type(left), copy=True), other.to(_wide_type(left))


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """[n]: the inner products of matching rows, [n,D] and [n,D] or [1,D]; overwrites `left`, as a
    third clip would not stay in the cache either.
    """
    return left.mul_(right).sum(dim=1)


def _one_minus(inner: Tensor, lengths: Tensor) -> Tensor:
    """[...]: 1 - cosine, by the inner products of rows and the products of their lengths."""
    no_distance = _ROUNDING * torch.finfo(inner.dtype).eps
    distance = threshold(1 - inner / lengths, no_distance, 0.0).clamp_max(2.0)
    return distance.masked_fill(lengths == 0, 1.0)


def neighbour_distance(
    left: Tensor,
    right: Tensor,
    grid_thw: tuple[int, int, int],
) -> Tensor:
    """`cosine_distance` of each cell to the most alike of the 3 x 3 cells around it in `right`.

    `left` and `right` float [N,D] in raster order of `grid_thw`; returns [N]. Neighbours are of the
    same t, and inside the picture.
    """
    _, num_rows, num_columns = grid_thw
    ours, theirs = _wide(left), _wide(right)
    our_lengths, their_lengths = vector_norm(ours, dim=1), vector_norm(theirs, dim=1)
    cell = torch.arange(len(left), device=left.device).view(grid_thw)
    row = torch.arange(num_rows, device=left.device)
    column = torch.arange(num_columns, device=left.device)
    nearest = torch.full_like(our_lengths, torch.inf)
    for down, across in product((-1, 0, 1), repeat=2):
        # A step over the border stays on it: that cell is a neighbour anyway, and padding is not.
        there = cell.index_select(1, (row + down).clamp(0, num_rows - 1))
        there = there.index_select(2, (column + across).clamp(0, num_columns - 1)).flatten()
        inner = (theirs.index_select(0, there) * ours).sum(dim=1)
        distance = _one_minus(inner, our_lengths * their_lengths.index_select(0, there))
        nearest = torch.minimum(nearest, distance)
    return nearest


def directions(features: Tensor) -> Tensor:
    """[...,D]: rows scaled to length 1, in float32 at least; zero vectors stay zero."""
    wide = _wide(features)
    norm = vector_norm(wide, dim=-1, keepdim=True)
    return torch.where(norm > _ZERO_NORM, wide / norm.clamp_min(_ZERO_NORM), 0.0)


def _wide(features: Tensor) -> Tensor:
    return features.to(_wide_type(features))


def _wide_type(features: Tensor) -> torch.dtype:
    return torch.promote_types(features.dtype, torch.float32)
