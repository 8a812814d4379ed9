"""Text of strangers: what cannot be seen is spelled out, and Markdown shows the rest as it is."""

from __future__ import annotations

import json

import pytest

from realuid.text import in_markdown, names_only, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J\x1b[31mred", "\\u001b[2J\\u001b[31mred"),
        ("\x9b2J", "\\u009b2J"),
        ("a\rb\x08\x07\0\x7f", "a\\rb\\b\\u0007\\u0000\\u007f"),
        ("gpj.\u202etxt", "gpj.\\u202etxt"),
        ("\u2066a\u2069\ufeff\u200b\u2028", "\\u2066a\\u2069\\ufeff\\u200b\\u2028"),
        ("\udcff\udc80.png", "\\udcff\\udc80.png"),
        ("\U000e0041", "\\udb40\\udc41"),
        ("Käse 猫 ✓ \U0001f600, नर\u200dम\n\tnext", "Käse 猫 ✓ \U0001f600, नर\u200dम\n\tnext"),
        ("a[/b] [bold]c[/bold] :smile:", "a[/b] [bold]c[/bold] :smile:"),
    ],
)
def test_what_cannot_be_seen_is_spelled_out(text: str, shown: str) -> None:
    assert printable(text) == printable(shown) == shown
    shown.encode()


def test_json_stays_json() -> None:
    value = {"a\x1b": ["\x9b\udcff\u202e", "ä"]}
    shown = printable(json.dumps(value, ensure_ascii=False, indent=2))
    assert json.loads(shown) == value and "ä" in shown and "\x9b" not in shown


def test_one_line() -> None:
    assert one_line("a\n  b\t\x0bc \x1b") == "a b c \\u001b"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("x |\n\n# Title\n<script>", r"x \| \# Title \<script\>"),
        ("[a](javascript:b) ![c](d) <!-- e -->", r"\[a\](javascript:b) !\[c\](d) \<!-- e --\>"),
        ("*a* __b__ `c` ~~d~~ $e$ &lt;", r"\*a\* \_\_b\_\_ \`c\` \~\~d\~\~ \$e\$ \&lt;"),
        ("/tmp/my_run/a-b.c", "/tmp/my_run/a-b.c"),
        ("\\", "\\\\"),
    ],
)
def test_markdown_shows_it_as_it_is(text: str, shown: str) -> None:
    assert in_markdown(text) == shown


def test_folders_of_the_author_are_not_told():
    about = {
        "teacher": "/home/ann/secret project/teacher",
        "data": {"source": "C:\\Users\\Ann\\faces.zip", "size": 64},
        "start": ["runs/student", "/srv/one", 3],
        "prompts": "minilm",
        "root": "/",
    }
    assert names_only(about) == {
        "teacher": "teacher",
        "data": {"source": "faces.zip", "size": 64},
        "start": ["runs/student", "one", 3],
        "prompts": "minilm",
        "root": "/",
    }
