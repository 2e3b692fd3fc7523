"""A demo of its own for a measurement: the gate, its target and its people, in a directory that is gone afterwards."""
import json, pathlib, shutil, subprocess, sys, tempfile, time, urllib.parse, urllib.request


class Demo:
    def __init__(self, binary, name):
        self.work = pathlib.Path(tempfile.mkdtemp(prefix=f"tidegate-{name}-"))
        self.work.chmod(0o755)
        ready, log = self.work / "ready.json", self.work / "log"
        command = [binary, "demo", "--dir", self.work / "demo", "--ready-file", ready]
        self.gate = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=open(log, "w"), stderr=subprocess.STDOUT)
        deadline = time.monotonic() + 60
        while not ready.exists():
            if self.gate.poll() is not None or time.monotonic() > deadline:
                said = log.read_text()
                self.end()
                sys.exit("the demo did not start:\n" + said)
            time.sleep(0.1)
        self.ready = json.loads(ready.read_text())
        self.place = urllib.parse.urlsplit(self.ready["api"])

    def person(self, name):
        return next(p for p in self.ready["people"] if p["username"] == name)

    def api(self, name, method, path, body=None):
        request = urllib.request.Request(self.ready["api"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                         headers={"Authorization": "Bearer " + self.person(name)["token"], "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read())

    def ssh(self, name, *words, **options):
        """A stock `ssh` of somebody's, whose complaints are kept."""
        command = ["ssh", "-F", self.person(name)["ssh_config"], "-o", "BatchMode=yes", "-o", "ConnectTimeout=60", *words]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=open(self.work / "clients.log", "a"), **options)

    def complaints(self):
        return (self.work / "clients.log").read_text()[-2000:]

    def end(self):
        if self.gate.poll() is None:
            self.gate.terminate()
        self.gate.wait(60)
        shutil.rmtree(self.work, ignore_errors=True)
