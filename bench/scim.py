"""A directory brings a company: how long 10,000 people and 2,000 groups take, and how long a leaver's statement lives.

    bench/scim.py --gate target/release/tidegate [--users N] [--groups N] [--members N] [--lanes N] [--leavers N]
    bench/scim.py --url URL --token TOKEN …

The first starts a gate of its own with the example policy, in a directory that is gone afterwards; the second speaks to one that runs, with
its directory's token (`tidegate directory token NAME`). Needs nothing but Python. Prints one JSON object with the bar: times in seconds, changes
a second, and what one deactivation takes (the answer; sessions are cut before it).
"""

import argparse
import contextlib
import http.client
import json
import pathlib
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from queue import Empty, Queue
from urllib.parse import urlsplit

# So many people and groups have to be there within this.
BAR_SECONDS = 60
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class Line:
    """One connection that stays open."""

    def __init__(self, url, token):
        place = urlsplit(url)
        if place.scheme == "https":
            self.http = http.client.HTTPSConnection(place.hostname, place.port, context=ssl._create_unverified_context())
        else:
            self.http = http.client.HTTPConnection(place.hostname, place.port)
        self.headers = {"Authorization": "Bearer " + token, "Content-Type": "application/scim+json"}

    def send(self, method, path, body=None):
        self.http.request(method, "/scim/v2" + path, json.dumps(body) if body is not None else None, self.headers)
        answer = self.http.getresponse()
        text = answer.read()
        if answer.status >= 300:
            sys.exit(f"{method} {path}: {answer.status} {text[:400]!r}")
        return json.loads(text) if text else None


def spread(work, lanes, url, token):
    """Does all of it on so many connections; gives what each piece answered and took, in order."""
    queue, done = Queue(), [None] * len(work)
    for piece in enumerate(work):
        queue.put(piece)

    def lane():
        line = Line(url, token)
        while True:
            try:
                place, (method, path, body) = queue.get_nowait()
            except Empty:
                return
            start = time.perf_counter()
            answer = line.send(method, path, body)
            done[place] = (answer, time.perf_counter() - start)

    threads = [threading.Thread(target=lane) for _ in range(lanes)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if any(piece is None for piece in done):
        sys.exit("not all was done")
    return done, time.perf_counter() - start


def free():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(url, path, body, token=None):
    place = urlsplit(url)
    line = http.client.HTTPConnection(place.hostname, place.port)
    headers = {"Content-Type": "application/json", **({"Authorization": "Bearer " + token} if token else {})}
    line.request("POST", "/api/v1" + path, json.dumps(body), headers)
    answer = line.getresponse()
    text = answer.read()
    if answer.status >= 300:
        sys.exit(f"{path}: {answer.status} {text[:400]!r}")
    return json.loads(text)


@contextlib.contextmanager
def own_gate(program):
    """A gate with a directory; gives its address and the directory's token."""
    with tempfile.TemporaryDirectory(prefix="scim-") as home:
        home = pathlib.Path(home)
        shutil.copytree(pathlib.Path(__file__).parent.parent / "examples" / "policy", home / "policy")
        url = f"http://127.0.0.1:{free()}"
        (home / "tidegate.toml").write_text(
            f"""node = "bench"
data_dir = "data"
policy_dir = "policy"
[listen]
api = "{url[7:]}"
ssh = "127.0.0.1:{free()}"
plain_http = true
[[directory]]
name = "corp"
[directory.groups]
"Platform Team" = "engineers"
"""
        )
        said = open(home / "log", "w+")
        gate = subprocess.Popen([program, "serve", "--config", home / "tidegate.toml"], stdout=subprocess.DEVNULL, stderr=said)
        try:
            code = None
            deadline = time.monotonic() + 60
            while code is None:
                if gate.poll() is not None or time.monotonic() > deadline:
                    sys.exit("the gate does not start:\n" + (home / "log").read_text())
                text = (home / "log").read_text()
                if "The gate serves" in text:
                    code = next(line.split()[-1] for line in text.splitlines() if "tidegate join" in line)
                else:
                    time.sleep(0.05)
            admin = call(url, "/invitations/accept", {"code": code})["token"]["secret"]
            yield url, call(url, "/directories/corp/tokens", {"duration": "1h"}, admin)["secret"]
        finally:
            gate.terminate()
            gate.wait(30)


def percentile(times, part):
    times = sorted(times)
    return times[min(len(times) - 1, int(len(times) * part))]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--gate")
    arguments.add_argument("--url")
    arguments.add_argument("--token")
    arguments.add_argument("--users", type=int, default=10_000)
    arguments.add_argument("--groups", type=int, default=2_000)
    arguments.add_argument("--members", type=int, default=20)
    arguments.add_argument("--lanes", type=int, default=8)
    arguments.add_argument("--leavers", type=int, default=200)
    given = arguments.parse_args()
    if given.gate:
        with own_gate(given.gate) as (given.url, given.token):
            measure(given)
    elif given.url and given.token:
        measure(given)
    else:
        arguments.error("either --gate, or --url and --token")


def measure(given):
    mark = f"{int(time.time()):x}"

    def user(n):
        name = f"u{mark}-{n}"
        return {"schemas": [USER], "userName": name, "externalId": name, "displayName": f"User {n}", "active": True}

    users, users_took = spread([("POST", "/Users", user(n)) for n in range(given.users)], given.lanes, given.url, given.token)
    ids = [answer["id"] for answer, _ in users]

    def group(n):
        members = [{"value": ids[(n * 7 + k * 131) % len(ids)]} for k in range(min(given.members, len(ids)))]
        return {"schemas": [GROUP], "displayName": f"Group {mark} {n}", "members": members}

    groups, groups_took = spread([("POST", "/Groups", group(n)) for n in range(given.groups)], given.lanes, given.url, given.token)
    leave = {"schemas": [PATCH], "Operations": [{"op": "Replace", "path": "active", "value": "False"}]}
    leavers, _ = spread([("PATCH", "/Users/" + one, leave) for one in ids[: given.leavers]], 1, given.url, given.token)
    took = [seconds for _, seconds in leavers]
    total = users_took + groups_took
    print(
        json.dumps(
            {
                "measured": "10,000 people and 2,000 groups by SCIM, s",
                "users": given.users,
                "groups": given.groups,
                "members_each": given.members,
                "lanes": given.lanes,
                "users_seconds": round(users_took, 2),
                "groups_seconds": round(groups_took, 2),
                "total_seconds": round(total, 2),
                "changes_per_second": round((given.users + given.groups) / total, 1),
                "deactivation_p50_ms": round(percentile(took, 0.50) * 1e3, 2) if took else None,
                "deactivation_p99_ms": round(percentile(took, 0.99) * 1e3, 2) if took else None,
                "bar": BAR_SECONDS,
                "met": total < BAR_SECONDS if given.users >= 10_000 and given.groups >= 2_000 else None,
            }
        )
    )


if __name__ == "__main__":
    main()
