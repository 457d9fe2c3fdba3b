"""A block wherever it lies: on the device, in host memory, or in a file."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from streamvlm.remember.block_file import Contents
from streamvlm.remember.pictures import Pictures
from streamvlm.remember.quantise import Form, HeldKV, QuantisedKV, form_of, restored
from streamvlm.types import InputTokens, Interval, KVBlock, RawKV, Summary, Tier


@dataclass(frozen=True, slots=True, weakref_slot=True, kw_only=True, eq=False)
class FileKV:
    """Keys and values of S tokens in a file that never changes, see `block_file`."""

    path: Path
    num_tokens: int
    num_bytes: int
    """Of the file."""
    sha256: str
    """Of the file."""
    form: Form
    """How they are held in it."""

    def __len__(self) -> int:
        return self.num_tokens


StoredKV = HeldKV | FileKV


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StoredBlock:
    """A `KVBlock` as memory holds it; moved by replacing it, so whoever holds it keeps it."""

    block_id: int
    kv: StoredKV
    summary: Summary
    interval: Interval
    is_visual: Tensor
    clip_lengths: tuple[int, ...]
    tier: Tier = Tier.DEVICE
    inputs: InputTokens | None = None
    """What it was prefilled from, where a lower tier holds only that, see `again`."""
    pictures: Pictures | None = None
    """What it is seen again from, where a lower tier holds only that. A block that lies so is
    described by the other fields as it was before."""

    @property
    def num_visual(self) -> int:
        """Visual tokens in the block."""
        return int(self.is_visual.sum())

    @property
    def form(self) -> Form:
        """How keys and values are held."""
        return self.kv.form if isinstance(self.kv, FileKV) else form_of(self.kv)

    @property
    def num_bytes(self) -> int:
        """Bytes of keys and values in their form, and of what is kept beside them."""
        held = (self.kv, self.inputs, self.pictures)
        return sum(each.num_bytes for each in held if each is not None)

    def moved(self, kv: HeldKV, device: torch.device) -> StoredBlock:
        """With keys and values brought there, and what is kept beside them too."""
        return replace(self, kv=kv, inputs=self.inputs and inputs_on(self.inputs, device))

    def contents(self, kv: HeldKV) -> Contents:
        """What a file of it holds, with keys and values in this form."""
        return Contents(
            kv=kv,
            summary=self.summary,
            is_visual=self.is_visual,
            clip_lengths=self.clip_lengths,
            inputs=self.inputs,
            pictures=self.pictures,
        )

    def read_as(self, kv: RawKV) -> KVBlock:
        """What a reader gets, with its keys and values brought to it."""
        return KVBlock(
            block_id=self.block_id,
            kv=kv,
            summary=self.summary,
            interval=self.interval,
            is_visual=self.is_visual,
            clip_lengths=self.clip_lengths,
        )


def brought_to(kv: RawKV | QuantisedKV, device: torch.device) -> RawKV:
    """Keys and values on this device: themselves where they are there, else a copy."""
    if isinstance(kv, QuantisedKV):
        return restored(kv, device)
    return kv if kv.keys.device == device else _copied(kv, device)


def inputs_on(inputs: InputTokens, device: torch.device) -> InputTokens:
    """The same on this device; what is there already is shared."""
    deepstack = None if inputs.deepstack is None else inputs.deepstack.to(device)
    return replace(inputs, embeddings=inputs.embeddings.to(device), deepstack=deepstack)


def held_in_host(kv: HeldKV, pinned: bool) -> HeldKV:
    """In host memory, which the device can read by itself where `pinned`; itself where it lies in
    memory that is not `pinned`, and need not. What keys and values are made from need not: the
    forward takes longer than the copy.
    """
    host = torch.device("cpu")
    if isinstance(kv, Pictures):
        return kv
    if isinstance(kv, InputTokens):
        return inputs_on(kv, host)
    codes_or_keys = kv.keys if isinstance(kv, RawKV) else kv.codes
    if codes_or_keys.device == host and not pinned:
        return kv
    if isinstance(kv, RawKV):
        return _copied(kv, host, pinned)
    codes = torch.empty_like(kv.codes, device=host, pin_memory=pinned).copy_(kv.codes)
    return QuantisedKV(
        codes=codes,
        key_grid=kv.key_grid.to(host),
        value_grid=kv.value_grid.to(host),
        positions=kv.positions,
        dtype=kv.dtype,
        spread=kv.spread,
    )


def _copied(kv: RawKV, device: torch.device, pinned: bool = False) -> RawKV:
    """One copy where keys and values lie next to each other."""
    shape = (2, *kv.keys.shape)
    both = torch.empty(shape, dtype=kv.keys.dtype, device=device, pin_memory=pinned)
    # What comes from the host is used on the device's own queue, behind the copy; what comes from
    # the device must be there before the host reads it.
    both.copy_(_together(kv), non_blocking=device.type != "cpu")
    return RawKV(keys=both[0], values=both[1], positions=kv.positions, spread=kv.spread)


def _together(kv: RawKV) -> Tensor:
    """[2,L,G,S,E]: a view where keys and values lie next to each other, else a copy."""
    keys, values = kv.keys, kv.values
    follow = (
        keys.is_contiguous()
        and values.is_contiguous()
        and keys.untyped_storage().data_ptr() == values.untyped_storage().data_ptr()
        and keys.storage_offset() + keys.numel() == values.storage_offset()
    )
    if follow:
        return keys.as_strided((2, *keys.shape), (keys.numel(), *keys.stride()))
    return torch.stack([keys, values])
