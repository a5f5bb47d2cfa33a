"""The parts of the summary page, as HTML and as text for a terminal."""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from photometry.core.outcome import Status
from photometry.io import layout
from photometry.io.lightcurve import StoredLightCurve

Counts = dict[Status | None, int]
Rows = Sequence[Sequence[str]]


def heading(stored: Sequence[StoredLightCurve]) -> dict[str, str]:
    """Return title and origin of the light curves."""
    sectors = sorted({star.header["SECTOR"] for star in stored})
    plural = "s" if len(sectors) > 1 else ""
    about = {f"{star.header.get('CREATOR', 'unknown program')}"
             + (f", {star.header['DATE'].partition('T')[0]}" if "DATE" in star.header else "")
             for star in stored}
    return {"title": f"TESS photometry of sector{plural} {', '.join(map(str, sectors))}",
            "about": escape("; ".join(sorted(about)))}


def _named(counts: Counts) -> list[tuple[str, int]]:
    """Return the states that occur, pending first."""
    return [("PENDING" if status is None else status.name, counts[status])
            for status in (None, *Status) if counts.get(status)]


def counts_boxes(counts: Counts) -> str:
    """Return the number of targets in each state."""
    return "".join(f'<div class="count {name.lower()}"><b>{number:,}</b>{name.lower()}</div>'
                   for name, number in _named(counts))


def counts_line(counts: Counts) -> str:
    """Return the number of targets in each state for a terminal."""
    shown = ", ".join(f"{name} {number}" for name, number in _named(counts))
    return f"{sum(counts.values())} targets: {shown}"


def failure(text: str | None) -> str:
    """Return the first line of the last failure."""
    if not text:
        return ""
    return f"<p>The last failure: <code>{escape(text.splitlines()[0])}</code></p>"


def sample(read: int, total: int) -> str:
    """Say how many light curves the numbers are from, if not from all."""
    return "" if read == total else f"These are {read:,} of {total:,} light curves."


def table(rows: Rows) -> str:
    """Return a table whose first row is the heading."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in rows[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                   for row in rows[1:])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def table_lines(rows: Rows) -> list[str]:
    """Return a table for a terminal, columns aligned on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
            for row in rows]


def picture(content: bytes, text: str) -> str:
    """Return a PNG inside the page; `text` for those who cannot see it."""
    data = base64.b64encode(content).decode("ascii")
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{data}">'


def star_figure(star: StoredLightCurve, content: bytes, remark: str) -> str:
    """Return the figure of a star with its caption."""
    image = picture(content, f"Figures of TIC {star.starid}")
    return (f"<figure>{image}<figcaption>TIC {star.starid}{escape(remark)}: "
            f"<code>{escape(str(star.path))}</code></figcaption></figure>")


def images(pictures: Sequence[Path], folder: Path, of_cubes: bool) -> str:
    """Return links to the pictures of cubes below the page's folder, or why there are none."""
    if not of_cubes:
        return ("<p>The stars were measured in target pixel files: their mean images are in the "
                "figures of the stars.</p>")
    if not pictures:
        return "<p>The cubes are not here any more.</p>"
    items = (f'<li><a href="{escape(path.relative_to(folder).as_posix())}">'
             f"{escape(path.stem)}</a></li>" for path in pictures)
    return ("<p>Of each CCD: mean image, background, and the pixels that it was fitted to; "
            "background, motion and quality of the frames against time.</p>"
            f"<ul>{''.join(items)}</ul>")


def places(input_folder: Path, output_folder: Path, plots: Path, example: Path) -> dict[str, str]:
    """Return where things are, and how to open a light curve."""
    named = {"To-do list": layout.todo_path(input_folder), "Light curves": output_folder,
             "Figures": plots}
    text = (f"import lightkurve as lk\nlk.read({str(example.absolute())!r}, "
            'flux_column="flux_raw").plot()')
    return {"places": "".join(f"<dt>{name}</dt><dd><code>{escape(str(path.absolute()))}</code>"
                              "</dd>" for name, path in named.items()),
            "example": escape(text, quote=False)}
