"""One damaged byte in metrics.jsonl (or recipe.yaml, seconds.json, result.json, teacher.txt) stops --resume with a
traceback.
"""

from common import MOONS, W, cli, verdict

(W / "moons.yaml").write_text(MOONS)
cli("train", "moons.yaml", "--out", "r")
open("r/metrics.jsonl", "ab").write(b'{"update": 99, "x": "\xff"}\n')
rc, out, _ = cli("train", "--resume", "--out", "r", "--updates", "25")
verdict(rc == 1, f"rc {rc}: the checkpoints are whole, yet the run cannot be resumed")
