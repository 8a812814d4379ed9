"""Brackets in paths: '[/x]' ends a finished training with exit 1, '[x]' is not printed."""

from common import MOONS, W, cli, verdict

(W / "moons.yaml").write_text(MOONS)
rc, out, _ = cli("train", "moons.yaml", "--updates", "2", "--out", "run[/x]")
rc2, out2, _ = cli("train", "moons.yaml", "--updates", "2", "--out", "run[v2]")
verdict(
    rc == 1 or "run[v2]" not in out2,
    f"rc {rc} with the model written: {(W / 'run[/x]/model').exists()}; second run prints: {out2.strip().splitlines()[-1]!r}",
)
