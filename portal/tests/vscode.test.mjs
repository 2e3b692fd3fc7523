// VS Code Remote through the gate. Stock `ssh` does what VS Code's client does with it: it starts VS Code's own server at the target by a script
// on its standard input, and forwards to it; the workbench is VS Code's own too, in a browser. `scripts/vscode` puts the server where this finds it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { chromium } from 'playwright-core';
import { eventually, FLAGS, startGate } from './gate.mjs';

const root = new URL('../../', import.meta.url).pathname;
const server = join(root, '.cache/vscode/server/out/server-main.js');

// The role is the one that the page about SSH gives to whoever wants VS Code.
const role = /## VS Code[^]*?```toml\n([^]*?)```/.exec(readFileSync(join(root, 'docs/ssh.md'), 'utf8'))[1];
// A folder of the test's own in place of the one that stands there.
const sockets = mkdtempSync(join(tmpdir(), 'tide-vscode-'));

const drill = `drill-${process.pid}-of-vscode`;

let gate;
/** What is closed at the end, the last first. */
const open = [];
before(async () => {
  gate = await startGate({ settings: '# once more, with another role', policy: { 'roles.toml': role.replaceAll('/run/user/1000', sockets) } });
});
after(async () => {
  for (const close of open.reverse()) await close();
  // Only what a failure left: a gate that stops takes no daemons along.
  for (const line of carrying(drill)) {
    try {
      process.kill(Number.parseInt(line));
    } catch {
      // It has ended with the one before.
    }
  }
  await gate?.stop();
  rmSync(sockets, { recursive: true, force: true });
});

/** Where one of the servers keeps what is its own, and how it is told from the others. */
const place = (name, where) => ({ home: join(gate.dir, name), mark: `${drill}-${name}`, token: `tkn-${name}`, where });

/** A port that nothing listens on. */
const freePort = () =>
  new Promise((done) => {
    const listener = createServer().listen(0, '127.0.0.1', () => {
      const { port } = listener.address();
      listener.close(() => done(port));
    });
  });

/** What runs and carries a mark in the environment it began with: a line each, of its id and its words. */
function carrying(mark) {
  const read = (path) => {
    try {
      return readFileSync(path, 'latin1');
    } catch {
      return '';
    }
  };
  return readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
    .filter((pid) => !/^State:\s+Z/m.test(read(`/proc/${pid}/status`)) && read(`/proc/${pid}/environ`).includes(mark))
    .map((pid) => `${pid} ${read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ')}`);
}

/**
 * What VS Code's client sends to a shell at the target: start the server, away from this shell's session so that it outlives it, say where it listens, and stay.
 * `mark` stands in the environment of all that comes of it.
 */
function script({ home, where, mark, token }) {
  return `export DRILL=${mark}
mkdir -p '${home}/project'
echo '${token}' >'${home}/token'
echo 'the first line' >'${home}/project/notes.txt'
setsid nohup '${process.execPath}' '${server}' --start-server ${where} --connection-token-file '${home}/token' --accept-server-license-terms \\
  --telemetry-level off --enable-remote-auto-shutdown --server-data-dir '${home}' >'${home}/log' 2>&1 </dev/null &
until at=$(grep -o 'Extension host agent listening on .*' '${home}/log'); do sleep 0.1; done
echo "listeningOn==\${at##* }=="
read -r _
`;
}

/** \`ssh -T … sh\` as VS Code runs it; resolves once the server says where it listens. */
async function remote(name, selector, options, at) {
  const ssh = spawn('ssh', ['-T', '-F', gate.person(name).ssh_config, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20', '-o', 'ExitOnForwardFailure=yes', ...options, '-l', selector, `${selector.split('+')[0]}.tide`, 'sh']);
  let heard = '';
  ssh.stdout.on('data', (piece) => (heard += piece));
  ssh.stderr.on('data', (piece) => (heard += piece));
  open.push(() => ssh.kill());
  ssh.stdin.write(script(at));
  const listening = await eventually(
    'the server at the target says where it listens',
    () => {
      if (ssh.exitCode !== null) throw new Error(`ssh ended:\n${heard}`);
      return /listeningOn==(.+)==/.exec(heard)?.[1];
    },
    60_000,
  );
  /** Its exit status, once it has ended. */
  const status = async () => {
    await eventually(`ssh ends, but said ${heard}`, () => ssh.exitCode !== null);
    return ssh.exitCode;
  };
  return { status, listening, heard: () => heard };
}

/** What VS Code's client puts between itself and `ssh -D`: a port here that leads to one port at the target. */
async function forwardingServer(dynamic, port) {
  const listener = createServer((client) => {
    const through = connect(dynamic, '127.0.0.1');
    for (const [one, other] of [[client, through], [through, client]]) one.on('error', () => other.destroy()).on('close', () => other.destroy());
    // SOCKS 5 (RFC 1928), without signing in, to an IPv4 address.
    through.write(Buffer.from([5, 1, 0, 5, 1, 0, 1, 127, 0, 0, 1, port >> 8, port & 255]));
    let answer = Buffer.alloc(0);
    through.on('data', function read(piece) {
      answer = Buffer.concat([answer, piece]);
      if (answer.length < 12) return;
      through.off('data', read);
      if (answer[3] !== 0) return client.destroy();
      client.write(answer.subarray(12));
      client.pipe(through);
      through.pipe(client);
    });
  });
  await new Promise((done) => listener.listen(0, '127.0.0.1', done));
  open.push(() => listener.close());
  return listener.address().port;
}

/** A workbench of VS Code's in a browser, with a folder of the target open. */
async function workbench(port, { token, home }) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: false, args: FLAGS });
  open.push(() => browser.close());
  const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(60_000);
  await page.goto(`http://127.0.0.1:${port}/?tkn=${token}&folder=${home}/project`);
  await page.getByRole('button', { name: 'Yes, I trust the authors' }).click();
  return page;
}

/** Types a command into the integrated terminal and gives what it wrote. */
async function inTerminal(page, { home }, command) {
  const terminal = page.locator('.terminal-wrapper .xterm').first();
  if (!(await terminal.isVisible())) await page.keyboard.press('Control+Backquote');
  await terminal.click();
  await page.keyboard.type(`(${command}) >.wrote && mv .wrote wrote\n`);
  const wrote = join(home, 'project/wrote');
  await eventually('the command ran in the terminal', () => existsSync(wrote), 30_000);
  const text = readFileSync(wrote, 'utf8');
  rmSync(wrote);
  return text;
}

/** What a recording holds of a kind; of a session that has ended. */
async function activities(session, kind) {
  const answer = await fetch(`${gate.facts.api}/api/v1/sessions/${session}/recording`, { headers: { authorization: `Bearer ${gate.person('eve').token}` } });
  assert.equal(answer.status, 200);
  const lines = (await answer.text()).trim().split('\n').map((line) => JSON.parse(line));
  return lines.flatMap((line) => (line.activity?.kind === kind ? [line.activity] : []));
}

/** The one session of Ana's that lives under a role. */
const liveAs = async (role) => (await gate.api('ana', 'GET', '/api/v1/sessions?state=live')).items.find((session) => session.role === role);

/** A session of Ana's, once it has ended. */
const ended = (id) =>
  eventually(`session ${id} has ended`, async () => {
    const session = await gate.api('ana', 'GET', `/api/v1/sessions/${id}`);
    return session.state === 'ended' && session;
  });

const proven = (sentence) => console.log(`proven: ${sentence}`);

async function overForward() {
  const grant = await gate.grant('ana', 'db-1', 'code', '30m');
  const at = place('forward', '--host=127.0.0.1 --port=0');
  const dynamic = await freePort();
  const here = await remote('ana', 'db-1+code', ['-D', `127.0.0.1:${dynamic}`], at);
  const port = await forwardingServer(dynamic, Number(here.listening));
  const version = await (await fetch(`http://127.0.0.1:${port}/version`)).text();
  proven("VS Code's server starts at the target by a script for `sh`, and answers over `ssh -D`");

  const page = await workbench(port, at);
  await page.getByRole('treeitem', { name: 'notes.txt' }).dblclick();
  await page.locator('.monaco-editor .view-line').first().click();
  await page.keyboard.press('Control+End');
  await page.keyboard.type('the second line');
  await page.keyboard.press('Control+KeyS');
  await eventually('the file is saved at the target', () => readFileSync(join(at.home, 'project/notes.txt'), 'utf8') === 'the first line\nthe second line', 30_000);
  proven('the workbench opens a folder, and edits and saves a file');

  assert.match(await inTerminal(page, at, 'echo "$SSH_CONNECTION"'), /^127\.0\.0\.1 \d+ 127\.0\.0\.1 \d+\n$/);
  proven('a command runs in the integrated terminal');

  const serve = `${process.execPath} -e 'require("http").createServer((_, r) => r.end("at the target")).listen(0, "127.0.0.1", function () { console.log(this.address().port) })' >port &`;
  await inTerminal(page, at, serve);
  const served = await eventually('a port at the target', () => readFileSync(join(at.home, 'project/port'), 'utf8').trim());
  assert.equal(await (await fetch(`http://127.0.0.1:${await forwardingServer(dynamic, Number(served))}/`)).text(), 'at the target');
  proven('a port that a program of the terminal opens is reached over the same connection');

  const live = await liveAs('code');
  await withoutForwards(here.listening);
  assert.equal(await (await fetch(`http://127.0.0.1:${port}/version`)).text(), version);
  proven('under a role without forwards a server starts, none is reached, and the refusal is recorded');

  // The server, its watcher of files, its host of extensions, its host of terminals, a shell in one of these, and what that started.
  assert.ok(carrying(at.mark).length >= 6, carrying(at.mark).join('\n'));
  const { cut } = await gate.api('dan', 'POST', `/api/v1/grants/${grant}/revoke`, { reason: 'drill' });
  assert.deepEqual(cut.confirmed, [live.id]);
  assert.deepEqual(carrying(at.mark), []);
  assert.equal(await here.status(), 76);
  assert.match(here.heard(), /Your grant was revoked/);
  await assert.rejects(fetch(`http://127.0.0.1:${port}/version`));
  proven('revoking it is confirmed: server, extensions, terminal and what it started are gone');
  // For 40 seconds it tries without a word.
  await page.getByText(/attempting to reconnect|cannot reconnect|reconnecting to/i).first().waitFor({ state: 'attached', timeout: 90_000 });
  proven('the workbench says that it has lost its connection');

  const shown = await ended(live.id);
  assert.deepEqual([shown.end, shown.confirmed], ['revoked', true]);
  assert.deepEqual((await activities(live.id, 'exec')).map(({ command }) => command), ['sh']);
  const forwards = (await activities(live.id, 'forward.local')).map(({ to }) => to);
  assert.deepEqual([...new Set(forwards)].sort(), [`127.0.0.1:${here.listening}`, `127.0.0.1:${served}`].sort());
  // The version, the workbench's files, and its connections for itself and for its extensions.
  assert.ok(forwards.length >= 4, forwards.join(' '));
  assert.ok(shown.bytes_down > 1_000_000, `${shown.bytes_down}`);
  proven(`the recording holds \`sh\` and ${forwards.length} forwards`);
}

/** The same from here to the same server, under a role that has `exec` and no forward. */
async function withoutForwards(listening) {
  const grant = await gate.grant('ana', 'db-1', 'shell', '30m');
  const dynamic = await freePort();
  const here = await remote('ana', 'db-1+shell', ['-D', `127.0.0.1:${dynamic}`], place('without', '--host=127.0.0.1 --port=0'));
  const live = await liveAs('shell');
  await assert.rejects(fetch(`http://127.0.0.1:${await forwardingServer(dynamic, Number(listening))}/version`));
  await gate.api('dan', 'POST', `/api/v1/grants/${grant}/revoke`, { reason: 'drill' });
  assert.equal(await here.status(), 76);
  await ended(live.id);
  const [refused] = await activities(live.id, 'refused');
  assert.deepEqual([refused?.what, refused?.detail], ['local_forward', `127.0.0.1:${listening}`]);
}

async function overSocket() {
  const grant = await gate.grant('ana', 'db-1', 'code', '30m');
  const socket = join(sockets, 'vscode.sock');
  const at = place('socket', `--socket-path='${socket}'`);
  const port = await freePort();
  const here = await remote('ana', 'db-1+code', ['-L', `127.0.0.1:${port}:${socket}`], at);
  assert.equal(here.listening, socket);
  const page = await workbench(port, at);
  assert.equal(await inTerminal(page, at, 'cat notes.txt'), 'the first line\n');
  proven("the same over `ssh -L` to a socket of the server's");
  const live = await liveAs('code');
  await gate.api('ana', 'POST', `/api/v1/grants/${grant}/return`);
  assert.equal(await here.status(), 76);
  assert.equal((await ended(live.id)).confirmed, true);
  assert.deepEqual(carrying(at.mark), []);
  assert.deepEqual([...new Set((await activities(live.id, 'forward.local_socket')).map(({ to }) => to))], [socket]);
  proven('giving the access back ends it, and the recording names the socket');
}

// covers: SSH-1 (ssh, vscode), GRANT-3 (ssh, vscode)
test('Ana works at the target in VS Code, and nothing of it is left when her access is over', { timeout: 600_000 }, async () => {
  await overForward();
  await overSocket();
});
