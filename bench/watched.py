#!/usr/bin/env python3
"""How far a live view is behind: a hundred sessions that each say the time once a second, each watched over the API by somebody.

    bench/watched.py TIDEGATE_BINARY [--sessions N] [--seconds N] [--json FILE]

Sessions are stock `ssh` clients to the demo's own target, all on this machine with the gate and with those who watch, so that one clock counts.
The lag is from when a program at the target says a time to when whoever watches has read it. Prints, and judges not.
"""
import argparse, base64, http.client, json, os, pathlib, statistics, subprocess, sys, threading, time

from demo import Demo

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--sessions", type=int, default=100)
parser.add_argument("--seconds", type=int, default=30)
parser.add_argument("--json", default=None)
args = parser.parse_args()
demo, clients = Demo(args.binary, "watched"), []
lags, lock, watched, over = [], threading.Lock(), [], threading.Event()


def watch(name, session):
    """Reads a live view, and notes how old each time is when it comes. One person has at most 32 streams."""
    connection = http.client.HTTPConnection(demo.place.hostname, demo.place.port, timeout=60)
    connection.request("GET", f"/api/v1/sessions/{session}/watch", headers={"Authorization": "Bearer " + demo.person(name)["token"]})
    answer = connection.getresponse()
    if answer.status != 200:
        sys.stderr.write(f"{name} may not watch: {answer.status} {answer.read()[:300]}\n")
        return
    with lock:
        watched.append(session)
    while not over.is_set():
        line = answer.readline()
        if not line:
            return
        if not line.startswith(b"data: "):
            continue
        now = time.time_ns()
        frame = json.loads(line[6:])
        if not frame.get("data"):
            continue
        for text in base64.b64decode(frame["data"]).split():
            if text.isdigit() and len(text) > 17:
                with lock:
                    lags.append((now - int(text)) / 1e6)


try:
    # Where what is shown is recorded, and so can be watched.
    asked = demo.api("ana", "POST", "/api/v1/requests", {"resource": "db-1", "role": "shell", "duration": "2h", "reason": "soak"})
    demo.api("ben", "POST", f"/api/v1/requests/{asked['request']['id']}/approve", {})
    say = "exec python3 -uc 'import time\nwhile True:\n  print(time.time_ns(), flush=True)\n  time.sleep(1)'"
    for _ in range(args.sessions):
        clients.append(demo.ssh("ana", "db-1+shell.tide", say, stdout=subprocess.DEVNULL))
        time.sleep(0.05)
    sessions = []
    for _ in range(600):
        sessions = [s["id"] for s in demo.api("carla", "GET", "/api/v1/sessions?all=true&state=live&limit=500")["items"]]
        if len(sessions) >= args.sessions:
            break
        time.sleep(0.2)
    names = ["carla", "eve", "ben", "dan"]
    for n, session in enumerate(sessions):
        threading.Thread(target=watch, args=(names[min(n // 32, len(names) - 1)], session), daemon=True).start()
    time.sleep(5)
    with lock:
        lags.clear()
    time.sleep(args.seconds)
    over.set()
    with lock:
        seen = sorted(lags)
    if not seen:
        sys.exit("nothing was seen:\n" + demo.complaints())
    pick = lambda share: round(seen[min(int(len(seen) * share), len(seen) - 1)], 1)
    results = {"sessions": len(sessions), "watched": len(watched), "seen": len(seen), "median_ms": round(statistics.median(seen), 1),
               "p99_ms": pick(0.99), "longest_ms": round(seen[-1], 1)}
    print(f"live view behind, {results['watched']} watched: median {results['median_ms']} ms, 99 of 100 within {results['p99_ms']} ms, the longest {results['longest_ms']} ms ({results['seen']} seen)")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "results": results}, indent=2) + "\n")
finally:
    for client in clients:
        client.terminate()
    for client in clients:
        client.wait()
    demo.end()
