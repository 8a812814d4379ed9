"""A valid recipe whose student sets alpha alone fails half-way: after the teacher and the first student are trained."""

from common import MOONS, W, cli, verdict

(W / "r.yaml").write_text(MOONS + "students: {real: {alpha: 0.96, beta: 0.98}, uid: {alpha: 1.0}}\n")
rc, out, _ = cli("demo", "r.yaml", "--out", "demo")
verdict(
    rc != 0 and (W / "demo/teacher/model").exists(),
    f"rc {rc} after training the teacher, though `realuid info r.yaml` finds nothing wrong",
)
