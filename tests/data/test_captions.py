"""Captions of folders, zips, tars and data sets of Hugging Face, by the image that they belong to."""

from __future__ import annotations

import json
import warnings

import datasets
import pytest
from captioned import CAPTIONS, folder, metadata, png, tarred, zipped

from realuid.data import load_dataset
from realuid.data.captions import complete, listed_prompts, read_prompts
from realuid.errors import ConfigError, DataError, DataWarning

IMAGES = {"b/2.png": png(2), "a/0.png": png(0), "a/1.png": png(1)}
BESIDE = {name.replace(".png", ".txt"): f" {CAPTIONS[int(name[2])]}\n".encode() for name in IMAGES}


def table(*names: str) -> bytes:
    """As spreadsheets write it: with a mark of UTF-8, and quotes around commas."""
    rows = [f'1,{name},"{caption}"' for name, caption in zip(names, CAPTIONS, strict=False)]
    return "\ufeff".encode() + "\r\n".join(["score,file_name,text", *rows, ""]).encode()


@pytest.mark.parametrize("packed", [folder, zipped, tarred])
@pytest.mark.parametrize(
    "said",
    [
        {"metadata.jsonl": metadata("a/0.png", "./a/1.png", "b/2.png")},
        {"metadata.jsonl": metadata("a/0.png", "a/1.png", "b/2.png", column="caption"), "a/0.txt": b"other"},
        {"a/metadata.jsonl": metadata("0.png", "1.png", captions=CAPTIONS[:2])}
        | {"b/metadata.jsonl": metadata("2.png", captions=CAPTIONS[2:])},
        {"metadata.csv": table("a/0.png", "./a/1.png", "b/2.png")},
        {"a/metadata.csv": table("0.png", "1.png"), "b/metadata.jsonl": metadata("2.png", captions=CAPTIONS[2:])},
        {"metadata.csv": b"file_name,score\na/0.png,3\n", **BESIDE},
        BESIDE,
    ],
    ids=["metadata", "caption", "by folder", "csv", "both", "txt beside another csv", "txt"],
)
def test_every_image_gets_its_own_caption(packed, said, tmp_path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing of it is left out
        data = load_dataset(packed(tmp_path, IMAGES | said))
    assert [CAPTIONS[x] for x in data.values[:, 0, 0, 0].tolist()] == list(data.captions)


def test_captions_that_are_missing_are_counted(tmp_path) -> None:
    data = load_dataset(folder(tmp_path, IMAGES | {"a/1.txt": b"one"}))
    assert list(data.captions) == [None, "one", None]
    with pytest.raises(DataError, match=r"2 of 3 samples of '.*', the first of them number 0, have no caption"):
        complete(data.captions, data.name)
    with pytest.raises(DataError, match="'digits' has no captions"):
        complete(load_dataset("digits").captions, "digits")
    assert complete(["", "a"], "x") == ["", "a"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({"metadata.jsonl": b'{"file_name": "a/0.png", "text": "x"}\n{"file_name'}, "line 2 of metadata.jsonl of"),
        ({"metadata.jsonl": b'{"file_name": 3, "text": "x"}'}, r"line 1 of metadata.jsonl of .* is not {\"file_name\""),
        ({"metadata.jsonl": b'{"file_name": "a/0.png", "text": ["x"]}'}, "line 1 of metadata.jsonl of .* is not"),
        ({"metadata.csv": b"file_name,text\n\xff"}, "metadata.csv of .* is not in UTF-8"),
        (
            {"metadata.csv": b"file_name,text\na/0.png," + b"x" * 140000},
            "metadata.csv of .* cannot be read after line 1",
        ),
        ({"a/0.txt": b"\xff\xfe\x00"}, r"the .txt file of 'a/0.png' in .* is not in UTF-8"),
        ({"a/0.txt": b"x" * 70000}, r"the .txt file of 'a/0.png' in .* has 70,000 bytes"),
    ],
)
def test_what_is_no_caption_is_named(files, says, tmp_path) -> None:
    with pytest.raises(DataError, match=says):
        load_dataset(folder(tmp_path, IMAGES | files))


def test_captions_of_tables(tmp_path) -> None:
    rows = {
        "image": [{"bytes": png(i), "path": None} for i in range(3)],
        "caption": [None, *CAPTIONS[1:]],
        "alt": CAPTIONS[::-1],
    }
    kinds = datasets.Features(
        {"image": datasets.Image(), "caption": datasets.Value("string"), "alt": datasets.Value("string")}
    )
    place = str(tmp_path / "d")
    datasets.Dataset.from_dict(rows, features=kinds).save_to_disk(place)
    for source in (place, f"hf:{place}"):
        assert list(load_dataset(source).captions) == [None, *CAPTIONS[1:]]
        assert list(load_dataset(f"{source}?text=alt").captions) == CAPTIONS[::-1]
        with pytest.raises(DataError, match=r"no column of text is called image. Such columns are 'caption', 'alt'"):
            load_dataset(f"{source}?text=image")


def test_lines_end_where_editors_end_them(tmp_path) -> None:
    prompts = ["a cat\u2028on a mat", "a dog\x0cwith a hat", "next\x85line", "last"]
    for end in ("\n", "\r\n", "\r"):
        (tmp_path / "p.txt").write_bytes((end.join(prompts[:2]) + end * 2 + end.join(prompts[2:]) + end).encode())
        assert read_prompts(tmp_path / "p.txt") == prompts
    lines = (json.dumps({"file_name": f"{i}.png", "text": prompts[i]}, ensure_ascii=False) for i in range(3))
    files = {f"{i}.png": png(i) for i in range(3)} | {"metadata.jsonl": "\r\n".join(lines).encode()}
    assert list(load_dataset(folder(tmp_path / "d", files)).captions) == prompts[:3]


def test_a_file_of_prompts_that_is_not_there_is_no_prompt(tmp_path) -> None:
    (tmp_path / "prompts.txt").write_text("one\ntwo")
    there, misspelt = str(tmp_path / "prompts.txt"), str(tmp_path / "promts.txt")
    assert listed_prompts([there]) == ["one", "two"]
    assert listed_prompts(["a sign that says a.txt", "txt"]) == ["a sign that says a.txt", "txt"]
    with pytest.raises(ConfigError, match=r"prompts = '.*promts.txt': no such file\. Did you mean '.*/prompts.txt'\?"):
        listed_prompts([misspelt])
    with pytest.raises(ConfigError, match=r"prompts = '.*prompts.txt': beside other prompts\. Pass one file"):
        listed_prompts([there, "a red seven"])


@pytest.mark.parametrize(
    ("name", "content"),
    [("metadata.csv", b"file_name,description\na/0.png,x\n"), ("metadata.jsonl", metadata("a/0.png", captions=["x"]))],
)
def test_columns_that_are_no_captions_are_named(name, content, tmp_path) -> None:
    files = IMAGES | {f"a/{name}": content.replace(b'"text"', b'"description"')}
    with pytest.warns(DataWarning, match=rf"'a/{name}' has the columns .*'description'.*, so no captions"):
        data = load_dataset(folder(tmp_path, files))
    assert not data.captions
