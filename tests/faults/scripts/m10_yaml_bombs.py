"""Recipes: anchors (billion laughs) hang while memory grows; invalid UTF-8, deep nesting and a cycle of bases give
tracebacks.
"""

from common import W, cli, verdict

t = "teacher:\n  ema:\n    - &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"    - &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(8)
)
(W / "laugh.yaml").write_text(t)
rc1, _, mb = cli("info", "laugh.yaml", timeout=15, gb=5)
(W / "latin.yaml").write_bytes(b"base: demo\nname: caf\xe9\n")
rc2, _, _ = cli("info", "latin.yaml")
(W / "a.yaml").write_text("base: b.yaml")
(W / "b.yaml").write_text("base: a.yaml")
rc3, _, _ = cli("info", "a.yaml")
(W / "deep.yaml").write_text("data: " + "[" * 5000 + "]" * 5000)
rc4, _, _ = cli("info", "deep.yaml")
verdict(
    rc1 is None or 1 in (rc2, rc3, rc4),
    f"laughs: {'hangs at %d MB' % mb if rc1 is None else rc1}; latin-1: {rc2}; cycle: {rc3}; deep: {rc4}",
)
