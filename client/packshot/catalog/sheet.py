"""The contact sheet: pages of HTML to look a catalogue through, without a server or a script.

``index.html`` has everything, a hundred products a page; ``attention.html`` what was not delivered as
asked for. Pictures are small copies; each leads to the finished file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote

from packshot.catalog.delivery import write
from packshot.catalog.settling import DELIVERED
from packshot.catalog.state import State
from packshot.catalog.work import THUMBNAILS

#: Products on a page.
PER_PAGE = 100
#: Pages before and after one that it has links to, besides the first and the last.
_NEAR = 5
_ALL, _ATTENTION = "index", "attention"
_TITLES = {_ALL: "Everything", _ATTENTION: "Needs attention"}

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #1a7f37; --bad: #c0392b; --soft: #8881; }
body { font: 15px/1.45 system-ui, sans-serif; margin: 0 auto; max-width: 1500px; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; }
nav { display: flex; gap: 1rem; flex-wrap: wrap; margin: .6rem 0 1rem; }
nav a { color: inherit; } nav .here { font-weight: 700; text-decoration: none; }
.totals { display: flex; gap: .6rem; flex-wrap: wrap; }
.totals span, .badge { border: 1px solid var(--line); border-radius: 1rem; padding: .1rem .7rem; }
article { border-top: 1px solid var(--line); padding: 1rem 0; }
article h2 { font-size: 1.05rem; margin: 0 0 .6rem; overflow-wrap: anywhere; }
.badge { font-size: .8rem; font-weight: 600; margin-left: .5rem; }
.delivered { color: var(--good); } .rejected, .partial, .error { color: var(--bad); }
.row { display: flex; gap: .8rem; flex-wrap: wrap; align-items: flex-start; }
figure { margin: 0; width: 240px; }
figure img { width: 240px; height: 240px; object-fit: contain; background: var(--soft);
  border-radius: 6px; display: block; }
figure.apart img { outline: 3px solid var(--bad); opacity: .75; }
figcaption { font-size: .8rem; margin-top: .3rem; overflow-wrap: anywhere; }
.gate { opacity: .7; } .why { color: var(--bad); }
"""


def write_sheet(folder: Path, state: State, summary: Mapping[str, Any]) -> None:
    """Write all pages; those of an earlier, longer sheet go away.

    Args:
        folder: of the catalogue.
        state: what is shown.
        summary: for the head of every page.
    """
    counts = state.counts()
    total = sum(counts.values())
    sizes = {_ALL: total, _ATTENTION: total - counts.get(DELIVERED, 0)}
    written = set()
    for kind, size in sizes.items():
        shown = iter(state) if kind == _ALL else (r for r in state if r.get("status") != DELIVERED)
        pages = max(1, -(-size // PER_PAGE))
        for number in range(1, pages + 1):
            articles = [_article(record) for record in islice(shown, PER_PAGE)]
            path = folder / _page(kind, number)
            write(path, _document(kind, number, pages, sizes, summary, articles).encode())
            written.add(path)
    for kind in sizes:
        for path in set(folder.glob(f"{kind}-*.html")) - written:
            # Another run on other shards may be doing the same.
            if path.stem.removeprefix(f"{kind}-").isdecimal():
                path.unlink(missing_ok=True)


def _document(
    kind: str,
    number: int,
    pages: int,
    sizes: Mapping[str, int],
    summary: Mapping[str, Any],
    articles: list[str],
) -> str:
    totals = [f"{count} {escape(status.lower())}" for status, count in sorted(summary["items"].items())]
    totals += [f"{count} × {escape(reason.lower())}" for reason, count in sorted(summary["failures"].items())]
    views = [_link(_page(view, 1), f"{_TITLES[view]} ({size})", view == kind) for view, size in sizes.items()]
    near = range(max(1, number - _NEAR), min(pages, number + _NEAR) + 1)
    turns = [_link(_page(kind, page), str(page), page == number) for page in sorted({1, *near, pages})]
    body = "\n".join(articles) or "<p>Nothing here.</p>"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>packshot catalogue, {_TITLES[kind].lower()}</title>
<style>{_STYLE}</style>
<h1>packshot catalogue</h1>
<div class="totals">{"".join(f"<span>{total}</span>" for total in totals)}</div>
<nav>{"".join(views)}</nav>
{body}
<nav>{"".join(turns) if pages > 1 else ""}</nav>
</html>
"""


def _article(record: Mapping[str, Any]) -> str:
    sku = escape(record["sku"])
    if record["kind"] == "error":
        why = f'<p class="why">{escape(record["message"])}</p>'
        return (
            f'<article><h2>{sku}<span class="badge error">{escape(record["code"])}</span></h2>{why}</article>'
        )
    status = record["status"]
    figures = "".join(_figures(record))
    return (
        f'<article><h2>{sku}<span class="badge {status}">{status}</span></h2>'
        f'<div class="row">{figures}</div></article>'
    )


def _figures(record: Mapping[str, Any]) -> Iterator[str]:
    for what, caption in (("photo", "photo"), ("cutout", "cut-out")):
        yield _figure(f"{THUMBNAILS}/{record['cutout']}-{what}.jpg", None, [caption])
    for picture in record["pictures"]:
        gate = picture["gate"]
        told = [f"seed {picture['seed']}", f'<span class="gate">{_measures(gate)}</span>']
        told += [f'<span class="why">{escape(failure)}</span>' for failure in picture["failures"]]
        small = f"{THUMBNAILS}/{picture['key']}.jpg"
        yield _figure(small, picture["path"], told, apart=bool(picture["failures"]))


def _measures(gate: Mapping[str, Any]) -> str:
    names = {"edge_f1_rim": "rim F1", "object_expansion": "expansion", "product_difference": "difference"}
    told = (f"{label} {gate[name]:.2f}" for name, label in names.items() if gate[name] is not None)
    return " · ".join(told)


def _figure(small: str, leads_to: str | None, told: Iterable[str], apart: bool = False) -> str:
    image = f'<img loading="lazy" src="{quote(small)}" alt="">'
    if leads_to is not None:
        image = f'<a href="{quote(leads_to)}">{image}</a>'
    kind = ' class="apart"' if apart else ""
    return f"<figure{kind}>{image}<figcaption>{'<br>'.join(told)}</figcaption></figure>"


def _page(kind: str, number: int) -> str:
    return f"{kind}.html" if number == 1 else f"{kind}-{number}.html"


def _link(target: str, text: str, here: bool) -> str:
    return f'<a class="here">{text}</a>' if here else f'<a href="{target}">{text}</a>'
