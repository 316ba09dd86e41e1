"""Puts the measured table into docs/performance.md, between its marks."""

import json
import pathlib
import sys

START, END = "<!-- measured: scripts/bench -->", "<!-- end of measured -->"


def per_element_ns(folder, elements):
    """Median time of one element, from criterion's estimates; None when the bench did not run."""
    file = folder / "new" / "estimates.json"
    return json.loads(file.read_text())["median"]["point_estimate"] / elements if file.exists() else None


def against_raw(criterion):
    for group, what in (("lock_stock", "durable locks of one SKU"), ("place_order", "durable orders")):
        for batch in (64, 256, 1024):
            raw = per_element_ns(criterion / group / "raw" / str(batch), batch)
            store = per_element_ns(criterion / group / "store" / str(batch), batch)
            if raw and store:
                target = "≥ 0.6" if group == "lock_stock" and batch >= 256 else "–"
                yield f"| {what}, batch {batch}, over raw SQLite FULL | {target} | {raw / store:.2f} ({1e9 / store:,.0f}/s) |"


def hot_against_many(criterion):
    for backend in ("memory", "SQLite"):
        hot = per_element_ns(criterion / "stock_actor" / f"{backend}_1 SKUs_1024 in flight", 1)
        many = per_element_ns(criterion / "stock_actor" / f"{backend}_1000 SKUs_1024 in flight", 1)
        if hot and many:
            yield f"| one hot SKU over 1,000 SKUs, stock actor on {backend} | ≥ 0.9 | {many / hot:.2f} |"


def main():
    criterion, out, document = map(pathlib.Path, sys.argv[1:])
    lines = (out / "table").read_text().rstrip().splitlines()
    lines += [*against_raw(criterion), *hot_against_many(criterion)]
    lines += ["", "The course's way on the same tables:", ""]
    lines += [f"- {line}" for line in (out / "course").read_text().splitlines() if "in flight" in line]
    text = document.read_text()
    before, rest = text.split(START, 1)
    after = rest.split(END, 1)[1]
    document.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n\n{END}{after}")
    print(f"{document} is up to date")


main()
