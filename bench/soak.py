#!/usr/bin/env python3
"""Full scale: a thousand live sessions, their memory, new ones per second, all cut at once by a lock and by a directory that says somebody left, a target
that reads nothing, and a crowd at the door.

    bench/soak.py TIDEGATE_BINARY [--sessions N] [--gibibytes N] [--only PART] [--json FILE]

The sessions are stock `ssh` clients on one machine with the gate and with several OpenSSH servers, so that no server's own limits are
measured: four processes and about 8 MiB for each session. What is measured at the target is when each session's process is gone. This prints,
and judges not; a session that did not come in counts as failed and another is asked for in its place, so that as many are cut as were asked for.
"""
import argparse, concurrent.futures, json, os, pathlib, re, resource, select, shutil, signal, socket, statistics, subprocess, sys, tempfile, threading, time, urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("binary")
parser.add_argument("--sessions", type=int, default=1000)
parser.add_argument("--targets", type=int, default=4, help="OpenSSH servers that share the sessions")
parser.add_argument("--login", default="postgres" if os.getuid() == 0 else None, help="the account at the targets; run as root, another than root")
parser.add_argument("--gibibytes", type=float, default=1.0, help="pushed at a target that reads nothing")
parser.add_argument("--only", choices=["rate", "stuck", "crowd", "sessions", "leaver"], help="just new sessions per second, the target that reads nothing, those who say nothing, the many sessions, or the many of somebody who leaves")
parser.add_argument("--json", default=None)
args = parser.parse_args()
if not 0 < args.sessions <= 1000:
    parser.error("one person may have 1,024 connections to the gate's door, and some of the others' are needed: at most 1,000 sessions")

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if hard < 6 * args.sessions + 500:
    parser.error(f"{hard} open files are too few for {args.sessions} sessions; `ulimit -Hn` is to be at least {6 * args.sessions + 500}")
available = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemAvailable")) >> 10
if available < 8 * args.sessions + 500:
    parser.error(f"{available} MiB of memory are too few for {args.sessions} sessions of this kind; about {8 * args.sessions + 500} are needed")
MARK = "100000.5"
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


def targets():
    """Servers like the demo's own, each a resource of the same tier; the demo's is left aside."""
    config = (work / "demo/target/sshd_config").read_text()
    resources = work / "demo/policy/resources.toml"
    text = resources.read_text()
    block = next(b for b in text.split("[[resource]]") if 'name = "build-1"' in b)
    text = text.replace("[[resource]]" + block, "")
    if args.login:
        # As real targets are: OpenSSH passes signals on to processes of any account but root's. PAM lets accounts without a password in.
        block = re.sub(r'(?m)^login = ".*"$', f'login = "{args.login}"', block)
        config = config.replace("UsePAM no", "UsePAM yes")
    names = []
    for n in range(1, args.targets + 1):
        port, file = free_port(), work / f"sshd_config.{n}"
        file.write_text(re.sub(r"(?m)^Port \d+$", f"Port {port}", config))
        spawn(["/usr/sbin/sshd", "-D", "-e", "-f", file], stdout=subprocess.DEVNULL, stderr=open(work / f"sshd.{n}", "w"))
        names.append(f"build-{n}")
        text += "[[resource]]" + re.sub(r'(?m)^address = ".*"$', f'address = "127.0.0.1:{port}"', block.replace('"build-1"', f'"{names[-1]}"'))
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


def live_here():
    """The processes at the targets that wait, by process id."""
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                argv = open(f"/proc/{entry.name}/cmdline", "rb").read()
            except OSError:
                continue
            if argv.rstrip(b"\0").split(b"\0") == [b"sleep", MARK.encode()]:
                found.add(int(entry.name))
    return found


def quantile(values, q):
    values = sorted(values)
    return values[min(len(values) - 1, int(q * len(values)))]


def many_sessions(names, who):
    """Opens them, sixteen at a time; each says the number of its process at the target, by which its end is seen."""
    gate_pid = gate.pid
    before, anon_before = resident(gate_pid)
    if subprocess.run(ssh(who, f"{names[0]}+shell", "true")).returncode != 0:
        sys.exit("the first session did not come in; the target said:\n" + (work / "sshd.1").read_text()[-2000:])
    poll, coming, live = select.epoll(), {}, {}
    asked, failed = 0, 0
    begin = heard = time.monotonic()
    with open(work / "clients.log", "w") as said:
        while (len(live) < args.sessions or coming) and failed <= args.sessions // 10 + 10 and time.monotonic() - heard < 120:
            while len(coming) < 16 and len(live) + len(coming) < args.sessions:
                client = spawn(ssh(who, f"{names[asked % len(names)]}+shell", f"echo $$; exec sleep {MARK}"), stdout=subprocess.PIPE, stderr=said)
                poll.register(client.stdout, select.EPOLLIN)
                coming[client.stdout.fileno()] = client
                asked += 1
            for fd, _ in poll.poll(1, 64):
                client = coming.pop(fd)
                poll.unregister(fd)
                line = client.stdout.readline().strip()
                if line.isdigit():
                    live[int(line)] = client
                else:
                    failed += 1
                heard = time.monotonic()
                if (len(live) + failed) % 100 == 0:
                    note(f"{len(live)} sessions live, {failed} failed")
    took = time.monotonic() - begin
    if len(live) < args.sessions:
        note("not all came in; the clients said:\n" + "".join(sorted(set(open(work / "clients.log")))[:10]))
    time.sleep(5)
    after, anon_after = resident(gate_pid)
    # What ended meanwhile is not live.
    running = live_here()
    ended = len([pid for pid in live if pid not in running])
    live = [pid for pid in live if pid in running]
    opened = {"asked": args.sessions, "live": len(live), "failed": failed, "ended by themselves": ended, "opened per second": round(len(live) / took, 1)}
    memory = {"resident": round((after - before) / max(len(live), 1), 1), "of its own": round((anon_after - anon_before) / max(len(live), 1), 1),
              "before": before, "after": after}
    # The first time: later, the gate has some memory from before.
    results.setdefault("sessions", opened)
    results.setdefault("memory per idle session, KiB", memory)
    note(f"sessions of {who}: {opened}; memory of each, KiB: {memory}")
    return live


def cut_all(live, what, order):
    """Ends them all at once by that order, and notes for each process at the target when it was gone. Gives the order's answer."""
    gone, answered = {}, {}

    def give_order():
        answered["answer"] = order()
        answered["after"] = time.monotonic()

    # A pidfd becomes readable when its process ends: no polling stands in the way of the measurement.
    poll, fds = select.epoll(), {}
    for pid in live:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        fds[fd] = pid
        poll.register(fd, select.EPOLLIN)
    cut_at_once = len(fds)
    begin = time.monotonic()
    thread = threading.Thread(target=give_order)
    thread.start()
    while fds and time.monotonic() - begin < 120:
        for fd, _ in poll.poll(0.2, 1024):
            gone[fds.pop(fd)] = time.monotonic() - begin
            poll.unregister(fd)
            os.close(fd)
    thread.join(300)
    # Who is still there after two minutes is there for good.
    times = [*gone.values(), *[120.0] * len(fds)]
    results[f"{what} to last process at the target, s"] = {
        "sessions": cut_at_once, "left": len(fds), "p50": round(quantile(times, 0.5), 3), "p99": round(quantile(times, 0.99), 3),
        "last": round(max(times), 3), "answered": round(answered["after"] - begin, 3)}
    note(f"cut by {what}: {results[f'{what} to last process at the target, s']}")
    print(json.dumps({"measured": f"{what} to the last process at the target, s", "sessions": cut_at_once, "p99": round(quantile(times, 0.99), 3), "bar": 1, "met": quantile(times, 0.99) < 1}), flush=True)
    return answered["answer"]


def revoked(names):
    """All of one person's, by a lock."""
    scope = "person:" + person("ana")["id"]
    lock = lambda: api("carla", "POST", "/api/v1/locks", {"scope": scope, "reason": "soak"}, timeout=300)
    locked = cut_all(many_sessions(names, "ana"), "revocation", lock)
    results["revocation to last process at the target, s"].update({each: len(locked["cut"][each]) for each in ("confirmed", "unconfirmed")})
    api("carla", "POST", f"/api/v1/locks/{locked['lock']['id']}/lift", {})


def call(token, method, path, body):
    """Somebody's call who is not of the demo."""
    headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
    with urllib.request.urlopen(urllib.request.Request(ready["api"] + path, method=method, data=json.dumps(body).encode(), headers=headers), timeout=300) as answer:
        return json.loads(answer.read())


def leaver(names):
    """All of one person's, whom a directory brought and says has left (SCIM 2.0, as Microsoft Entra ID says it)."""
    urn = "urn:ietf:params:scim:"
    token = api("dan", "POST", "/api/v1/directories/corp/tokens", {"duration": "1h"})["secret"]
    user = {"schemas": [urn + "schemas:core:2.0:User"], "userName": "gina", "externalId": "gina", "displayName": "Gina", "active": True}
    gina = call(token, "POST", "/scim/v2/Users", user)["id"]
    call(token, "POST", "/scim/v2/Groups", {"schemas": [urn + "schemas:core:2.0:Group"], "displayName": "Platform Team", "members": [{"value": gina}]})
    hers = call(None, "POST", "/api/v1/invitations/accept", {"code": api("dan", "POST", f"/api/v1/users/{gina}/invite", {})["code"]})["token"]["secret"]
    home = work / "gina"
    home.mkdir()
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "key"], check=True)
    call(hers, "POST", "/api/v1/me/keys", {"public_key": (home / "key.pub").read_text()})
    (home / "ssh_config").write_text(pathlib.Path(person("ana")["ssh_config"]).read_text().replace(person("ana")["key"], str(home / "key")))
    ready["people"].append({"username": "gina", "id": gina, "token": hers, "ssh_config": str(home / "ssh_config")})
    for name in names:
        grant("gina", name)
    left = {"schemas": [urn + "api:messages:2.0:PatchOp"], "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    cut_all(many_sessions(names, "gina"), "deactivation by a directory", lambda: call(token, "PATCH", f"/scim/v2/Users/{gina}", left))


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
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", home / "user"], check=True)
    config = (work / "sshd_config.1").read_text()
    other = free_port()
    (home / "sshd_config").write_text(re.sub(r"(?m)^Port \d+$", f"Port {other}", config).replace("AuthorizedKeysFile none", f"AuthorizedKeysFile {home}/user.pub"))
    spawn(["/usr/sbin/sshd", "-D", "-e", "-f", home / "sshd_config"], stdout=subprocess.DEVNULL, stderr=open(home / "log", "w"))
    user = args.login or subprocess.check_output(["id", "-un"], text=True).strip()
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


def crowd(names, size=10_000):
    """So many connections from as many addresses say nothing at the door of SSH; who has a key goes through all the same."""
    address = (ready["ssh"]["host"], ready["ssh"]["port"])
    size = min(size, hard - 1000)
    before, _ = resident(gate.pid)
    held, begin = [], time.monotonic()
    try:
        for n in range(size):
            one = socket.socket()
            held.append(one)
            one.bind((f"127.{1 + n // 62500}.{n // 250 % 250}.{n % 250 + 1}", 0))
            one.setblocking(False)
            one.connect_ex(address)
            if n % 100 == 99:
                time.sleep(0.1)
        opened = time.monotonic() - begin
        # For three seconds a stranger may be slow; only then may a newcomer take their place.
        time.sleep(3)
        took, refused = [], 0
        for _ in range(20):
            start = time.monotonic()
            if subprocess.run(ssh("ben", f"{names[0]}+shell", "true"), capture_output=True).returncode == 0:
                took.append(time.monotonic() - start)
            else:
                refused += 1
        results["half-open connections at the door"] = {
            "opened": size, "in seconds": round(opened, 1), "let in meanwhile": len(took), "refused": refused, "slowest, s": round(max(took, default=0), 2),
            "memory, KiB": resident(gate.pid)[0] - before}
    finally:
        for one in held:
            one.close()
    note(f"crowd: {results['half-open connections at the door']}")


try:
    gate, ready = serve([args.binary, "demo"])
    gate.terminate()
    gate.wait(60)
    with open(work / "demo/tidegate.toml", "a") as settings:
        settings.write('\n[[directory]]\nname = "corp"\n[directory.groups]\n"Platform Team" = "engineers"\n')
    gate, ready = serve([args.binary, "demo"])
    names = targets()
    for name in names:
        grant("ana", name)
    note(f"the gate serves; {len(names)} targets")
    grant("ben", names[0])
    if args.only in (None, "rate"):
        rate(names)
    if args.only in (None, "stuck"):
        stuck_target(names)
    if args.only in (None, "crowd"):
        crowd(names)
    if args.only in (None, "sessions"):
        revoked(names)
    if args.only in (None, "leaver"):
        leaver(names)
    time.sleep(2)
    replayed = api("eve", "POST", "/api/v1/audit/replay", {}, timeout=300)
    rows = api("eve", "GET", "/api/v1/sessions?all=true&state=live&limit=500")
    results["afterwards"] = {"differences on replay": len(replayed["differences"]), "sessions said to live": len(rows["items"])}
    note(f"afterwards: {results['afterwards']}")
finally:
    if args.json and results:
        pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "date": time.strftime("%Y-%m-%d", time.gmtime()), "whole": "afterwards" in results, "results": results}, indent=2) + "\n")
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
    for pid in live_here():
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)
