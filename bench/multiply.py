#!/usr/bin/env python3
"""Makes a store large: rows like those of one journey that is in it already, again and again, each under ids of its own.

    bench/multiply.py STORE [--people N] [--sessions N] [--entries N] [--events NAME,NAME]

For measuring how lists answer, and for nothing else: what it makes is no story, stands under no tree, and `audit replay` would say so. The store
is a file of SQLite's that somebody may have open for reading; it needs one ended session, its grant and its request.
"""
import argparse, hashlib, json, sqlite3, struct, sys

parser = argparse.ArgumentParser()
parser.add_argument("store")
parser.add_argument("--people", type=int, default=10_000)
parser.add_argument("--sessions", type=int, default=100_000)
parser.add_argument("--entries", type=int, default=1_000_000)
parser.add_argument("--events", help="only entries of these names")
args = parser.parse_args()

db = sqlite3.connect(args.store, timeout=60, isolation_level=None)
db.execute("PRAGMA synchronous = OFF")
for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
    db.execute(f'DROP TRIGGER "{name}"')


def row(table, condition):
    cursor = db.execute(f"SELECT * FROM {table} WHERE {condition} LIMIT 1")
    found = cursor.fetchone()
    if found is None:
        sys.exit(f"there is nothing in {table} to make more of")
    return dict(zip((column[0] for column in cursor.description), found))


def some(prefix, n):
    return f"{prefix}_{n:026}"


def more(table, rows):
    rows = iter(rows)
    first = next(rows)
    names = ", ".join(f'"{name}"' for name in first)
    places = ", ".join("?" for _ in first)
    sql = f"INSERT INTO {table} ({names}) VALUES ({places})"
    db.execute("BEGIN")
    db.execute(sql, list(first.values()))
    db.executemany(sql, (list(one.values()) for one in rows))
    db.execute("COMMIT")


session = row("sessions", "state = 'ended'")
grant = row("grants", f"id = '{session['grant']}'")
request = row("requests", f"id = '{grant['request']}'")
person = row("people", f"id = '{session['person']}'")
kinds = [entry for entry in (
    dict(zip(("id", "at", "actor", "door", "name", "leaf", "texts"), found))
    for found in db.execute("SELECT id, at, actor, door, name, leaf, texts FROM entries WHERE leaf LIKE ? OR leaf LIKE ? ORDER BY seq",
                            (f'%"{session["id"]}"%', f'%"{grant["id"]}"%')).fetchall())]
if args.events:
    kinds = [kind for kind in kinds if kind["name"] in args.events.split(",")]
resources = [name for (name,) in db.execute("SELECT DISTINCT resource FROM requests")]
STEP = 30_000_000


def whose(n):
    return some("usr", 1 + n % args.people)


more("people", ({**person, "id": some("usr", n), "username": f"somebody-{n}", "display_name": f"Somebody {n}"} for n in range(1, args.people + 1)))
begun = session["opened_at"] - STEP * args.sessions
more("requests", ({**request, "id": some("req", n), "person": whose(n), "resource": resources[n % len(resources)], "state": "approved",
                   "submitted_at": begun + n * STEP} for n in range(1, args.sessions + 1)))
more("grants", ({**grant, "id": some("grt", n), "request": some("req", n), "person": whose(n), "resource": resources[n % len(resources)], "state": "ended",
                 "created_at": begun + n * STEP} for n in range(1, args.sessions + 1)))
more("sessions", ({**session, "id": some("ses", n), "grant": some("grt", n), "person": whose(n), "recording": some("rec", n),
                   "recording_chunks": None, "recording_digest": None,
                   "resource": resources[n % len(resources)], "opened_at": begun + n * STEP} for n in range(1, args.sessions + 1)))


def entry(n):
    kind = kinds[n % len(kinds)]
    about = 1 + n // len(kinds) % args.sessions
    leaf = kind["leaf"]
    for old, new in ((kind["id"], some("ent", n)), (session["id"], some("ses", about)), (grant["id"], some("grt", about)), (request["id"], some("req", about)), (person["id"], whose(about))):
        leaf = leaf.replace(old, new)
    actor = whose(about) if kind["actor"] == person["id"] else kind["actor"]
    return {**kind, "id": some("ent", n), "actor": actor, "leaf": leaf}


def is_time(text):
    return text[:1].isdigit() and text.endswith("Z") and "T" in text and ":" in text


def mentions(value, top=False, data=False):
    """What a leaf speaks of, as the store keeps it: each id and name, whole or behind a colon."""
    if isinstance(value, str):
        if not is_time(value):
            yield from (part for part in [value] + [value[at + 1:] for at, c in enumerate(value) if c == ":"] if 0 < len(part) <= 63)
    elif isinstance(value, list):
        for item in value:
            yield from mentions(item)
    elif isinstance(value, dict):
        for name, field in value.items():
            if not (top and name in ("door", "at", "texts") or data and name == "event"):
                yield from mentions(field, data=top and name == "data")


def key(text):
    return struct.unpack(">q", hashlib.sha256(text.encode()).digest()[:8])[0]


last = db.execute("SELECT COALESCE(MAX(seq), 0) FROM entries").fetchone()[0]
more("entries", ({**entry(n), "seq": last + n} for n in range(1, args.entries + 1)))
found = ((key(text), last + n) for n in range(1, args.entries + 1) for text in set(mentions(json.loads(entry(n)["leaf"]), top=True)))
more("entry_mentions", ({"mention": mention, "seq": seq} for mention, seq in found))
db.execute("ANALYZE")
print({table: db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in ("people", "requests", "grants", "sessions", "entries")})
