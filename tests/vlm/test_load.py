"""Checkpoints: saved here, loaded by the code that loads real ones; and what cannot be loaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from streamvlm.errors import CheckpointError
from streamvlm.vlm import load
from streamvlm.vlm.random_weights import tiny_tokenizer
from tests.conftest import tiny_vlm


@pytest.fixture
def checkpoint(family: str, tmp_path: Path) -> Path:
    tiny_vlm(family)._model.save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def test_a_local_folder_is_the_model_that_was_saved(family: str, checkpoint: Path) -> None:
    original, loaded = tiny_vlm(family), load(str(checkpoint), device="cpu")
    inputs = original.lay_out_question("What is it? Ünïcödé.", 0)
    expected = original.prefill(inputs, original.open_context([])).logits
    assert all(
        torch.equal(ours, theirs)
        for ours, theirs in zip(
            original._model.parameters(), loaded._model.parameters(), strict=True
        )
    )
    again = loaded.lay_out_question("What is it? Ünïcödé.", 0)
    logits = loaded.prefill(again, loaded.open_context([])).logits
    assert torch.allclose(logits, expected, atol=1e-6)
    assert loaded.patch_spec == original.patch_spec
    assert loaded.stop_token_ids == original.stop_token_ids


def test_normalisation_comes_from_the_checkpoint(checkpoint: Path) -> None:
    stated = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (checkpoint / "preprocessor_config.json").write_text(json.dumps(stated))
    spec = load(str(checkpoint), device="cpu").patch_spec
    assert (spec.mean, spec.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_folder_without_weights_is_refused(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=str(checkpoint)):
        load(str(checkpoint), device="cpu")


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_file_is_refused_in_one_line(checkpoint: Path, name: str) -> None:
    (checkpoint / name).write_bytes(b'{"model_type": 7, "text_config": []}')
    with pytest.raises(CheckpointError, match=str(checkpoint)) as caught:
        load(str(checkpoint), device="cpu")
    assert "\n" not in str(caught.value)


def test_a_folder_without_tokenizer_is_refused(checkpoint: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match="tokenizer"):
        load(str(checkpoint), device="cpu")


def test_another_architecture_is_refused_and_the_known_ones_named(checkpoint: Path) -> None:
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    with pytest.raises(CheckpointError, match=r"'llama'.*qwen3_vl, qwen2_5_vl"):
        load(str(checkpoint), device="cpu")


@pytest.mark.parametrize("name", ["/nowhere/at/all", "", "random:qwen9-vl-1b"])
def test_what_is_not_there_is_named(name: str) -> None:
    with pytest.raises(CheckpointError, match=repr(name)):
        load(name, device="cpu")


def test_a_device_that_is_not_there_is_named() -> None:
    with pytest.raises(CheckpointError, match="'quantum'"):
        load("random:qwen3-vl-tiny", device="quantum")


@pytest.mark.gpu
def test_auto_means_bfloat16_on_cuda(family: str) -> None:
    vlm = load(f"random:{family}-tiny")
    assert (vlm.device.type, vlm.dtype) == ("cuda", torch.bfloat16)
