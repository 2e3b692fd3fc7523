#!/usr/bin/env python3
"""Measures the PostgreSQL door against PgBouncer (session mode) and the server itself, and the MySQL door against MariaDB itself, side by side in one run.

Each figure is the median of interleaved pairs, as a ratio with its spread, so that it holds when the machine's speed drifts. Clients speak TLS
to the gate, to PgBouncer and, where it is compared with, to the server; both middlemen reach the same server in the clear on loopback.

    bench/databases.py TIDEGATE_BINARY [--full] [--only NAME] [--json FILE]
"""
import argparse, json, os, pathlib, pwd, re, shutil, signal, socket, statistics, subprocess, sys, tempfile, time, urllib.request

parser = argparse.ArgumentParser()
parser.add_argument("binary", type=lambda path: str(pathlib.Path(path).resolve()))
parser.add_argument("--full", action="store_true", help="1 GiB copies, longer runs, 1,000 idle connections")
parser.add_argument("--only", default="", help="measure only what has this in its name")
parser.add_argument("--json", default=None)
args = parser.parse_args()

BIN = pathlib.Path("/usr/lib/postgresql/15/bin")
PAIRS = 5
SECONDS = 5 if args.full else 3
COPY_ROWS = 10_000_000 if args.full else 1_250_000  # about 107 bytes each
IDLE = 1000 if args.full else 200
SYSBENCH = ("oltp_read_only", "oltp_read_write", "oltp_point_select")
work = pathlib.Path(tempfile.mkdtemp(prefix="tidegate-bench-"))
work.chmod(0o755)
children, results = [], {}
owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"] if os.getuid() == 0 else []
user = "postgres" if owner else pwd.getpwuid(os.getuid()).pw_name


def run(*command, **kwargs):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True, **kwargs).stdout


def spawn(command, **kwargs):
    child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, start_new_session=True, **kwargs)
    children.append(child)
    return child


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def until(what, test, seconds=60):
    deadline = time.monotonic() + seconds
    while not test():
        if time.monotonic() > deadline:
            sys.exit(f"{what} did not come")
        time.sleep(0.1)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def certificate(home):
    run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
        "-keyout", home / "key.pem", "-out", home / "cert.pem")


def postgres():
    home = work / "pg"
    home.mkdir(mode=0o700)
    certificate(home)
    if owner:
        for path in [home, home / "key.pem", home / "cert.pem"]:
            shutil.chown(path, "postgres", "postgres")
    port = free_port()
    run(*owner, BIN / "initdb", "-D", home / "data", "-U", "tide", "--auth=trust", "-E", "UTF8", "--no-sync")
    with open(home / "data/postgresql.conf", "a") as f:
        f.write(f"listen_addresses='127.0.0.1'\nport={port}\nunix_socket_directories=''\nssl=on\nssl_cert_file='{home}/cert.pem'\nssl_key_file='{home}/key.pem'\n"
                "max_connections=1200\nshared_buffers=256MB\nfsync=off\nmax_wal_size=8GB\n")
    (home / "data/pg_hba.conf").write_text("host all tide all trust\nhost all all all scram-sha-256\n")
    spawn([*owner, BIN / "postgres", "-D", home / "data"], stdout=open(work / "pg.log", "w"), stderr=subprocess.STDOUT)
    until("PostgreSQL", lambda: subprocess.run([BIN / "psql", "-h", "127.0.0.1", "-p", str(port), "-U", "tide", "-d", "postgres", "-c", ""], capture_output=True).returncode == 0)
    sql = lambda text, database="bench": run(BIN / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", port, "-U", "tide", "-d", database, "-c", text)
    sql("CREATE DATABASE bench", "postgres")
    sql("CREATE ROLE app LOGIN SUPERUSER PASSWORD 'apps-password'")
    sql("CREATE ROLE maker LOGIN SUPERUSER PASSWORD 'makers-password'")
    run(BIN / "pgbench", "-i", "-q", "-s", "10", "-h", "127.0.0.1", "-p", port, "-U", "tide", "bench")
    sql("CREATE TABLE copied (LIKE pgbench_accounts)")
    return port, sql


def mariadb():
    home = work / "mariadb"
    home.mkdir(mode=0o755)
    certificate(home)
    own = ["--user=root"] if os.getuid() == 0 else []
    run("mariadb-install-db", "--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", *own, f"--datadir={home}/data")
    (home / "init.sql").write_text("CREATE DATABASE bench;\nDROP USER IF EXISTS ''@localhost;\nCREATE USER 'app'@'%' IDENTIFIED BY 'apps-password';\nGRANT ALL ON bench.* TO 'app'@'%';\n"
                                   "CREATE USER 'maker'@'%' IDENTIFIED BY 'makers-password';\nGRANT ALL ON *.* TO 'maker'@'%' WITH GRANT OPTION;\n")
    port = free_port()
    spawn(["/usr/sbin/mariadbd", "--no-defaults", *own, f"--datadir={home}/data", f"--port={port}", f"--socket={home}/socket", f"--pid-file={home}/pid", "--bind-address=127.0.0.1",
           "--skip-name-resolve", "--max-connections=300", "--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=256M", f"--init-file={home}/init.sql",
           f"--ssl-ca={home}/cert.pem", f"--ssl-cert={home}/cert.pem", f"--ssl-key={home}/key.pem"], stdout=open(work / "mariadb.log", "w"), stderr=subprocess.STDOUT)
    until("MariaDB", lambda: subprocess.run(["mariadb-admin", "--no-defaults", "-h", "127.0.0.1", "-P", str(port), "-u", "app", "-papps-password", "ping"], capture_output=True).returncode == 0)
    return port


def bouncer(port):
    home = work / "bouncer"
    home.mkdir(mode=0o755)
    certificate(home)
    listen = free_port()
    secret = sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").strip()
    (home / "users.txt").write_text(f'"app" "{secret}"\n')
    (home / "pgbouncer.ini").write_text(
        f"[databases]\nbench = host=127.0.0.1 port={port} dbname=bench user=app password=apps-password\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {listen}\n"
        f"unix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {home}/users.txt\npool_mode = session\nmax_client_conn = 2000\ndefault_pool_size = 1100\n"
        f"client_tls_sslmode = require\nclient_tls_key_file = {home}/key.pem\nclient_tls_cert_file = {home}/cert.pem\nserver_tls_sslmode = disable\n"
        f"logfile = {home}/log\nlog_connections = 0\nlog_disconnections = 0\n")
    if owner:
        for path in [home, *home.iterdir()]:
            shutil.chown(path, "postgres", "postgres")
    spawn([*owner, "/usr/sbin/pgbouncer", home / "pgbouncer.ini"], stdout=subprocess.DEVNULL, stderr=open(work / "bouncer.err", "w"))
    until("PgBouncer", lambda: answers(listen))
    return listen


def forwarder(port):
    """HAProxy handing bytes on unread, TLS and all: what any program between a client and a server costs here at the least."""
    listen, home = free_port(), work / "haproxy"
    home.mkdir()
    (home / "haproxy.cfg").write_text(f"global\n  maxconn 1000\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n"
                                      f"listen mysql\n  bind 127.0.0.1:{listen}\n  server mariadb 127.0.0.1:{port}\n")
    spawn(["/usr/sbin/haproxy", "-db", "-f", home / "haproxy.cfg"], stdout=subprocess.DEVNULL, stderr=open(home / "log", "w"))
    until("HAProxy", lambda: answers(listen))
    return listen


RESOURCE = """
[[resource]]
name = "bench-db"
description = "What is measured."
kind = "postgres"
address = "127.0.0.1:{port}"
database = "bench"
tier = "non-prod"
environment = "build"
owner = "platform"
tls = "plain"
credential = "secret:bench-app"
accounts = {{ login = "maker", credential = "secret:bench-maker" }}

[[resource]]
name = "bench-my"
description = "What is measured."
kind = "mysql"
address = "127.0.0.1:{my_port}"
database = "bench"
tier = "non-prod"
environment = "build"
owner = "platform"
tls = "plain"
credential = "secret:bench-app"
accounts = {{ login = "maker", credential = "secret:bench-maker" }}
"""
ROLES = """
[[role]]
name = "bench-all"
description = "Everything."
kind = "postgres"
login = "app"
database = { unrestricted = true }

[[role]]
name = "bench-some"
description = "What pgbench reads and writes."
kind = "postgres"
login = "nobody"
[role.database]
tables = [
  { name = "public.pgbench_accounts", select = true, update = ["abalance"] },
  { name = "public.pgbench_branches", select = true },
]

[[role]]
name = "bench-my-all"
description = "Everything."
kind = "mysql"
login = "app"
database = { unrestricted = true }

[[role]]
name = "bench-my-some"
description = "What sysbench reads and writes."
kind = "mysql"
login = "nobody"
database = { tables = [{ name = "bench.sbtest1", select = true, insert = true, update = ["k", "c"], delete = true }] }
"""
PATHS = """
@id("bench") permit(principal, action == Tide::Action::"request", resource)
when { ["bench-db", "bench-my"].contains(resource.resource.name) };
"""


def gate(port, my_port):
    """The demo's gate, with listeners of its own and two more resources."""
    ready, home, listen, my_listen = work / "ready.json", work / "demo", free_port(), free_port()
    first = spawn([args.binary, "demo", "--dir", home, "--ready-file", ready], stdout=open(work / "log", "w"), stderr=subprocess.STDOUT)
    until("the demo", ready.exists)
    told = json.loads(ready.read_text())
    first.send_signal(signal.SIGINT)
    first.wait(30)
    config = (home / "tidegate.toml").read_text()
    config = re.sub(r"(?m)^(postgres|mysql) = .*\n", "", config).replace("[listen]\n", f'[listen]\npostgres = "127.0.0.1:{listen}"\nmysql = "127.0.0.1:{my_listen}"\n')
    (home / "tidegate.toml").write_text(config)
    for file, text in [("resources.toml", RESOURCE.format(port=port, my_port=my_port)), ("roles.toml", ROLES), ("access.cedar", PATHS)]:
        with open(home / "policy" / file, "a") as f:
            f.write(text)
    served = spawn([args.binary, "serve", "--config", home / "tidegate.toml"], stdout=open(work / "log", "a"), stderr=subprocess.STDOUT)
    until("the gate", lambda: answers(listen) and answers(my_listen))
    return told, listen, my_listen, served.pid


def person(name):
    return next(p for p in ready["people"] if p["username"] == name)


def api(name, method, path, body=None):
    request = urllib.request.Request(ready["api"] + path, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Authorization": "Bearer " + person(name)["token"], "Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
            return json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        sys.exit(f"{method} {path}: {error.read().decode()}")


def place(where):
    """How a client reaches each of them: arguments for libpq, and the password."""
    through = {"gate": (listens, "bench-db+bench-all", person("ana")["token"]), "judged": (listens, "bench-db+bench-some", person("ana")["token"]),
               "bouncer": (pooled, "app", "apps-password"), "direct": (server, "app", "apps-password")}
    port, name, password = through[where.removesuffix(" in clear")]
    mode = "disable" if where.endswith("in clear") else "require"
    return f"host=127.0.0.1 port={port} user={name} dbname=bench sslmode={mode} connect_timeout=30", {**os.environ, "PGPASSWORD": password}


def pgbench(where, *options):
    target, env = place(where)
    done = subprocess.run([BIN / "pgbench", "-n", *map(str, options), target], capture_output=True, text=True, env=env)
    if done.returncode != 0:
        sys.exit(f"pgbench {where} {options}: {done.stderr}")
    tps = float(re.search(r"tps = ([\d.]+)", done.stdout).group(1))
    return tps, float(re.search(r"latency average = ([\d.]+)", done.stdout).group(1)), done.stdout


def psql(where, text, stdin=None):
    target, env = place(where)
    start = time.monotonic()
    done = subprocess.run([BIN / "psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", target, "-c", text], stdin=stdin or subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)
    if done.returncode != 0:
        sys.exit(f"psql {where} {text}: {done.stderr.decode()}")
    return time.monotonic() - start


def sysbench(where, what, *options):
    """Transactions per second. It wants the certificates under these names where it runs."""
    home = work / f"sysbench-{where}"
    if not home.exists():
        home.mkdir()
        shutil.copy(told_ca if where in ("gate", "judged") else work / "mariadb/cert.pem", home / "cacert.pem")
        shutil.copy(work / "mariadb/cert.pem", home / "client-cert.pem")
        shutil.copy(work / "mariadb/key.pem", home / "client-key.pem")
    port, name, password = {"gate": (my_listens, "bench-my+bench-my-all", person("ana")["token"]), "judged": (my_listens, "bench-my+bench-my-some", person("ana")["token"]),
                            "forwarder": (forwarded, "app", "apps-password"), "direct": (my_server, "app", "apps-password")}[where]
    done = subprocess.run(["sysbench", what[0], "--db-driver=mysql", "--mysql-ssl=on", "--mysql-host=127.0.0.1", f"--mysql-port={port}", f"--mysql-user={name}", f"--mysql-password={password}",
                           "--mysql-db=bench", "--tables=1", "--table-size=100000", "--threads=8", *options, what[1]], cwd=home, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"sysbench {where} {what}: {done.stdout}{done.stderr}")
    found = re.search(r"transactions: +\d+ +\(([\d.]+) per sec", done.stdout)
    return float(found.group(1)) if found else 0


def compare(name, ours, theirs, unit="ratio of speeds", pairs=PAIRS):
    """`ours` and `theirs` give speeds."""
    if args.only not in name:
        return
    ours(), theirs()
    both = [(ours(), theirs()) for _ in range(pairs)]
    ratios = sorted(o / t for o, t in both)
    results[name] = {"ratio": round(statistics.median(ratios), 3), "min": round(ratios[0], 3), "max": round(ratios[-1], 3),
                     "ours": round(statistics.median(o for o, _ in both), 3), "theirs": round(statistics.median(t for _, t in both), 3), "unit": unit}
    print(f"{name:68} {results[name]['ratio']:6.2f} x   ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


def idle_memory(pid):
    name = "memory per idle connection, KiB"
    if args.only not in name:
        return
    rss = lambda: int(next(l.split()[1] for l in open(f"/proc/{pid}/status") if l.startswith("VmRSS")))
    target, env = place("gate")
    hold = "import sys, psycopg\nheld = [psycopg.connect(sys.argv[1], autocommit=True) for _ in range(int(sys.argv[2]))]\n[c.execute('SELECT 1') for c in held]\nprint('held', flush=True)\nsys.stdin.read()\n"
    python = pathlib.Path(__file__).resolve().parent.parent / ".cache/venv/bin/python"
    psql("gate", "SELECT 1")
    before = rss()
    client = subprocess.Popen([python, "-c", hold, target, str(IDLE)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, text=True)
    client.stdout.readline()
    time.sleep(3)
    results[name] = {"value": round((rss() - before) / IDLE, 1), "connections": IDLE}
    print(f"{name:58} {results[name]['value']:6.1f}     ({IDLE} connections)", flush=True)
    client.stdin.close()
    client.wait(60)


try:
    server, sql = postgres()
    pooled = bouncer(server)
    my_server = mariadb()
    forwarded = forwarder(my_server)
    ready, listens, my_listens, pid = gate(server, my_server)
    told_ca = ready["mysql"]["ca_file"]
    for name, value in [("bench-app", "apps-password"), ("bench-maker", "makers-password")]:
        api("dan", "PUT", f"/api/v1/secrets/{name}", {"value": value})
    for resource, role in [("bench-db", "bench-all"), ("bench-db", "bench-some"), ("bench-my", "bench-my-all"), ("bench-my", "bench-my-some")]:
        api("ana", "POST", "/api/v1/requests", {"resource": resource, "role": role, "duration": "4h", "reason": "bench"})
    print("pgbench -S, 8 clients, to PgBouncer in session mode; TLS towards the client on both; every statement recorded\n")
    for mode in ("simple", "extended", "prepared"):
        for who, said in (("gate", "unrestricted"), ("judged", "judged")):
            load = ("-S", "-c", 8, "-j", 2, "-T", SECONDS, "-M", mode)
            compare(f"pgbench -S {mode}, {said}", lambda: pgbench(who, *load)[0], lambda: pgbench("bouncer", *load)[0])
    one = ("-S", "-c", 1, "-T", SECONDS, "-M", "prepared")
    if args.only in "added latency, one client, us":
        rows = [[pgbench(where, *one)[1] * 1000 for where in ("gate", "judged", "bouncer", "direct")] for _ in range(PAIRS)]
        added = [round(statistics.median(row[n] - row[3] for row in rows), 1) for n in range(3)]
        results["added latency, one client, us"] = {"gate": added[0], "judged": added[1], "PgBouncer": added[2]}
        print(f"{'added latency, one client, us':58} gate {added[0]}, judged {added[1]}, PgBouncer {added[2]}", flush=True)
    fresh = ("-S", "-C", "-c", 1, "-t", 60)
    compare("connection set-up", lambda: pgbench("gate", *fresh)[0], lambda: pgbench("bouncer", *fresh)[0])
    print(f"\nbulk, against the server itself with TLS: {COPY_ROWS:,} rows\n")
    sql(f"CREATE TABLE bulk AS SELECT n AS aid, n % 10 AS bid, n AS abalance, repeat('x', 84) AS filler FROM generate_series(1, {COPY_ROWS}) n")
    speed = lambda where, text: 1 / psql(where, text)
    compare("COPY out", lambda: speed("gate", "COPY bulk TO STDOUT"), lambda: speed("direct", "COPY bulk TO STDOUT"))
    million = "SELECT aid, bid, abalance FROM bulk LIMIT 1000000"
    compare("SELECT of 1 M rows", lambda: speed("gate", million), lambda: speed("direct", million))
    rows = work / "rows"
    with open(rows, "w") as f:
        f.writelines(f"{n}\t{n % 10}\t{n}\t{'x' * 84}\n" for n in range(COPY_ROWS))

    def copy_in(where):
        with open(rows) as f:
            took = psql(where, "COPY copied FROM STDIN", f)
        sql("TRUNCATE copied")
        return 1 / took

    compare("COPY in", lambda: copy_in("gate"), lambda: copy_in("direct"), pairs=3)
    idle_memory(pid)
    if any(args.only in f"sysbench {script}" or args.only.startswith(f"sysbench {script}") for script in SYSBENCH):
        print("\nsysbench, 8 threads, to MariaDB itself; TLS on both; every statement recorded\n")
        sysbench("direct", ("oltp_read_write", "prepare"))
        for script in SYSBENCH:
            for mode, said in (("auto", "prepared"), ("disable", "not prepared")):
                for who, role in (("gate", "unrestricted"), ("judged", "judged"), ("forwarder", "HAProxy instead of the gate")):
                    load = (f"--time={SECONDS}", f"--db-ps-mode={mode}")
                    compare(f"sysbench {script}, {said}, {role}", lambda: sysbench(who, (script, "run"), *load), lambda: sysbench("direct", (script, "run"), *load), pairs=3)
    if args.json:
        pathlib.Path(args.json).write_text(json.dumps({"cpus": os.cpu_count(), "full": args.full, "results": results}, indent=2) + "\n")
finally:
    for child in reversed(children):
        try:
            os.killpg(child.pid, signal.SIGINT)
        except ProcessLookupError:
            pass
    for child in children:
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
    shutil.rmtree(work, ignore_errors=True)
