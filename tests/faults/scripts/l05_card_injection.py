"""Text of a stranger's config.json goes raw into README.md of an export: headings, links, <script>."""

from common import W, cli, tiny, verdict

tiny("g", teacher="x |\n\n# Injected\n\n<script>alert(1)</script>\n\n[click](javascript:alert(1))")
rc, out, _ = cli("export", "g", "card", "--to", "diffusers")
t = (W / "card/README.md").read_text().splitlines()
verdict(
    "# Injected" in t and "<script>alert(1)</script>" in t,
    "lines of a teacher's name stand as headings and HTML in the model card",
)
