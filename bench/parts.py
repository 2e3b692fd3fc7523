#!/usr/bin/env python3
"""Measures three parts of the gate alone: how long policy takes to decide, how long a statement takes to judge, and how many audit entries the store
keeps in a second.

    bench/parts.py [--json FILE]

Policy: 1,000 policies, 10,000 people, 5,000 resources; 20,000 decisions. Statements: each stage by itself, 20,000 times with other numbers; what is
remembered is found by a statement's shape, which normalising gives. Audit entries: each a commit of its own, by 1 to 512 callers at once.
SQLite syncs each group of commits to disk before it answers, as a gate does. The tests' PostgreSQL runs without fsync, so its number says what
the gate's side of it takes, not what a disk does.
"""
import argparse, json, os, pathlib, re, subprocess, sys

parser = argparse.ArgumentParser()
parser.add_argument("--json", default=None)
args = parser.parse_args()
ENTRY = re.compile(r"Store\((\w+)\): (\d+) callers, (\d+) commits, (\d+) per second")


def cargo(*command):
    done = subprocess.run([os.environ.get("CARGO", "cargo"), *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"cargo {' '.join(command)}:\n{done.stderr}{done.stdout}")
    return done.stdout, done.stdout + done.stderr


out, _ = cargo("run", "--release", "--locked", "--quiet", "-p", "tidegate-policy", "--example", "decisions")
decision = json.loads(out)
print(f"{'policy decision, p99, us':44} {decision['p99_us']:6}     (median {decision['p50_us']}; {decision['policies']:,} policies, "
      f"{decision['people']:,} people, {decision['resources']:,} resources)", flush=True)

out, _ = cargo("run", "--release", "--locked", "--quiet", "-p", "tidegate-sql", "--example", "verdicts")
verdicts = json.loads(out)
for name, at in verdicts.items():
    pg, my = at["postgres"], at["mysql"]
    print(f"{f'verdict, {name}, us':44} {pg['cached']:6}     (remembered; of that normalising {pg['normalise']}; new {pg['uncached']}, of that parsing {pg['parse']}; "
          f"MySQL: shape {my['shape']}, new {my['uncached']})", flush=True)

_, said = cargo("test", "--release", "--locked", "--quiet", "-p", "tidegate-store", "--test", "contract", "commits_per_second",
                "--", "--ignored", "--nocapture", "--test-threads=1")
entries = {"sqlite": {}, "postgres": {}}
for store, callers, commits, rate in ENTRY.findall(said):
    entries[store][f"{callers} callers"] = {"entries": int(commits), "per second": int(rate)}
if not entries["sqlite"] or not entries["postgres"]:
    sys.exit(f"the store's measurement said nothing that was understood:\n{said}")
for store, durable in (("sqlite", "synced to disk"), ("postgres", "without fsync")):
    rates = {callers: row["per second"] for callers, row in entries[store].items()}
    best = max(rates, key=rates.get)
    print(f"{f'audit entries per second, {store}':44} {rates[best]:6}     ({best}; {durable}; "
          + ", ".join(f"{callers} {rate}" for callers, rate in rates.items() if callers != best) + ")", flush=True)
if args.json:
    results = {"policy decision": decision, "verdicts, us": verdicts, "audit entries, SQLite, synced to disk": entries["sqlite"], "audit entries, PostgreSQL without fsync": entries["postgres"]}
    pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "results": results}, indent=2) + "\n")
