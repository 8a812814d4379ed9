"""A folder for Hugging Face Spaces: the page of `realuid play` around a student, which runs where it is pushed to."""

from __future__ import annotations

import json
from pathlib import Path

from realuid._version import __version__
from realuid.exports.card import Card
from realuid.exports.contract import ABOUT, Contract
from realuid.loaders.prompts import reads_prompts
from realuid.models import Student, from_pretrained, save_pretrained
from realuid.text import in_markdown

#: The program of a Space, and the folder of its student.
APP, _STUDENT = "app.py", "student"
_PROGRAM = '''"""The playground of a student distilled by realuid."""

from pathlib import Path

from realuid.loaders import load_generator
from realuid.play import Player, page

PROMPT_ENCODER = {encoder}  # what reads prompts: a Hub id of a pipeline, or a name; "" for students without prompts
demo = page(Player(load_generator(Path(__file__).parent / "{student}"), prompt_encoder=PROMPT_ENCODER), {title})
if __name__ == "__main__":
    demo.launch()
'''


def write_space(student: Student, folder: Path, contract: Contract) -> None:
    """Write program, requirements and the student's weights."""
    save_pretrained(student, folder / _STUDENT, **contract.about)
    title = str(contract.about.get("name") or "A student distilled by realuid")
    encoder = "" if _reads_folder(student) else student.model.prompts
    (folder / APP).write_text(_PROGRAM.format(student=_STUDENT, title=json.dumps(title), encoder=json.dumps(encoder)))
    extras = "play,text" if reads_prompts(student) else "play"
    (folder / "requirements.txt").write_text(f"realuid[{extras}]=={__version__}\n")
    (folder / ABOUT).write_text(contract.to_json())


def read_space(folder: Path) -> Student:
    """The student of a Space."""
    student = from_pretrained(folder / _STUDENT)
    assert isinstance(student, Student)
    return student


def _reads_folder(student: Student) -> bool:
    """Whether its prompts are read by text encoders in a folder, which a Space does not have."""
    return bool(student.model.prompts) and Path(student.model.prompts).exists()


def space_card(card: Card, contract: Contract, student: Student) -> str:
    """README.md of a Space: the header that Hugging Face reads, and how to run it elsewhere."""
    missing = (
        f"Set `PROMPT_ENCODER` in {APP} to the Hub id of the teacher's pipeline: its text encoders read the prompts."
    )
    header = {"title": card.name[:60], "sdk": "gradio", "app_file": APP, "license": card.licence or None}
    lines = [f"{name}: {json.dumps(value)}" for name, value in header.items() if value is not None]
    calls = f"{contract.calls} network call{'' if contract.calls == 1 else 's'}"
    return "\n".join(
        [
            *("---", *lines, "---", ""),
            *(f"# {in_markdown(card.name)}", ""),
            f"A student of {calls} an image, distilled with realuid {__version__}: choose seed, class or",
            "prompts, and number of calls. On a machine of your own:",
            "",
            f"    pip install -r requirements.txt\n    python {APP}",
            "",
            *([missing, ""] if _reads_folder(student) else []),
        ]
    )
