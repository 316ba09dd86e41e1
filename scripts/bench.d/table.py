"""Makes the table of docs/performance.md from what is in target/bench, and puts it between the document's marks."""

import datetime
import json
import os
import statistics
import subprocess

START, END = "<!-- measured: scripts/bench -->", "<!-- end of measured -->"
MODES = ("embedded", "cluster")
# What is run under pressure.
SCENARIOS = ("overload", "retry-storm", "hot-sku", "idle")
KNOWN = ("table-", "locks", "growth-", "pressure-")
MISSING = "not measured here"


def write(folder, document, command, seconds):
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.json")}
    found = {name: value for name, value in found.items() if value and name.startswith(KNOWN)}
    lines = [*heading(command, seconds, found), *table(rows(found)), "", *costs(found), "", *pressure(found)]
    before, rest = document.read_text(encoding="utf-8").split(START, 1)
    after = rest.split(END, 1)[1]
    document.write_text(f"{before}{START}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")
    print("\n".join(lines))


def heading(command, seconds, found):
    today = datetime.datetime.now(datetime.timezone.utc).date()
    yield f"`{command}`, {seconds / 60:.0f} min without the build, on {machine()}, {today}, commit {commit()}."
    yield "Each figure is the median of the rounds, with the range."
    others = [f"{name} ({value['commit']})" for name, value in sorted(found.items()) if value["commit"] != commit()]
    if others:
        yield f"Of other commits: {', '.join(others)}."
    yield ""


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    with open("/proc/meminfo", encoding="utf-8") as file:
        kib = int(file.readline().split()[1])
    return f"{os.cpu_count()} × {names[0] if names else 'unknown processor'}, {-(-kib // 2**20)} GiB, Linux {os.uname().release}"


def commit():
    def git(*arguments):
        return subprocess.run(["git", *arguments], capture_output=True, text=True, check=False).stdout.strip()
    changed = git("status", "--porcelain", "--untracked-files=no")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


# What is said

def spread(values, digits=2):
    values = [value for value in values if value is not None]
    if not values:
        return MISSING
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return middle if low == high else f"{middle} ({low}–{high})"


def over(above, below, digits=2):
    """Round by round."""
    return spread([a / b for a, b in zip(above, below) if b], digits)


def table(rows):
    yield "| what | reference in the same run | target | embedded | cluster |"
    yield "|---|---|---|---|---|"
    for row in rows:
        yield "| " + " | ".join(row) + " |"


def both(what, reference, target, of):
    return what, reference, target, *(of(mode) or MISSING for mode in MODES)


def rows(found):
    yield from requests(found)
    yield from locks(found)
    yield from growth(found)


def requests(found):
    def rounds(mode):
        return (found.get(f"table-{mode}") or {}).get("rounds") or []

    def values(mode, name, field):
        return [one[name][field] for one in rounds(mode)]

    def cpu_over_bare(name):
        return lambda mode: over(values(mode, name, "server_us"), values(mode, "bare", "server_us"))

    def us_and_rate(name):
        return lambda mode: rounds(mode) and (
            f"{spread(values(mode, name, 'server_us'), 1)} µs; {spread(values(mode, name, 'rate'), 0)}/s")

    def over_course(mode):
        course = [one["rate"] for one in (found.get(f"table-{mode}") or {}).get("course", [])]
        course = course and [statistics.median(course)] * len(rounds(mode))
        return course and over(values(mode, "orders", "rate"), course, 1)

    yield both("bare actix-web JSON route: server CPU; rate", "–", "–", us_and_rate("bare"))
    yield both("CPU of the generator on it, µs", "–", "≤ 20",
               lambda mode: spread(values(mode, "bare", "generator_us"), 1))
    yield both("refused request (sold out, logged in, limits on), server CPU", "bare route", "≤ 1.2 ×",
               cpu_over_bare("refused"))
    yield both("logged-in route, server CPU", "bare route", "≤ 1.2 ×", cpu_over_bare("logged_in"))
    yield both("won request with a durable order, CPU over all processes", "bare route",
               "embedded ≤ 2.5 ×, cluster ≤ 4.5 ×", cpu_over_bare("won"))
    yield both("the same: CPU; rate", "–", "–", us_and_rate("won"))
    yield both("won requests/s with durable orders, generator on the same cores", "bare route's rate",
               "embedded ≥ 0.45 ×, cluster ≥ 0.25 ×",
               lambda mode: over(values(mode, "won", "rate"), values(mode, "bare", "rate")))
    yield both("p99 of won requests at 80 % of that rate, ms", "–", "embedded ≤ 25, cluster ≤ 50",
               lambda mode: spread(values(mode, "won_at_80_percent", "p99_ms"), 1))
    yield both("ordinary confirm + submit, durable: orders/s", "course's way, whole order on PostgreSQL, 64 in flight",
               "≥ 20 ×", over_course)
    yield both("the same: CPU; rate", "–", "–", us_and_rate("orders"))
    yield both("stolen by the hypervisor, %", "–", "–",
               lambda mode: spread([one["steal_percent"] for one in rounds(mode)], 1))


def locks(found):
    rounds = (found.get("locks") or {}).get("rounds", [])

    def actor(store, skus, in_flight):
        return [one["actor"].get(f"{store}/{skus} SKUs/{in_flight} in flight") for one in rounds]

    def course(store, in_flight):
        return [next((found["rate"] for found in one["course"]
                      if found["name"].startswith(store) and found["in_flight"] == in_flight), None) for one in rounds]

    def ratio(above, below, digits=2):
        pairs = [(a, b) for a, b in zip(above, below) if a and b]
        return over([a for a, _ in pairs], [b for _, b in pairs], digits)

    stores = ("SQLite", "PostgreSQL")
    for in_flight, target in ((1, "–"), (64, "PostgreSQL ≥ 100 ×"), (1024, "PostgreSQL ≥ 250 ×")):
        yield (f"durable locks of one SKU through the stock actor, {in_flight:,} in flight", "course's way", target,
               *(ratio(actor(store, 1, in_flight), course(store, in_flight), 1) for store in stores))
        yield ("the same: locks/s; the course's way", "–", "–",
               *(f"{spread(actor(store, 1, in_flight), 0)}; {spread(course(store, in_flight), 0)}" for store in stores))
    raw = [one["raw"].get("1024") for one in rounds]
    yield ("the same, 1,024 in flight", "raw SQLite FULL group commit of 1,024", "≥ 0.6 ×",
           ratio(actor("SQLite", 1, 1024), raw), "–")
    yield ("one hot SKU, 1,024 in flight", "the same load over 1,000 SKUs", "≥ 0.9 ×",
           *(ratio(actor(store, 1, 1024), actor(store, 1000, 1024)) for store in stores))


def growth(found):
    def of(mode):
        return found.get(f"growth-{mode}")

    def rate(mode, store, name):
        return [one[store][name]["rate"] for one in of(mode)["rounds"]]

    def filled_over_empty(name):
        return lambda mode: of(mode) and over(rate(mode, "filled", name), rate(mode, "empty", name))

    def figure(name, digits, unit):
        return lambda mode: of(mode) and of(mode)[name] is not None and f"{of(mode)[name]:,.{digits}f} {unit}"

    orders = max((of(mode)["orders"] for mode in MODES if of(mode)), default=1_000_000)
    reference = "empty store"
    for name, what in (("won", "won requests/s"), ("orders", "orders/s"), ("refused", "refused requests/s")):
        yield both(f"{orders:,} orders, 100,000 members, ten past sales in the store: {what}", reference, "≥ 0.8 ×",
                   filled_over_empty(name))
    yield both("the same store, 10,000 active SKUs: orders/s", "one SKU, empty store", "≥ 0.8 ×",
               lambda mode: of(mode) and over([one["orders_over_skus"]["rate"] for one in of(mode)["rounds"]],
                                              rate(mode, "empty", "orders")))
    yield both("one more active SKU, with what else its first order leaves in memory", "–", "–",
               figure("resident_by_sku_kib", 1, "KiB"))
    yield both("ready after a start on that store", "–", "≤ 2 s", figure("ready_s", 2, "s"))
    yield both("memory of the server: at the start; after the rounds", "–", "–",
               lambda mode: of(mode) and f"{of(mode)['resident_at_start_mib']:.0f}; {of(mode)['resident_mib']:.0f} MiB")
    yield both("audit of that store: time; memory on top", "–", "–",
               lambda mode: of(mode) and f"{of(mode)['audit_s']:.1f} s; {of(mode)['audit_mib']:.0f} MiB")


def costs(found):
    """CPU time of a request by process."""
    yield "CPU time of each process per request, µs, medians:"
    yield ""
    yield "| | | server | postgres | redis | rabbitmq | generator |"
    yield "|---|---|---|---|---|---|---|"
    names = {"bare": "bare", "logged_in": "logged in", "refused": "refused", "won": "won", "orders": "confirm + submit"}
    for mode in MODES:
        rounds = (found.get(f"table-{mode}") or {}).get("rounds") or []
        for key, name in names.items():
            cells = []
            for process in ("server", "postgres", "redis", "rabbitmq", "generator"):
                values = [dict(one[key]["processes"])[process] for one in rounds if process in dict(one[key]["processes"])]
                cells.append(f"{statistics.median(values):.1f}" if values else "–")
            if rounds:
                yield f"| {mode} | {name} | " + " | ".join(cells) + " |"


def pressure(found):
    """What the scenarios under pressure say of what must hold; their limits stand in the names."""
    yield "Under pressure (`loadtest` overload, retry-storm, hot-sku, idle):"
    yield ""
    yield "| for | what must hold | embedded | cluster |"
    yield "|---|---|---|---|"
    for scenario in SCENARIOS:
        runs = [found.get(f"pressure-{scenario}-{mode}") or {"checks": []} for mode in MODES]
        title = f"{scenario}, {' and '.join(sorted({str(run['seconds']) for run in runs if 'seconds' in run})) or '–'} s"
        names = dict.fromkeys(check["name"] for run in runs for check in run["checks"] if has_limit(check))
        for name in names:
            yield cells(title, name, *(said(run["checks"], name) for run in runs))
        yield cells(title, "all else: answers against the store, the audit", *(the_rest(run["checks"]) for run in runs))


def cells(*texts):
    return "| " + " | ".join(text.replace("|", "/").replace("\n", " ") for text in texts) + " |"


def has_limit(check):
    return any(sign in check["name"] for sign in "≤≥")


def said(checks, name):
    check = next((check for check in checks if check["name"] == name), None)
    return MISSING if check is None else check["detail"] + ("" if check["ok"] else " (**not held**)")


def the_rest(checks):
    rest = [check for check in checks if not has_limit(check)]
    broken = [f"**{check['name']}**: {check['detail']}" for check in rest if not check["ok"]]
    return "; ".join(broken) or (f"all {len(rest)} hold" if rest else MISSING)
