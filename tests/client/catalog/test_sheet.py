"""The contact sheet: valid, complete, and safe whatever a product is called."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import numpy as np

from packshot.catalog import sheet
from packshot.catalog.ledger import Ledger
from packshot.catalog.sheet import write_sheet
from packshot.catalog.state import State
from tests.client.catalog.conftest import cup, line, paint_noise

VOID = ("meta", "img", "br", "link")
GATE = {"edge_f1_rim": 0.9, "object_expansion": None, "product_difference": 0.0}


class Page(HTMLParser):
    """Reads a page; its tags must be balanced.

    Attributes:
        links: targets of all links, and sources of all pictures.
        headings: text of each product's heading.
        scripts: how many there are.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.headings: list[str] = []
        self.text = ""
        self.scripts = 0
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src") and value]
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attrs)
        if tag == "h2":
            self.headings.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        self.text += data
        if self._open[-1:] == ["h2"]:
            self.headings[-1] += data


def written(folder: Path, *records: dict) -> State:
    with Ledger(folder) as ledger:
        for record in records:
            ledger.append(record)
    state = State(folder)
    write_sheet(folder, state, {"items": state.counts(), "failures": {"clipped": 2}})
    return state


def settled(sku: str, status: str = "delivered") -> dict:
    picture = {"key": "k", "path": "delivered/x.png", "seed": 1, "gate": GATE, "failures": []}
    return {"kind": "item", "sku": sku, "key": "i", "cutout": "c", "status": status, "pictures": [picture]}


def test_every_link_and_picture_of_a_run_leads_to_a_file(run, triton):
    def paint(arrays):
        # The second seed is blank: set apart.
        picture = paint_noise(arrays)
        if arrays["seed"].item() == 8:
            picture["generated_image"] = np.zeros_like(arrays["image"])
        return picture

    triton.models["generate"] = paint
    lines = [cup("50% <b>off</b> & 'more'/../x", num_images=2), cup("☕"), line(sku="A", points=[[5, 5]])]
    done = run(*lines)
    # New thresholds decide anew and paint nothing: the small pictures are the same.
    for _ in range(2):
        for name in ("index.html", "attention.html"):
            page = Page(done.folder / name)
            for link in page.links:
                assert (done.folder / unquote(link)).is_file(), link
        done = run(options=("--keep-best", "1"))
    page = Page(done.folder / "index.html")
    assert len(page.headings) == 3
    assert len(page.links) == 1 + 3 * 2 + 4 * 2, "the other view; photos, cut-outs; pictures and their files"


def test_a_hostile_sku_and_message_are_text(tmp_path):
    sku, message = '<script>alert("x")</script><img src=x onerror=y>', "</p><script>z</script>"
    error = {"kind": "error", "sku": sku, "key": "k", "code": "INTERNAL", "message": message, "pictures": []}
    written(tmp_path, error, settled("</article>&amp;\"'"))
    page = Page(tmp_path / "index.html")
    assert page.scripts == 0
    assert page.headings == [sku, "</article>&amp;\"'"]
    assert message in page.text


def test_a_hundred_products_stand_on_a_page(tmp_path):
    written(tmp_path, *(settled(f"sku{number:03}") for number in range(250)))
    names = sorted(path.name for path in tmp_path.glob("*.html"))
    assert names == ["attention.html", "index-2.html", "index-3.html", "index.html"]
    pages = [Page(tmp_path / name) for name in ("index.html", "index-2.html", "index-3.html")]
    assert [len(page.headings) for page in pages] == [100, 100, 50]
    assert [heading[:6] for page in pages for heading in page.headings] == [f"sku{n:03}" for n in range(250)]
    assert {"index-2.html", "index-3.html", "attention.html"} <= {*pages[0].links}
    assert {"index.html", "index-2.html"} <= {*pages[2].links}


def test_a_page_of_many_has_links_to_its_neighbours_and_both_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "PER_PAGE", 1)
    written(tmp_path, *(settled(f"sku{number:03}") for number in range(40)))
    links = {link for link in Page(tmp_path / "index-20.html").links if link.startswith("index")}
    near = {f"index-{number}.html" for number in (15, 16, 17, 18, 19, 21, 22, 23, 24, 25)}
    assert links == {"index.html", *near, "index-40.html"}


def test_what_needs_attention_is_what_was_not_delivered_as_asked(tmp_path):
    error = {"kind": "error", "sku": "E", "key": "k", "code": "INTERNAL", "message": "no", "pictures": []}
    written(tmp_path, settled("A"), settled("B", "partial"), settled("C", "rejected"), error)
    assert Page(tmp_path / "attention.html").headings == ["B", "C", "E"]
    page = Page(tmp_path / "index.html")
    assert len(page.headings) == 4
    assert "2 × clipped" in page.text
    assert "1 rejected" in page.text


def test_pages_of_a_longer_sheet_go_and_other_files_stay(tmp_path):
    (tmp_path / "index-7.html").write_text("old")
    (tmp_path / "attention-2.html").write_text("old")
    (tmp_path / "index-of-mine.html").write_text("not ours")
    written(tmp_path, settled("A"))
    names = sorted(path.name for path in tmp_path.glob("*.html"))
    assert names == ["attention.html", "index-of-mine.html", "index.html"]


def test_an_empty_catalogue_has_a_sheet(tmp_path):
    written(tmp_path)
    assert "Nothing here." in Page(tmp_path / "index.html").text
