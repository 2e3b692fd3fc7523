#!/usr/bin/env python3
"""Measures how long the page of measures takes for a year of a company of 1,000 people: some 3.6 million entries of the log.

    bench/measures.py [--people N] [--json FILE]

Each person has two sessions a working day, each asked for and agreed to, one in fifty locked out. What is timed is counting one more entry,
what a restart reads of what was kept, and the numbers of the year by days, weeks and months: the page, without HTTP. Prints, and judges not; the
last line is one JSON object with the bar.
"""
import argparse, json, os, pathlib, subprocess, sys

parser = argparse.ArgumentParser()
parser.add_argument("--people", type=int, default=1000)
parser.add_argument("--json", default=None)
args = parser.parse_args()
command = [os.environ.get("CARGO", "cargo"), "run", "--release", "--locked", "--quiet", "-p", "tidegate-evidence", "--example", "measures", "--", str(args.people)]
done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
if done.returncode != 0:
    sys.exit(f"{' '.join(command)} failed")
found = json.loads(done.stdout)
for name in ("days ms", "weeks ms", "months ms"):
    print(f"{'measures of a year, ' + name:44} {found[name]:9.1f}")
print(f"{'read after a restart, ms':44} {found['reading ms']:9.1f}     ({found['kept bytes']:,} bytes)")
print(f"{'one more entry, us':44} {found['us per entry']:9.1f}     ({found['entries']:,} entries)")
slowest = max(found[name] for name in ("days ms", "weeks ms", "months ms"))
print(json.dumps({"measured": "page of a year's measures, ms", "people": args.people, "entries": found["entries"], "slowest": round(slowest, 1), "bar": 200, "met": slowest < 200}))
if args.json:
    pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "results": found}, indent=2) + "\n")
