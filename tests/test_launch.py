"""Processes that are started together: what the environment says, meeting process 0, and Ctrl-C while waiting."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import pytest

from realuid import launch
from realuid.cli.main import main
from realuid.errors import ConfigError
from realuid.launch import Launch, PartnerWarning, gather, launched, reach, said_to_wait
from realuid.processes import is_partner_lost

GOOD = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch):
    def put(**values: str | None) -> None:
        for name, value in {**GOOD, **values}.items():
            monkeypatch.delenv(name, raising=False)
            if value is not None:
                monkeypatch.setenv(name, value)

    return put


def test_what_the_environment_says(environment, monkeypatch) -> None:
    environment()
    assert launched() == Launch(2, 1, "127.0.0.1", 29500)
    environment(WORLD_SIZE="1", RANK="abc")
    assert launched() == Launch()
    environment(**dict.fromkeys(GOOD))
    assert launched() == Launch()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE = abc: allowed are whole numbers from 1 to"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE = 0: allowed"),
        ({"WORLD_SIZE": "-2"}, "WORLD_SIZE = -2: allowed"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE = 2.0: allowed"),
        ({"WORLD_SIZE": "²"}, "WORLD_SIZE = ²: allowed"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE = 999"),
        ({"RANK": None}, "RANK is not set, but WORLD_SIZE is 2"),
        ({"RANK": "2"}, "RANK = 2: allowed are whole numbers from 0 to 1"),
        ({"LOCAL_RANK": "x"}, "LOCAL_RANK = x: allowed"),
        ({"MASTER_ADDR": None}, "MASTER_ADDR is not set"),
        ({"MASTER_PORT": ""}, "MASTER_PORT is not set"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT = 99999: allowed are whole numbers from 1 to 65535"),
    ],
)
def test_what_it_must_not_say(changes, message: str, environment, capsys) -> None:
    environment(**changes)
    with pytest.raises(ConfigError, match=message):
        launched()
    assert main(["sample", "x"]) == 2
    assert message in capsys.readouterr().err


@contextlib.contextmanager
def listening(after: float = 0) -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        timer = threading.Timer(after, server.listen)
        timer.start()
        yield server.getsockname()[1]
        timer.join()


def test_process_0_that_listens_later_is_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(launch, "SAID", 0.1)
    with listening(after=0.6) as port, pytest.warns(PartnerWarning, match=f"process 1 of 2: waiting for .*:{port}"):
        reach(Launch(2, 1, "127.0.0.1", port))


@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_process_0_that_is_not_there_is_an_error(host: str, monkeypatch) -> None:
    monkeypatch.setattr(launch, "LATE", 0.3)
    monkeypatch.setattr(launch, "SILENT", 0.3)
    with listening() as port:
        pass
    start = time.monotonic()
    with pytest.raises(ConfigError, match=f"process 1 of 2 cannot reach process 0 at {host}:{port}"):
        reach(Launch(2, 1, host, port))
    assert time.monotonic() - start < 30  # of the 45 that it waits otherwise


def test_waiting_for_partners_is_said(monkeypatch) -> None:
    monkeypatch.setattr(launch, "SAID", 0.05)
    said = r"process 0 of 2: waiting for the others at a:1"
    with pytest.warns(PartnerWarning, match=said), said_to_wait(Launch(2, 0, "a", 1)):
        time.sleep(0.5)


def test_torchrun_s_own_store_is_not_waited_for(monkeypatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_USE_AGENT_STORE", "True")
    assert gather(Launch(2, 0, "a", 1)) is None


def test_partners_that_do_not_come_are_an_error(monkeypatch) -> None:
    monkeypatch.setattr(launch, "LATE", 1.0)
    with listening() as port:
        pass
    with pytest.raises(ConfigError, match=f"process 0 of 2: the others have not come to 127.0.0.1:{port} "):
        gather(Launch(2, 0, "127.0.0.1", port))


BLOCKED = """
import ctypes, os, signal, sys
import realuid.cli.options  # the console is made on import, before a test says that there are other processes
from realuid import launch
launch.GRACE = 0.2
launch.heed_interrupts()
signal.signal(signal.SIGINT, signal.default_int_handler)  # the suite may have been started in the background
signal.siginterrupt(signal.SIGINT, False)  # as code that waits without end in C does: it never comes back to Python
print(1, flush=True)
ctypes.CDLL(None).read(os.pipe()[0], ctypes.create_string_buffer(1), 1)
"""


def test_ctrl_c_ends_a_process_that_waits_in_compiled_code() -> None:
    with subprocess.Popen([sys.executable, "-c", BLOCKED], stdout=-1, stderr=-1, text=True) as process:
        assert process.stdout.readline() == "1\n"  # type: ignore[union-attr]
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "realuid: interrupted while waiting for other processes" in said


def test_something_else_at_the_address_of_process_0_is_an_error(monkeypatch) -> None:
    monkeypatch.setattr(launch, "SILENT", 1.0)
    start = time.monotonic()
    said = "process 1 of 2: the others have not come to 127.0.0.1:"
    with listening() as port, pytest.raises(ConfigError, match=f"{said}{port} .*frozen"):
        gather(Launch(2, 1, "127.0.0.1", port))
    assert time.monotonic() - start < 40


def test_a_partner_that_is_lost_is_one_line(environment, monkeypatch, capsys) -> None:
    lost = RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:4711")
    environment()
    assert is_partner_lost(lost) and not is_partner_lost(RuntimeError("something else"))

    def fail(arguments: list[str]) -> None:
        raise lost

    monkeypatch.setattr("realuid.cli.train.run", fail)
    monkeypatch.setattr("realuid.cli.main.heed_interrupts", lambda: None)
    assert main(["train"]) == 2
    said = capsys.readouterr().err
    assert "another process of this run has ended" in said and "continue with: realuid train --resume" in said
    environment(WORLD_SIZE="1")
    assert not is_partner_lost(lost) and os.environ["WORLD_SIZE"] == "1"


VANISHED = """
import os, sys, warnings
from datetime import timedelta
from realuid import heartbeat, launch, processes
from realuid.cli import main
launch.heed_interrupts()
heartbeat.BEAT, heartbeat.FROZEN = 0.2, 2.0
processes.come()
print("came", flush=True)
try:
    with processes.to_meet():
        from torch import distributed
        distributed.init_process_group("gloo")  # waits for 30 minutes
except Exception as error:  # as commands do: torch itself may notice, where it was connected already
    if not processes.is_partner_lost(error):
        raise
    sys.exit(main._alone(error, ""))
"""


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("ended", [False, True], ids=["frozen", "ended"])
def test_a_partner_that_vanishes_before_the_group_is_set_up_ends_the_other(rank: int, ended: bool) -> None:
    """It has come, and then is stopped, or ends, while it reads its data."""
    from torch import distributed

    with listening() as port:
        pass
    here = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank)}
    start = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", VANISHED], env=os.environ | here, **start) as process:
        partner = distributed.TCPStore("127.0.0.1", port, 2, rank == 1, multi_tenant=True)  # that counts never
        assert process.stdout.readline() == "came\n"
        if ended:
            del partner
        begin = time.monotonic()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 2 and time.monotonic() - begin < 45
    lines = (
        f"process {1 - rank} of 2 has not answered",
        f"cannot reach process {1 - rank}",
        "another process of this run",
    )
    assert any(line in said for line in lines)
