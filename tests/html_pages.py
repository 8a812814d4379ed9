"""Reading HTML pages in tests."""

from __future__ import annotations

from html.parser import HTMLParser


class Page(HTMLParser):
    """Cells of tables, sources of images, and every address the page points to."""

    def __init__(self, html: str):
        super().__init__()
        self.html = html
        self.rows: list[list[str]] = []
        self.images: list[str] = []
        self.addresses: list[str] = []
        self.cell = False
        self.feed(html)

    def outside(self) -> list[str]:
        """Addresses of anything that is not in the page."""
        return [a for a in self.addresses if not a.startswith(("data:", "#"))]

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        if tag == "tr":
            self.rows.append([])
        if tag == "td":
            self.rows[-1].append("")
        self.cell = tag == "td" or (self.cell and tag != "tr")
        if tag == "img":
            self.images.append(values["src"])
        keys = ("src", "href", "action", "data", "srcset")
        self.addresses += [values[k] for k in keys if values.get(k)]

    def handle_endtag(self, tag):
        self.cell = self.cell and tag != "td"

    def handle_data(self, data):
        if self.cell:
            self.rows[-1][-1] += data
