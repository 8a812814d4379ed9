"""SIGTERM (or SIGKILL) leaves .NAME.PID.tmp beside the output for ever; nothing removes it later."""

import subprocess
import sys
import time

from common import W, cli, tiny, verdict

tiny("g")
p = subprocess.Popen(
    [sys.executable, "-m", "realuid.cli.main", "sample", "g", "--count", "400000", "--out", "big.zip"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
while not list(W.glob(".big.zip.*")) and p.poll() is None:
    time.sleep(0.02)
time.sleep(1)
p.terminate()
p.wait()
cli("sample", "g", "--count", "3", "--out", "big.zip")
left = [x.name for x in W.glob(".big.zip*")]
verdict(bool(left), f"left after SIGTERM and a later successful run: {left}")
