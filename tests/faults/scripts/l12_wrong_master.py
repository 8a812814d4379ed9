"""With an unreachable MASTER_ADDR a process waits without a word (seen: more than 75 s), and frozen partners ignore
Ctrl-C.
"""

from common import MOONS, W, cli, verdict

(W / "moons.yaml").write_text(MOONS)
rc, out, _ = cli(
    "train",
    "moons.yaml",
    "--out",
    "r",
    timeout=40,
    env={"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "0", "MASTER_ADDR": "10.255.255.1", "MASTER_PORT": "29777"},
)
rc2, out2, _ = cli("train", "moons.yaml", "--out", "r2", env={"WORLD_SIZE": "abc"})
verdict(
    rc is None or rc2 == 1,
    f"after 40 s: {'still waiting, said ' + repr(out[-80:]) if rc is None else rc}; WORLD_SIZE=abc: rc {rc2}",
)
