"""A Vault, as far as the gate asks one: its documented HTTP API over TLS, with AppRole and JWT logins, tokens that end, policies, KV of both
versions, namespaces, and the states in which the original answers nothing. It refuses what the original refuses, in its words.

`vault.py DIR`: certificate and key are `DIR/server.pem` and `DIR/server.key`. Prints where it is and who may do what, then answers lines of
JSON on stdin with one line each. It ends when stdin does."""

import json
import ssl
import sys
import threading
import time
import uuid
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

lock = threading.RLock()
ROOT = "hvs." + uuid.uuid4().hex
ROLE_ID = str(uuid.uuid4())
SECRET_ID = str(uuid.uuid4())
JWT = "eyJhbGciOiJSUzI1NiJ9." + uuid.uuid4().hex + "." + uuid.uuid4().hex

state = {"initialized": True, "sealed": False, "standby": False, "slow": 0.0, "ttl": 1200.0, "odd": None}
counts = {"logins": 0, "reads": 0, "waiting": 0}
# By namespace, mount: the version of KV there.
mounts = {("", "kv"): 2, ("", "old"): 1, ("ops/", "kv"): 2}
# By namespace, mount, path: the versions of a secret, the newest last.
secrets = {}
policies = {
    "default": [("auth/token/lookup-self", ["read"])],
    "tidegate": [("kv/data/network/*", ["read"]), ("kv/data/databases/*", ["read"]), ("old/network/*", ["read"])],
}
approles = {"": {"role_id": ROLE_ID, "secret_ids": {SECRET_ID}}, "ops/": {"role_id": ROLE_ID, "secret_ids": {SECRET_ID}}}
jwt_mounts = {("", "kubernetes"): {"tidegate": {JWT}}}
tokens = {ROOT: {"policies": ["root"], "ends": None, "namespace": "", "ttl": 0}}

DENIED = "1 error occurred:\n\t* permission denied\n\n"
INVALID = "2 errors occurred:\n\t* permission denied\n\t* invalid token\n\n"
NOT_VERSIONED = (
    "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. "
    "If using the Vault CLI, use 'vault kv get' for this operation."
)


def now():
    return datetime.now(timezone.utc).isoformat().replace("+00:00", "Z")


def errors(status, *texts):
    return status, {"errors": list(texts)}


def answer(data=None, lease=0, auth=None, warnings=None):
    return {
        "request_id": str(uuid.uuid4()),
        "lease_id": "",
        "renewable": False,
        "lease_duration": lease,
        "data": data,
        "wrap_info": None,
        "warnings": warnings,
        "auth": auth,
    }


def issue(namespace, role):
    token = "hvs." + uuid.uuid4().hex
    granted = ["default", "tidegate"]
    tokens[token] = {"policies": granted, "ends": time.monotonic() + state["ttl"], "namespace": namespace, "ttl": int(state["ttl"])}
    counts["logins"] += 1
    auth = {
        "client_token": token,
        "accessor": uuid.uuid4().hex,
        "policies": granted,
        "token_policies": granted,
        "metadata": {"role_name": role},
        "lease_duration": int(state["ttl"]),
        "renewable": True,
        "entity_id": str(uuid.uuid4()),
        "token_type": "service",
        "orphan": True,
        "mfa_requirement": None,
        "num_uses": 0,
    }
    return 200, answer(auth=auth)


def approle_login(namespace, body):
    role = approles.get(namespace)
    if not isinstance(body.get("role_id"), str) or not body["role_id"]:
        return errors(400, "missing role_id")
    if not isinstance(body.get("secret_id"), str) or not body["secret_id"]:
        return errors(400, "missing secret_id")
    if role is None or body["role_id"] != role["role_id"] or body["secret_id"] not in role["secret_ids"]:
        return errors(400, "invalid role or secret ID")
    return issue(namespace, "tidegate")


def jwt_login(roles, namespace, body):
    if not isinstance(body.get("jwt"), str) or not body["jwt"]:
        return errors(400, "missing jwt")
    good = roles.get(body.get("role"))
    if good is None:
        return errors(400, f"role \"{body.get('role')}\" could not be found")
    if body["jwt"] not in good:
        return errors(400, "error validating token: error verifying token: failed to verify id token signature")
    return issue(namespace, body["role"])


def allowed(token, path, capability):
    if "root" in token["policies"]:
        return True
    for name in token["policies"]:
        for rule, capabilities in policies.get(name, []):
            fits = path.startswith(rule[:-1]) if rule.endswith("*") else path == rule
            if fits and capability in capabilities:
                return True
    return False


def metadata_of(versions):
    newest = versions[-1]
    return {
        "created_time": newest["created"],
        "custom_metadata": None,
        "deletion_time": newest["deleted"],
        "destroyed": False,
        "version": len(versions),
    }


def versioned(method, namespace, mount, rest, body):
    kind, _, path = rest.partition("/")
    if kind != "data" or not path:
        return 404, {"errors": [], "warnings": [NOT_VERSIONED]}
    versions = secrets.get((namespace, mount, path))
    if method == "GET":
        if not versions:
            return errors(404)
        newest = versions[-1]
        gone = newest["deleted"] != ""
        return (404 if gone else 200), answer({"data": None if gone else newest["data"], "metadata": metadata_of(versions)})
    if method in ("POST", "PUT"):
        if not isinstance(body.get("data"), dict):
            return errors(400, "no data provided")
        cas = (body.get("options") or {}).get("cas")
        if cas is not None and cas != len(versions or []):
            return errors(400, "check-and-set parameter did not match the current version")
        versions = secrets.setdefault((namespace, mount, path), [])
        versions.append({"data": body["data"], "created": now(), "deleted": ""})
        return 200, answer(metadata_of(versions))
    if method == "DELETE":
        if versions:
            versions[-1]["deleted"] = now()
        return 204, None
    return errors(405, "unsupported operation")


def unversioned(method, namespace, mount, path, body):
    kept = secrets.get((namespace, mount, path))
    if method == "GET":
        return (200, answer(kept[-1]["data"], lease=2764800)) if kept else errors(404)
    if method in ("POST", "PUT"):
        if not body:
            return errors(400, "missing data fields")
        secrets[(namespace, mount, path)] = [{"data": body, "created": now(), "deleted": ""}]
        return 204, None
    if method == "DELETE":
        secrets.pop((namespace, mount, path), None)
        return 204, None
    return errors(405, "unsupported operation")


CAPABILITIES = {"GET": "read", "POST": "update", "PUT": "update", "DELETE": "delete"}


def respond(method, path, headers, body):
    """What it answers, and headers besides."""
    if path == "sys/health":
        status = 501 if not state["initialized"] else 503 if state["sealed"] else 429 if state["standby"] else 200
        about = {"initialized": state["initialized"], "sealed": state["sealed"], "standby": state["standby"], "version": "1.20.0"}
        return status, about, {}
    if path == "sys/seal-status":
        return 200, {"type": "shamir", "initialized": state["initialized"], "sealed": state["sealed"], "t": 1, "n": 1, "progress": 0}, {}
    if headers.get("X-Vault-Request") != "true":
        return *errors(412, "missing required request header 'X-Vault-Request'"), {}
    if not state["initialized"] or state["sealed"]:
        return *errors(503, "Vault is sealed"), {}
    if state["standby"]:
        return 307, None, {"Location": f"https://active.vault.example:8200/v1/{path}"}
    namespace = (headers.get("X-Vault-Namespace") or "").strip("/")
    namespace = namespace + "/" if namespace else ""
    if namespace not in ("", "ops/"):
        return *errors(404, f"no handler for route \"{path}\". route entry not found."), {}
    login = path.removeprefix("auth/").removesuffix("/login") if path.startswith("auth/") and path.endswith("/login") else None
    if login is not None:
        if method not in ("POST", "PUT"):
            return *errors(405, "unsupported operation"), {}
        if not isinstance(body, dict):
            return *errors(400, "error parsing JSON"), {}
        if login == "approle":
            return *approle_login(namespace, body), {}
        if (namespace, login) in jwt_mounts:
            return *jwt_login(jwt_mounts[(namespace, login)], namespace, body), {}
        return *errors(403, "permission denied"), {}
    given = headers.get("X-Vault-Token")
    if not given:
        return *errors(403, "permission denied"), {}
    token = tokens.get(given)
    if token is None or (token["ends"] is not None and token["ends"] <= time.monotonic()):
        return *errors(403, INVALID), {}
    # A token is good in its own namespace and those below it.
    if not namespace.startswith(token["namespace"]) or not allowed(token, path, CAPABILITIES.get(method, "sudo")):
        return *errors(403, DENIED), {}
    if path == "auth/token/lookup-self":
        about = {"id": given, "policies": token["policies"], "ttl": token["ttl"], "path": "auth/approle/login", "type": "service"}
        return 200, answer(about), {}
    mount, _, rest = path.partition("/")
    version = mounts.get((namespace, mount))
    if version is None:
        return *errors(404, f"no handler for route \"{path}\". route entry not found."), {}
    if method == "GET":
        counts["reads"] += 1
    talk = versioned if version == 2 else unversioned
    return *talk(method, namespace, mount, rest, body or {}), {}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        with lock:
            slow = state["slow"]
            counts["waiting"] += 1
        time.sleep(slow)
        with lock:
            counts["waiting"] -= 1
        path = unquote(urlsplit(self.path).path)
        try:
            body = json.loads(raw) if raw else None
        except ValueError:
            body = raw
        with lock:
            odd = state["odd"]
            if not path.startswith("/v1/"):
                status, said, more = *errors(404), {}
            else:
                status, said, more = respond(self.command, path.removeprefix("/v1/").rstrip("/"), self.headers, body)
        text = b"" if said is None else json.dumps(said).encode()
        if odd is not None:
            status, text = 200, odd.encode()
        self.send_response(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = handle_any


class Server(ThreadingHTTPServer):
    request_queue_size = 256
    daemon_threads = True

    def handle_error(self, *_):
        """A client that goes away in the middle is no fault of the test."""


def told(what):
    """What a test has it do."""
    do = what.pop("do")
    if do == "set":
        state.update(what)
    elif do == "put":
        mount, _, path = what["path"].partition("/")
        namespace = what.get("namespace", "")
        version = mounts[(namespace, mount)]
        path = path.removeprefix("data/") if version == 2 else path
        secrets.setdefault((namespace, mount, path), []).append({"data": what["data"], "created": now(), "deleted": ""})
    elif do == "delete":
        mount, _, path = what["path"].partition("/")
        secrets[("", mount, path.removeprefix("data/"))][-1]["deleted"] = now()
    elif do == "end-tokens":
        for token in [token for token in tokens if token != ROOT]:
            del tokens[token]
    elif do == "secret-id":
        approles[""]["secret_ids"] = {what["is"]}
    elif do == "token":
        namespace, given = "", issue("", "agent")[1]["auth"]["client_token"]
        counts["logins"] -= 1
        return {"token": given, "namespace": namespace}
    elif do != "counts":
        return {"unknown": do}
    return dict(counts)


directory = sys.argv[1]
server = Server(("127.0.0.1", 0), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(f"{directory}/server.pem", f"{directory}/server.key")
# The handshake is the handler's: one that is slow holds nobody else up.
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"https://127.0.0.1:{server.server_address[1]}"
print(json.dumps({"url": url, "root": ROOT, "role_id": ROLE_ID, "secret_id": SECRET_ID, "jwt": JWT}), flush=True)

for line in sys.stdin:
    with lock:
        did = told(json.loads(line))
    print(json.dumps(did), flush=True)
