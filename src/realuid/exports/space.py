"""A folder for Hugging Face Spaces: the page of `realuid play` around a student, which runs where it is pushed to."""

from __future__ import annotations

import json
from pathlib import Path

from realuid._version import __version__
from realuid.exports.card import Card
from realuid.exports.contract import ABOUT, Contract
from realuid.models import Student, from_pretrained, save_pretrained
from realuid.text import in_markdown

#: The program of a Space, and the folder of its student.
APP, _STUDENT = "app.py", "student"
_PROGRAM = '''"""The playground of a student distilled by realuid."""

from pathlib import Path

from realuid.loaders import load_generator
from realuid.play import Player, page

demo = page(Player(load_generator(Path(__file__).parent / "{student}")), {title})
if __name__ == "__main__":
    demo.launch()
'''


def write_space(student: Student, folder: Path, contract: Contract) -> None:
    """Write program, requirements and the student's weights."""
    save_pretrained(student, folder / _STUDENT, **contract.about)
    title = str(contract.about.get("name") or "A student distilled by realuid")
    (folder / APP).write_text(_PROGRAM.format(student=_STUDENT, title=json.dumps(title)))
    (folder / "requirements.txt").write_text(f"realuid[play]=={__version__}\n")
    (folder / ABOUT).write_text(contract.to_json())


def read_space(folder: Path) -> Student:
    """The student of a Space."""
    student = from_pretrained(folder / _STUDENT)
    assert isinstance(student, Student)
    return student


def space_card(card: Card, contract: Contract) -> str:
    """README.md of a Space: the header that Hugging Face reads, and how to run it elsewhere."""
    header = {"title": card.name[:60], "sdk": "gradio", "app_file": APP, "license": card.licence or None}
    lines = [f"{name}: {json.dumps(value)}" for name, value in header.items() if value is not None]
    calls = f"{contract.calls} network call{'' if contract.calls == 1 else 's'}"
    return "\n".join(
        [
            *("---", *lines, "---", ""),
            *(f"# {in_markdown(card.name)}", ""),
            f"A student of {calls} an image, distilled with realuid {__version__}: choose seed, class or image",
            "and number of calls. On a machine of your own:",
            "",
            f"    pip install -r requirements.txt\n    python {APP}",
            "",
        ]
    )
