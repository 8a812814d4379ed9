"""distill RECIPE:STUDENT with a misspelt student: KeyError, exit 1. sample --count 10^12 and 10^20: tracebacks."""

from common import cli, tiny, verdict

rc, out, _ = cli("distill", "demo:real-dat", "--teacher", "x", "--dry-run")
tiny("g10", classes=10)
rc4, _, _ = cli("sample", "g10", "--count", "1000000000000", "--out", "x.zip")
verdict(1 in (rc, rc4), f"exit codes {rc, rc4}")
