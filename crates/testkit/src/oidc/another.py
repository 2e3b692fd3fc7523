"""Canaille, an identity provider of another make, for tests: on a free port of loopback, its accounts in memory.

Standard input: one line of JSON with the client and the password of everybody. Standard output: one line that says where it is. It ends with its input.
"""
import datetime, json, logging, os, secrets, socket, sys, threading, urllib.parse

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "true"
settings = json.loads(sys.stdin.readline())
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
issuer = f"http://127.0.0.1:{port}"

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.oidc.oauth import AuthorizationCodeGrant
from werkzeug.serving import make_server

app = create_app({
    "SECRET_KEY": secrets.token_hex(32),
    "SERVER_NAME": f"127.0.0.1:{port}",
    "PREFERRED_URL_SCHEME": "http",
    "SESSION_COOKIE_SECURE": False,
    "CANAILLE": {
        "NAME": "Corp",
        "DATABASE": "memory",
        "JAVASCRIPT": False,
        "HTMX": False,
        "LOGGING": {"version": 1, "disable_existing_loggers": True},
        "ACL": {"DEFAULT": {"PERMISSIONS": ["use_oidc"], "READ": ["user_name", "groups"], "WRITE": []}},
    },
    "CANAILLE_OIDC": {"ISS": issuer},
})
logging.getLogger("werkzeug").setLevel(logging.ERROR)

# Its memory finds what has any of the attributes asked for, not all of them: where a client has two codes it would take either.
def by_code(self, code, client):
    return next((one for one in Backend.instance.query(models.AuthorizationCode, code=code) if one.client == client and not one.is_expired()), None)


AuthorizationCodeGrant.query_authorization_code = by_code

# Authlib takes a secret as it stands in the header, encoded as RFC 6749 (section 2.3.1) has it.
secret = urllib.parse.quote_plus(settings["client_secret"])
with app.app_context():
    backend = Backend.instance
    with backend.session():
        people = []
        for name in ("ana", "ben", "gina"):
            user = models.User(user_name=name, display_name=name, formatted_name=name.title(), family_name=name.title(), emails=[f"{name}@corp.example"], password=settings["password"])
            backend.save(user)
            people.append(user)
        backend.save(models.Group(display_name="platform", members=[people[0], people[2]], description="Platform"))
        client = models.Client(
            client_id=settings["client_id"], client_secret=secret, client_name="Tidegate", client_uri="http://127.0.0.1",
            redirect_uris=[settings["redirect_uri"]], grant_types=["authorization_code"], response_types=["code"],
            scope=["openid", "profile", "groups"], token_endpoint_auth_method="client_secret_basic", preconsent=True, trusted=True,
            client_id_issued_at=datetime.datetime.now(datetime.timezone.utc),
        )
        backend.save(client)
        client.audience = [client]
        backend.save(client)

server = make_server("127.0.0.1", port, app, threaded=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(issuer, flush=True)
sys.stdin.read()
