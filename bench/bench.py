#!/usr/bin/env python3
"""Measures the gate against a direct OpenSSH connection, side by side in one run.

Each figure is the median of interleaved pairs (gate, direct, gate, direct, …), as a ratio with its spread, so that it holds when the
machine's speed drifts. The target is the same OpenSSH server either way. Nothing leaves this machine.

    bench/bench.py TIDEGATE_BINARY [--full] [--json FILE]
"""
import argparse, concurrent.futures, json, math, os, pathlib, shutil, signal, statistics, subprocess, sys, tempfile, time, urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--full", action="store_true", help="1 GiB transfers")
parser.add_argument("--json", default=None)
args = parser.parse_args()

SIZE = (1024 if args.full else 128) * 1024 * 1024
PAIRS = 5
LIVE = 100
BATCHES = 4
ROUNDS = 3
work = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
children = []
results = {}


def spawn(command, **kwargs):
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)
    children.append(child)
    return child


def demo():
    ready = work / "ready.json"
    spawn([args.binary, "demo", "--dir", work / "demo", "--ready-file", ready], stdout=open(work / "log", "w"), stderr=subprocess.STDOUT)
    for _ in range(600):
        if ready.exists():
            return json.loads(ready.read_text())
        time.sleep(0.1)
    sys.exit("the demo did not start:\n" + (work / "log").read_text())


def direct_sshd():
    """The demo's own kind of server once more, which lets one key in directly."""
    home = work / "direct"
    home.mkdir()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    shutil.copy(home / "user.pub", home / "authorized_keys")
    text = (work / "demo/target/sshd_config").read_text()
    port = next(int(l.split()[1]) for l in text.splitlines() if l.startswith("Port "))
    with __import__("socket").socket() as s:
        s.bind(("127.0.0.1", 0))
        free = s.getsockname()[1]
    text = text.replace(f"Port {port}", f"Port {free}").replace("AuthorizedKeysFile none", f"AuthorizedKeysFile {home}/authorized_keys")
    (home / "sshd_config").write_text(text)
    spawn(["/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd_config"], stdout=open(home / "log", "w"), stderr=subprocess.STDOUT)
    config = home / "ssh_config"
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    config.write_text(f"Host direct\n HostName 127.0.0.1\n Port {free}\n User {user}\n IdentityFile {home}/user\n IdentitiesOnly yes\n"
                      f" StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n")
    for _ in range(100):
        if subprocess.run(["ssh", "-F", config, "direct", "true"], capture_output=True).returncode == 0:
            return config
        time.sleep(0.1)
    sys.exit("the direct sshd did not start")


def person(name):
    return next(p for p in ready["people"] if p["username"] == name)


def api(name, method, path, body=None):
    request = urllib.request.Request(ready["api"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + person(name)["token"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.loads(answer.read())


def grant(resource, role, duration="4h"):
    asked = api("ana", "POST", "/api/v1/requests", {"resource": resource, "role": role, "duration": duration, "reason": "bench"})
    if asked.get("grant"):
        return asked["grant"]["id"]
    return api("ben", "POST", f"/api/v1/requests/{asked['request']['id']}/approve", {})["grant"]["id"]


def timed(command):
    start = time.monotonic()
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    if done.returncode != 0:
        sys.exit(f"{command}: {done.returncode}: {done.stderr.decode()}")
    return time.monotonic() - start


def first_output(command):
    """Until the first byte that the command at the target writes."""
    start = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        first = running.stdout.read(1)
        took = time.monotonic() - start
        said = running.communicate()[1]
    if not first or running.returncode != 0:
        sys.exit(f"{command}: {running.returncode}: {said.decode()}")
    return took


def compare(name, gate, direct, pairs=PAIRS, faster_is="ratio of speeds, gate to direct", measure=timed):
    measure(gate), measure(direct)
    both = [(measure(gate), measure(direct)) for _ in range(pairs)]
    ratios = sorted(d / g for g, d in both)
    results[name] = {"ratio": round(statistics.median(ratios), 3), "min": round(ratios[0], 3), "max": round(ratios[-1], 3),
                     "gate_s": round(statistics.median(g for g, _ in both), 4), "direct_s": round(statistics.median(d for _, d in both), 4), "unit": faster_is}
    print(f"{name:44} {results[name]['ratio']:6.2f} x   ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


try:
    ready = demo()
    direct = direct_sshd()
    mine = person("ana")["ssh_config"]
    shell, build = grant("db-1", "shell"), grant("build-1", "shell", "12h")
    blob = work / "blob"
    with open(blob, "wb") as f:
        for _ in range(SIZE // (1 << 20)):
            f.write(os.urandom(1 << 20))
    gate = ["ssh", "-F", mine, "db-1+shell.tide"]
    events = ["ssh", "-F", mine, "build-1+shell.tide"]
    straight = ["ssh", "-F", direct, "direct"]
    print(f"bulk: {SIZE >> 20} MiB of random data; ratios of speeds, gate to direct OpenSSH with its default ciphers\n")
    compare("sftp down (operations and digests recorded)", ["scp", "-q", "-F", mine, f"db-1+shell.tide:{blob}", work / "down"], ["scp", "-q", "-F", direct, f"direct:{blob}", work / "down"])
    compare("sftp up (operations and digests recorded)", ["scp", "-q", "-F", mine, blob, f"db-1+shell.tide:{work}/up"], ["scp", "-q", "-F", direct, blob, f"direct:{work}/up"])
    compare("scp -O down", ["scp", "-O", "-q", "-F", mine, f"db-1+shell.tide:{blob}", work / "down"], ["scp", "-O", "-q", "-F", direct, f"direct:{blob}", work / "down"])
    compare("scp -O up", ["scp", "-O", "-q", "-F", mine, blob, f"db-1+shell.tide:{work}/up"], ["scp", "-O", "-q", "-F", direct, blob, f"direct:{work}/up"])
    compare("cat over exec, content recorded", [*gate, f"cat {blob}"], [*straight, f"cat {blob}"])
    compare("cat over exec, events only", [*events, f"cat {blob}"], [*straight, f"cat {blob}"])
    compare("connection to first output", [*gate, "echo", "here"], [*straight, "echo", "here"], pairs=15, measure=first_output)
    # Debian 12's OpenSSH takes sntrup761x25519 with itself, which is slow, and curve25519 with the gate, whose mlkem768x25519 it does not know.
    same = ["-o", "KexAlgorithms=curve25519-sha256"]
    compare("connection, same key exchange", [*gate[:1], *same, *gate[1:], "echo", "here"], [*straight[:1], *same, *straight[1:], "echo", "here"], pairs=15, measure=first_output)

    def burst(command, n=100, at_once=8):
        start = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            failed = sum(pool.map(lambda _: subprocess.run(command, capture_output=True).returncode != 0, range(n)))
        return n / (time.monotonic() - start), failed

    rates = [(burst([*gate, "true"]), burst([*straight, "true"])) for _ in range(PAIRS)]
    ratios = sorted(g[0] / d[0] for g, d in rates)
    failed = sum(g[1] for g, _ in rates)
    results["new sessions per second"] = {"ratio": round(statistics.median(ratios), 3), "min": round(ratios[0], 3), "max": round(ratios[-1], 3),
                                          "gate": round(statistics.median(g[0] for g, _ in rates), 1),
                                          "direct": round(statistics.median(d[0] for _, d in rates), 1), "failed": failed}
    print(f"{'new sessions per second':44} {statistics.median(ratios):6.2f} x   ({ratios[0]:.2f} to {ratios[-1]:.2f}; failed: {failed})", flush=True)

    pid = int(subprocess.check_output(["pgrep", "-f", f"demo --dir {work}/demo"], text=True).split()[0])
    rss = lambda: int(next(l.split()[1] for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")))
    at_target = lambda: {int(p) for p in subprocess.run(["pgrep", "-x", "-f", "sleep 100000.5"], capture_output=True, text=True).stdout.split()}

    def hold(more):
        """So many more idle sessions, each seen at the target."""
        there = len(at_target()) + more
        for n in range(more):
            spawn([*gate, "exec sleep 100000.5"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            if n % 16 == 15:
                time.sleep(0.25)
        deadline = time.monotonic() + 300
        while len(at_target()) < there and time.monotonic() < deadline:
            time.sleep(0.2)
        time.sleep(2)

    def cut(revoked):
        """When each process at the target was gone, in seconds from the order on; and how many were not within a minute."""
        left, ended, start = at_target(), [], time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            order = pool.submit(api, "carla", "POST", f"/api/v1/grants/{revoked}/revoke", {"reason": "bench"})
            while left and time.monotonic() - start < 60:
                gone = {p for p in left if not os.path.exists(f"/proc/{p}")}
                left -= gone
                ended += [time.monotonic() - start] * len(gone)
                time.sleep(0.005)
            order.result()
        if not ended:
            sys.exit("no process at the target was cut")
        return ended, len(left)

    def spread(values, digits):
        return {"value": round(statistics.median(values), digits), "min": round(min(values), digits), "max": round(max(values), digits)}

    # What each of several batches of sessions adds; only of a fresh gate, since memory that was let go is used again.
    grown = []
    for _ in range(BATCHES):
        before = rss()
        hold(LIVE // BATCHES)
        grown.append((rss() - before) / (LIVE // BATCHES))
    memory = results["memory per idle session, KiB"] = {**spread(grown, 1), "sessions": len(at_target()), "batches": BATCHES}
    print(f"{'memory per idle session, KiB':44} {memory['value']:6.1f}     ({memory['min']:.1f} to {memory['max']:.1f}; {memory['sessions']} sessions)", flush=True)

    lasts, p99s, stayed = [], [], 0
    for n in range(ROUNDS):
        if n:
            shell = grant("db-1", "shell")
            hold(LIVE)
        ended, left = cut(shell)
        stayed += left
        lasts.append(ended[-1] if not left else 60.0)
        p99s.append(sorted(ended + [60.0] * left)[math.ceil(0.99 * (len(ended) + left)) - 1])
    last, p99 = spread(lasts, 3), spread(p99s, 3)
    results["revocation to last process at the target, s"] = {**last, "p99": p99, "sessions": LIVE, "rounds": ROUNDS, "stayed": stayed}
    print(f"{'revocation to last process at the target, s':44} {last['value']:6.2f}     ({last['min']:.2f} to {last['max']:.2f}; {LIVE} sessions cut at once)", flush=True)
    print(f"{'  to 99 of 100':44} {p99['value']:6.2f}     ({p99['min']:.2f} to {p99['max']:.2f})", flush=True)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"size_mib": SIZE >> 20, "cpus": os.cpu_count(), "results": results}, indent=2) + "\n")
    if stayed:
        sys.exit(f"{stayed} processes at the target were not gone within a minute")
finally:
    for child in children:
        try:
            os.killpg(child.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    for child in children:
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)
