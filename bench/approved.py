#!/usr/bin/env python3
"""From the click that agrees to the open session: an `ssh` that waits at the gate, until the first byte of its command at the target.

    bench/approved.py TIDEGATE_BINARY [--rounds N] [--json FILE]

Everything is on this machine: the demo's gate and target, a stock `ssh`, and whoever approves over the API. What is timed begins before the
call that approves is sent, and holds the gate's connection to the target, whose server has a handshake of its own. Prints, and judges not;
the last line is one JSON object with the bar.
"""
import argparse, json, os, pathlib, statistics, subprocess, sys, time

from demo import Demo

BAR_MS = 300

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--rounds", type=int, default=30)
parser.add_argument("--json", default=None)
args = parser.parse_args()
demo = Demo(args.binary, "approved")


def once():
    """Ana asks and waits where she connects, Ben agrees; how long until she is in, and until Ben has his answer."""
    asked = demo.api("ana", "POST", "/api/v1/requests", {"resource": "db-1", "role": "shell", "duration": "1h", "reason": "bench"})["request"]["id"]
    client = demo.ssh("ana", "-o", "SendEnv=TIDEGATE_WAIT", "db-1+shell.tide", "echo in", stdout=subprocess.PIPE, env={**os.environ, "TIDEGATE_WAIT": "1"})
    time.sleep(1.5)
    if client.poll() is not None:
        sys.exit("ssh did not wait:\n" + demo.complaints())
    begin = time.monotonic()
    agreed = demo.api("ben", "POST", f"/api/v1/requests/{asked}/approve", {})
    answered = time.monotonic()
    first = client.stdout.read(1)
    opened = time.monotonic()
    if first != b"i" or client.wait(60) != 0:
        sys.exit("the session did not open:\n" + demo.complaints())
    demo.api("ana", "POST", f"/api/v1/grants/{agreed['grant']['id']}/return", {})
    return (opened - begin) * 1e3, (answered - begin) * 1e3


def pick(values, share):
    values = sorted(values)
    return round(values[min(int(len(values) * share), len(values) - 1)], 1)


try:
    once()
    opened, answered = zip(*(once() for _ in range(args.rounds)))
    found = {"measured": "approval to open session, ms", "rounds": args.rounds, "median": round(statistics.median(opened), 1), "p99": pick(opened, 0.99),
             "answer to who approves, median": round(statistics.median(answered), 1), "bar": BAR_MS, "met": pick(opened, 0.99) < BAR_MS}
    print(f"approval to open session: median {found['median']} ms, 99 of 100 within {found['p99']} ms")
    print(json.dumps(found), flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "results": found}, indent=2) + "\n")
finally:
    demo.end()
