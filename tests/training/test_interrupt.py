"""Ctrl-C or SIGTERM ends a run after the update in progress, with a checkpoint from which it continues bit for bit."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import small_teacher

from realuid.cli.main import main, resume_command
from realuid.training import TeacherConfig, train_teacher
from realuid.training.checkpoints import Checkpoints
from realuid.training.interrupt import noted_interrupts
from realuid.training.teacher import TeacherTask

CONFIG = TeacherConfig(updates=5, batch=8, device="cpu")
UPDATE = TeacherTask.update


@pytest.fixture(autouse=True)
def interruptible():
    """Processes in the background of a shell ignore the signal."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(monkeypatch: pytest.MonkeyPatch, at: int, times: int = 1, number: int = signal.SIGINT) -> None:
    """Ctrl-C during an update, or another signal."""
    sent = number

    def update(self, number: int):
        if number == at:
            for _ in range(times):
                os.kill(os.getpid(), sent)
        return UPDATE(self, number)

    monkeypatch.setattr(TeacherTask, "update", update)


@pytest.mark.parametrize(("number", "times"), [(signal.SIGINT, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 3)])
def test_the_update_is_finished_and_saved(number: int, times: int, digits, tmp_path: Path, monkeypatch) -> None:
    """A job's manager may send SIGTERM to a process and to its launcher, which passes it on."""
    whole = train_teacher(small_teacher(), digits, CONFIG, tmp_path / "whole")
    press(monkeypatch, 2, times, number)
    with pytest.raises(KeyboardInterrupt, match=r"update 3 of .* is saved"):
        train_teacher(small_teacher(), digits, CONFIG, tmp_path / "cut")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    press(monkeypatch, at=-1)
    resumed = train_teacher(small_teacher(), digits, CONFIG, tmp_path / "cut", resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_handler_of_the_caller_s_own_is_left() -> None:
    heard: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        with noted_interrupts(1) as interrupt:
            os.kill(os.getpid(), signal.SIGTERM)
        assert heard == [signal.SIGTERM] and not interrupt.agreed()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def test_a_later_sigterm_ends_at_once() -> None:
    """Of a run that does not come to the end of its update."""
    code = "import os, signal, time\nfrom realuid.training import interrupt\ninterrupt.TOGETHER = 0.0\n"
    code += "with interrupt.noted_interrupts(1):\n"
    code += "    for _ in range(2):\n        os.kill(os.getpid(), signal.SIGTERM)\n        time.sleep(0.01)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{code}    print('alive')"], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGTERM and "SIGTERM again stops at once" in done.stderr and not done.stdout


def test_the_second_time_ends_at_once(digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    press(monkeypatch, at=2, times=2)
    with pytest.raises(KeyboardInterrupt) as raised:
        train_teacher(small_teacher(), digits, CONFIG, tmp_path / "cut")
    assert str(raised.value) == ""
    assert sorted(path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()) == ["0000000"]


def test_the_command_that_continues_is_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    press(monkeypatch, at=1)
    words = ["train", "demo", "--updates=4", "--batch", "8", "--warmup", "0", "--out", "a b"]
    assert main(words) == 130
    said = capsys.readouterr().err
    assert "update 2 of a b is saved; continue with: realuid train demo --out 'a b' --resume" in said
    press(monkeypatch, at=-1)
    assert main(["train", "demo", "--out", "a b", "--resume"]) == 0
    assert resume_command(["demo", "--family=bridge", "--out=x", "--data.source", "y"]) == (
        "realuid demo --family bridge --out x --resume"
    )
    assert resume_command(["distill", "r:tuned", "--teacher", "t"]) == "realuid distill r:tuned --resume"


TRAIN = """
import os, signal, sys
from realuid.cli.main import main
from realuid.training.interrupt import noted_interrupts
from realuid.training.teacher import TeacherTask
update, at = TeacherTask.update, int(sys.argv.pop(1))
def pressed(self, number):
    if number == at and os.environ.get("RANK") == "1":
        os.kill(os.getpid(), signal.SIGINT)
    if at < 0 and number == 1 and os.environ.get("RANK") == "0":
        os.kill(int(os.environ["AGENT"]), signal.SIGINT)
    return update(self, number)
TeacherTask.update = pressed
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("who", ["one process", "torchrun"])
def test_two_processes_stop_together(who: str, tmp_path: Path) -> None:
    """Ctrl-C at one process, or at torchrun, which passes it on: one checkpoint, and the line that continues."""
    script = tmp_path / "train.py"
    starts = "os.environ['AGENT'] = str(os.getpid()); from torch.distributed.run import main; main(sys.argv[1:])"
    torchrun = [sys.executable, "-c", f"import os, sys; {starts}", "--standalone", "--nproc-per-node=2", str(script)]
    script.write_text(TRAIN)
    words = ["train", "demo", "--updates=40", "--batch", "8", "--warmup", "0", "--steps", "1", "--device", "cpu"]
    words += ["--sample-every", "0", "--save-every", "0", "--out", "run"]
    command = [*torchrun, "2" if who == "one process" else "-1", *words]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=1800, env=environment)
    assert done.returncode != 0
    saved = re.findall(
        r"realuid: interrupted; update (\d+) of run is saved; continue with: (.*)", done.stderr.replace("\r", "\n")
    )
    assert len(saved) == 1, done.stderr[:3000]
    stopped, hint = int(saved[0][0]), saved[0][1]
    assert hint == "torchrun --nproc-per-node 2 -m realuid.cli.main train demo --out run --resume"
    assert stopped == 3 if who == "one process" else 2 <= stopped < 40
    assert Checkpoints(tmp_path / "run" / "checkpoints").latest()[0] == stopped
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [0, stopped]
    assert not re.search(r'File ".*/realuid/', done.stderr)  # torchrun has a traceback of its own
