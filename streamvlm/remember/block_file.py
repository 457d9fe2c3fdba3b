"""A block as a file: keys and values in the form in which they are held, positions, summary and
layout, a spread where there is one, and what is kept beside them where a lower tier wants that.
Written once; a reader knows size and hash.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from streamvlm.errors import SnapshotError
from streamvlm.remember.pictures import Pictures
from streamvlm.remember.quantise import HeldKV, QuantisedKV
from streamvlm.types import InputTokens, RawKV, Summary

_SUMMARY = [each.name for each in fields(Summary)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Contents:
    """What a file holds, in host memory; the fields are those of a block."""

    kv: HeldKV
    summary: Summary
    is_visual: Tensor
    clip_lengths: tuple[int, ...]
    inputs: InputTokens | None = None
    pictures: Pictures | None = None


def to_bytes(contents: Contents) -> bytes:
    """The file."""
    kv = contents.kv
    tensors = {
        "is_visual": contents.is_visual,
        "clip_lengths": torch.tensor(contents.clip_lengths),
        **{f"summary.{name}": getattr(contents.summary, name) for name in _SUMMARY},
    }
    pictures = kv if isinstance(kv, Pictures) else contents.pictures
    if pictures is not None:
        tensors |= {
            "pictures.pts_seconds": pictures.pts_seconds,
            "pictures.places": pictures.places,
            **{f"pictures.{number}": each for number, each in enumerate(pictures.packed)},
        }
    if not isinstance(kv, Pictures):
        tensors["positions"] = kv.positions
        if kv.spread is not None:
            tensors["spread"] = kv.spread
    inputs = kv if isinstance(kv, InputTokens) else contents.inputs
    if inputs is not None:
        tensors["embeddings"] = inputs.embeddings
        if inputs.deepstack is not None:
            tensors["deepstack"] = inputs.deepstack
    if isinstance(kv, RawKV):
        tensors |= {"keys": kv.keys, "values": kv.values}
    elif isinstance(kv, QuantisedKV):
        tensors |= {
            "codes": kv.codes,
            "key_grid": kv.key_grid,
            "value_grid": kv.value_grid,
            "like": torch.empty(0, dtype=kv.dtype),
        }
    data: bytes = safetensors.save({key: each.cpu().contiguous() for key, each in tensors.items()})
    return data


def name_of(block_id: int, sha256: str) -> str:
    """Block id and beginning of its hash: the same name never has other content."""
    return f"block-{block_id:08d}-{sha256[:16]}.safetensors"


def hash_of(data: bytes) -> str:
    """SHA-256 in hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def read(path: Path, num_bytes: int, sha256: str) -> Contents:
    """What was written.

    Raises OSError, and SnapshotError where the file is not what was written.
    """
    if (size := path.stat().st_size) != num_bytes:
        raise SnapshotError(f"{path} has {size} bytes, {num_bytes} were written")
    data = path.read_bytes()
    if hash_of(data) != sha256:
        raise SnapshotError(f"{path} is not what was written: its hash is another one")
    try:
        tensors = safetensors.load(data)
        inputs, pictures = _inputs_of(tensors), _pictures_of(tensors)
        kv = _kv_of(tensors, pictures if inputs is None else inputs)
        return Contents(
            kv=kv,
            inputs=None if inputs is kv else inputs,
            pictures=None if pictures is kv else pictures,
            summary=Summary(**{name: tensors[f"summary.{name}"] for name in _SUMMARY}),
            is_visual=tensors["is_visual"],
            clip_lengths=tuple(tensors["clip_lengths"].tolist()),
        )
    except (SafetensorError, KeyError, ValueError) as error:
        raise SnapshotError(f"{path} holds no block: {error}") from error


def _inputs_of(tensors: dict[str, Tensor]) -> InputTokens | None:
    if "embeddings" not in tensors:
        return None
    return InputTokens(
        embeddings=tensors["embeddings"],
        positions=tensors["positions"],
        is_visual=tensors["is_visual"],
        deepstack=tensors.get("deepstack"),
        spread=tensors.get("spread"),
    )


def _pictures_of(tensors: dict[str, Tensor]) -> Pictures | None:
    if "pictures.places" not in tensors:
        return None
    places = tensors["pictures.places"]
    return Pictures(
        packed=tuple(tensors[f"pictures.{number}"] for number in range(len(places))),
        pts_seconds=tensors["pictures.pts_seconds"],
        places=places,
        num_tokens=len(tensors["is_visual"]),
    )


def _kv_of(tensors: dict[str, Tensor], made_from: InputTokens | Pictures | None) -> HeldKV:
    if made_from is not None and not tensors.keys() & {"keys", "codes"}:
        return made_from
    positions, spread = tensors["positions"], tensors.get("spread")
    if "codes" not in tensors:
        keys, values = tensors["keys"], tensors["values"]
        return RawKV(keys=keys, values=values, positions=positions, spread=spread)
    return QuantisedKV(
        codes=tensors["codes"],
        key_grid=tensors["key_grid"],
        value_grid=tensors["value_grid"],
        positions=positions,
        dtype=tensors["like"].dtype,
        spread=spread,
    )
