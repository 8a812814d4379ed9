"""train --out FOLDER deletes model/, samples/, best/, tensorboard/ of a folder that is no run of realuid."""

from common import MOONS, W, cli, verdict

(W / "moons.yaml").write_text(MOONS)
for n in ("model", "samples", "best", "tensorboard"):
    (W / "project" / n).mkdir(parents=True)
    (W / "project" / n / "mine.txt").write_text("years of work")
rc, out, _ = cli("train", "moons.yaml", "--updates", "1", "--out", "project")
lost = [n for n in ("model", "samples", "best", "tensorboard") if not (W / "project" / n / "mine.txt").exists()]
verdict(bool(lost), f"the user's own files are gone from: {lost} (rc {rc})")
