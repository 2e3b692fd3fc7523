#!/usr/bin/env python3
"""Full scale: a thousand live sessions, their memory, new ones per second, all cut at once, and a target that reads nothing.

    bench/soak.py TIDEGATE_BINARY [--sessions N] [--gibibytes N] [--json FILE]

The sessions are stock `ssh` clients on one machine with the gate and with several OpenSSH servers, so that no server's own limits are
measured. What is measured at the target is when each session's process is gone. The bars are in README.md; this prints, and judges not.
"""
import argparse, concurrent.futures, json, os, pathlib, resource, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--sessions", type=int, default=1000)
parser.add_argument("--targets", type=int, default=4, help="OpenSSH servers that share the sessions")
parser.add_argument("--gibibytes", type=float, default=1.0, help="pushed at a target that reads nothing")
parser.add_argument("--json", default=None)
args = parser.parse_args()

soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
work = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-soak-"))
work.chmod(0o755)
children, results = [], {}
started = time.monotonic()


def note(text):
    print(f"[{time.monotonic() - started:6.1f} s] {text}", flush=True)


def spawn(command, **kwargs):
    kwargs.setdefault("stdin", subprocess.DEVNULL)
    child = subprocess.Popen([str(c) for c in command], start_new_session=True, **kwargs)
    children.append(child)
    return child


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def serve(command):
    """Starts the gate and waits until it is ready."""
    ready = work / "ready.json"
    ready.unlink(missing_ok=True)
    gate = spawn([*command, "--dir", work / "demo", "--ready-file", ready], stdout=open(work / "log", "a"), stderr=subprocess.STDOUT)
    for _ in range(600):
        if ready.exists():
            return gate, json.loads(ready.read_text())
        time.sleep(0.1)
    sys.exit("the demo did not start:\n" + (work / "log").read_text())


def more_targets(first):
    """More servers like the demo's own, each a resource of the same tier."""
    config = (work / "demo/target/sshd_config").read_text()
    port = next(line.split()[1] for line in config.splitlines() if line.startswith("Port "))
    resources = work / "demo/policy/resources.toml"
    text = resources.read_text()
    block = next(b for b in text.split("[[resource]]") if 'name = "build-1"' in b)
    names = ["build-1"]
    for n in range(2, args.targets + 1):
        other = free_port()
        file = work / f"sshd_config.{n}"
        file.write_text(config.replace(f"Port {port}", f"Port {other}"))
        spawn(["/usr/sbin/sshd", "-D", "-e", "-f", file], stdout=subprocess.DEVNULL, stderr=open(work / f"sshd.{n}", "w"))
        text += "[[resource]]" + block.replace('"build-1"', f'"build-{n}"').replace(f":{port}", f":{other}")
        names.append(f"build-{n}")
    before = api("dan", "GET", "/api/v1/policy")["digest"]
    resources.write_text(text)
    while api("dan", "GET", "/api/v1/policy")["digest"] == before:
        time.sleep(0.1)
    return names


def person(name):
    return next(p for p in ready["people"] if p["username"] == name)


def api(name, method, path, body=None, timeout=120):
    request = urllib.request.Request(ready["api"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + person(name)["token"], "Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=timeout) as answer:
        return json.loads(answer.read())


def grant(name, resource, role="shell", duration="4h"):
    return api(name, "POST", "/api/v1/requests", {"resource": resource, "role": role, "duration": duration, "reason": "soak"})["grant"]["id"]


def ssh(name, selector, *command):
    return ["ssh", "-F", person(name)["ssh_config"], "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", "-l", selector, "build-1.tide", *command]


def resident(pid):
    """KiB, of which the second is what belongs to nobody else."""
    fields = dict(line.split(":", 1) for line in open(f"/proc/{pid}/status"))
    return int(fields["VmRSS"].split()[0]), int(fields["RssAnon"].split()[0])


def live_here(mark):
    """The processes at the target that carry a mark, by process id."""
    found = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                argv = open(f"/proc/{entry.name}/cmdline", "rb").read()
            except OSError:
                continue
            if argv.rstrip(b"\0").split(b"\0") == [b"sleep", mark.encode()]:
                found[int(entry.name)] = True
    return found


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def many_sessions(names):
    mark = "100000.5"
    gate_pid = gate.pid
    before, anon_before = resident(gate_pid)
    cpu_before = sum(os.times()[2:4])
    begin = time.monotonic()
    opened, failed = 0, 0
    for n in range(args.sessions):
        spawn(ssh("ana", f"{names[n % len(names)]}+shell", f"exec sleep {mark}"), stdout=subprocess.DEVNULL, stderr=open(work / "clients.log", "a"))
        # Never more at the door than it lets in unsigned.
        while n - opened > 24:
            opened = len(live_here(mark))
            time.sleep(0.02)
            if time.monotonic() - begin > 900:
                break
    deadline = time.monotonic() + 120
    while len(live_here(mark)) < args.sessions and time.monotonic() < deadline:
        time.sleep(0.1)
    took = time.monotonic() - begin
    live = live_here(mark)
    if len(live) < args.sessions:
        note("not all came in; the clients said:\n" + "".join(sorted(set(open(work / "clients.log")))[:10]))
    time.sleep(5)
    after, anon_after = resident(gate_pid)
    results["sessions"] = {"asked": args.sessions, "live": len(live), "opened per second": round(len(live) / took, 1)}
    results["memory per idle session, KiB"] = {"resident": round((after - before) / max(len(live), 1), 1),
                                               "of its own": round((anon_after - anon_before) / max(len(live), 1), 1),
                                               "before": before, "after": after}
    note(f"{len(live)} sessions live after {took:.0f} s; {results['memory per idle session, KiB']}")
    return live, mark


def cut_all(live):
    """Ends all of ana's at once, and notes for each process at the target when it was gone."""
    gone, pending = {}, dict(live)
    stop = threading.Event()
    answered = {}

    def lock():
        answered["answer"] = api("carla", "POST", "/api/v1/locks", {"scope": "person:" + person("ana")["id"], "reason": "soak"}, timeout=300)
        answered["after"] = time.monotonic()

    # A pidfd becomes readable when its process ends: no polling stands in the way of the measurement.
    import select
    poll, fds = select.epoll(), {}
    for pid in live:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        fds[fd] = pid
        poll.register(fd, select.EPOLLIN)
    begin = time.monotonic()
    thread = threading.Thread(target=lock)
    thread.start()
    while fds and time.monotonic() - begin < 120:
        for fd, _ in poll.poll(0.2, 1024):
            gone[fds.pop(fd)] = time.monotonic() - begin
            poll.unregister(fd)
            os.close(fd)
    thread.join(300)
    times = list(gone.values())
    cut = answered["answer"]["cut"]
    results["revocation to last process at the target, s"] = {
        "sessions": len(live), "left": len(live) - len(times), "p50": round(quantile(times, 0.5), 3), "p99": round(quantile(times, 0.99), 3),
        "last": round(max(times), 3), "answered": round(answered["after"] - begin, 3), "confirmed": len(cut["confirmed"]), "unconfirmed": len(cut["unconfirmed"])}
    note(f"cut: {results['revocation to last process at the target, s']}")
    api("carla", "POST", f"/api/v1/locks/{answered['answer']['lock']['id']}/lift", {})


def stuck_target(names):
    """A client pushes at a target that reads nothing for a minute; the gate's memory is watched."""
    grant("ben", names[0])
    size = int(args.gibibytes * (1 << 30))
    reads_nothing = "exec python3 -c 'import time; time.sleep(60)'"
    before, _ = resident(gate.pid)
    client = subprocess.Popen(ssh("ben", f"{names[0]}+shell", reads_nothing), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    pushed = 0

    def push():
        nonlocal pushed
        block = os.urandom(1 << 20)
        try:
            while pushed < size:
                pushed += os.write(client.stdin.fileno(), block)
        except (OSError, ValueError):
            pass

    thread = threading.Thread(target=push, daemon=True)
    thread.start()
    seen = []
    begin = time.monotonic()
    while time.monotonic() - begin < 58 and client.poll() is None:
        seen.append(resident(gate.pid)[0])
        time.sleep(0.5)
    took_in = pushed
    client.stdin.close() if client.poll() is None else None
    client.kill()
    client.wait()
    late = seen[len(seen) // 6:]
    results["a target that reads nothing for 60 s"] = {
        "offered, MiB": size >> 20, "taken in until full, MiB": round(took_in / (1 << 20), 2), "memory before, KiB": before,
        "highest, KiB": max(seen), "growth after the first 10 s, KiB": max(late) - late[0]}
    note(f"stuck target: {results['a target that reads nothing for 60 s']}")


def rate(names):
    """New sessions per second, through the gate and directly to one of its targets' servers, interleaved."""
    home = work / "direct"
    home.mkdir()
    for name in ("user",):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / name], check=True)
    config = (work / "demo/target/sshd_config").read_text()
    port = next(line.split()[1] for line in config.splitlines() if line.startswith("Port "))
    other = free_port()
    (home / "sshd_config").write_text(config.replace(f"Port {port}", f"Port {other}").replace("AuthorizedKeysFile none", f"AuthorizedKeysFile {home}/user.pub"))
    spawn(["/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd_config"], stdout=subprocess.DEVNULL, stderr=open(home / "log", "w"))
    user = subprocess.check_output(["id", "-un"], text=True).strip()
    direct = ["ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
              "-o", "IdentitiesOnly=yes", "-i", home / "user", "-p", str(other), f"{user}@127.0.0.1", "true"]
    time.sleep(0.5)

    def burst(command, n=100, at_once=8):
        begin = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
            failed = sum(pool.map(lambda _: subprocess.run(command, capture_output=True).returncode != 0, range(n)))
        return n / (time.monotonic() - begin), failed

    through = ssh("ben", f"{names[0]}+shell", "true")
    burst(through, 16), burst(direct, 16)
    pairs = [(burst(through), burst(direct)) for _ in range(5)]
    ratios = sorted(g[0] / d[0] for g, d in pairs)
    results["new sessions per second"] = {
        "gate": round(statistics.median(g[0] for g, _ in pairs), 1), "direct": round(statistics.median(d[0] for _, d in pairs), 1),
        "ratio": round(statistics.median(ratios), 3), "min": round(ratios[0], 3), "max": round(ratios[-1], 3), "failed": sum(g[1] for g, _ in pairs)}
    note(f"rate: {results['new sessions per second']}")


try:
    gate, ready = serve([args.binary, "demo"])
    names = more_targets(ready)
    for name in names:
        grant("ana", name)
    note(f"the gate serves; {len(names)} targets")
    grant("ben", names[0])
    rate(names)
    stuck_target(names)
    live, mark = many_sessions(names)
    cut_all(live)
    time.sleep(2)
    replayed = api("eve", "POST", "/api/v1/audit/replay", {}, timeout=300)
    rows = api("eve", "GET", "/api/v1/sessions?all=true&state=live&limit=500")
    results["afterwards"] = {"differences on replay": len(replayed["differences"]), "sessions said to live": len(rows["items"])}
    note(f"afterwards: {results['afterwards']}")
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "results": results}, indent=2) + "\n")
finally:
    for child in reversed(children):
        try:
            os.killpg(child.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    for child in children:
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
    for pid in live_here("100000.5"):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)
