"""Sentence encoders as encoders of prompts: a tiny random one, in the format of sentence-transformers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from realuid.data import Dataset
from realuid.errors import CheckpointError, ConfigError
from realuid.loaders.prompts import load_prompt_encoder
from realuid.loaders.sentences import SentenceEncoder
from realuid.models.prompts import POOLED, TEXT, TEXT_MASK
from realuid.on_data.prompts import with_embeddings

transformers = pytest.importorskip("transformers")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "seven", "on"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("sentences")
    (place / "vocab.txt").write_text("\n".join(WORDS))
    transformers.BertTokenizerFast(str(place / "vocab.txt"), model_max_length=16).save_pretrained(place)
    torch.manual_seed(0)
    small = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=12, **small)
    transformers.BertModel(config).save_pretrained(place)
    return place


def test_tokens_and_their_mean_do_not_depend_on_other_prompts(folder) -> None:
    encoder = SentenceEncoder(folder, "tiny")
    both = encoder.encode(["red seven on blue", "blue"])
    assert both[TEXT].shape == (2, 6, 8) and both[TEXT_MASK].sum(1).tolist() == [6, 3]
    alone = encoder.encode(["blue"])
    torch.testing.assert_close(both[TEXT][1:, :3], alone[TEXT])
    torch.testing.assert_close(both[POOLED], torch.stack([both[TEXT][0].mean(0), both[TEXT][1, :3].mean(0)]))
    model, tokens = transformers.BertModel.from_pretrained(folder), torch.tensor([[2, 5, 3]])
    torch.testing.assert_close(alone[TEXT], model(tokens).last_hidden_state.detach())
    assert encoder.null()[TEXT].shape == (1, 2, 8)


def test_a_folder_of_sentence_transformers_is_an_encoder(folder) -> None:
    with pytest.raises(ConfigError, match="holds no encoder of prompts"):
        load_prompt_encoder(folder)
    (folder / "modules.json").write_text("[]")
    found = load_prompt_encoder(folder)
    assert found.source == str(folder) and found.fingerprint == SentenceEncoder(folder, "tiny").fingerprint


def test_captions_are_encoded_once_each(folder) -> None:
    encoder, asked = SentenceEncoder(folder, "tiny"), []
    encode = encoder.encode
    encoder.encode = lambda prompts: asked.extend(prompts) or encode(prompts)  # type: ignore[method-assign]
    captions = ["red", "blue seven", "red", "", "blue seven"]
    data = with_embeddings(Dataset(torch.zeros(5, 2), captions=captions), encoder)
    assert asked == ["red", "blue seven", "", ""]
    right = encode(captions)
    for name, column in data.columns.items():
        torch.testing.assert_close(column[:], right[name])
    torch.testing.assert_close(data.nulls[TEXT], right[TEXT][3:4, :2])


def test_mistakes_are_said(folder, tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"has 13 tokens, 'tiny' reads at most 12. Shorten it"):
        SentenceEncoder(folder, "tiny").encode(["red " * 11])
    with pytest.raises(CheckpointError, match=r"is no sentence encoder: config.json is missing"):
        SentenceEncoder(tmp_path, "nothing")
    other = tmp_path / "other"
    other.mkdir()
    for file in folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    assert SentenceEncoder(other, "x").fingerprint == SentenceEncoder(folder, "y").fingerprint
    (other / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be read"):
        SentenceEncoder(other, "x")
