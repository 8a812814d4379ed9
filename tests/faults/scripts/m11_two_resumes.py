"""No lock on a run's folder: two --resume at once double its metrics, or one deletes the other's checkpoint in the
making.
"""

import json
import subprocess
import sys
import time

from common import MOONS, SLOWER, W, verdict

(W / "moons.yaml").write_text(
    MOONS.replace("updates: 20, batch: 16, save_every: 5", "updates: 3000, batch: 16, save_every: 5")
)
p = subprocess.Popen(
    [sys.executable, "-m", "realuid.cli.main", "train", "moons.yaml", "--out", "r"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
while not (W / "r/checkpoints/0000100").exists() and p.poll() is None:
    time.sleep(0.01)
p.kill()
p.wait()
ps = [
    subprocess.Popen(
        [sys.executable, "-m", "realuid.cli.main", "train", "--resume", "--out", "r"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    for _ in range(2)
]
outs = [q.communicate(timeout=55 * SLOWER)[0].decode(errors="replace") for q in ps]
rcs = [q.returncode for q in ps]
u = [json.loads(l)["update"] for l in open("r/metrics.jsonl")]
print(rcs, [o.strip().splitlines()[-1][:150] for o in outs])
verdict(
    len(u) != len(set(u)) or any(rcs),
    f"exit codes {rcs}, {len(u) - len(set(u))} doubled lines of metrics; neither was told of the other",
)
