// A real gate with the people of the example, and browsers for them.
import { chromium } from 'playwright-core';
import { execFile, spawn } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = new URL('../../', import.meta.url).pathname;
/** How the browser is started. */
export const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Waits until something holds; looks often, and gives up after a while. */
export async function eventually(what, look, patience = 60_000) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/**
 * Starts `tidegate demo` in a directory of its own. What stands in `settings` is added to its configuration, what stands in `files` beside
 * it, and what stands in `policy` at the end of files of its policy: then it is stopped once, and runs again with all of that.
 */
export async function startGate({ settings, files = {}, policy = {} } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'tidegate-portal-'));
  const home = join(dir, 'demo');
  const ready = join(dir, 'ready.json');
  const binary = process.env.TIDEGATE_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug', 'tidegate');
  const run = async () => {
    rmSync(ready, { force: true });
    const child = spawn(binary, ['demo', '--dir', home, '--ready-file', ready], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (piece) => (said += piece));
    const ended = new Promise((done) => child.on('exit', done));
    try {
      await eventually('the demo is ready', () => {
        if (child.exitCode !== null) throw new Error(`the demo ended:\n${said}`);
        return existsSync(ready);
      }, 120_000);
    } catch (error) {
      child.kill('SIGTERM');
      throw error;
    }
    return { child, ended };
  };
  let { child, ended } = await run();
  if (settings) {
    child.kill('SIGTERM');
    await ended;
    appendFileSync(join(home, 'tidegate.toml'), `\n${settings}`);
    for (const [file, text] of Object.entries(files)) writeFileSync(join(home, file), text);
    for (const [file, text] of Object.entries(policy)) appendFileSync(join(home, 'policy', file), `\n${text}`);
    ({ child, ended } = await run());
  }
  const facts = JSON.parse(readFileSync(ready, 'utf8'));
  // By name: passkeys are bound to one.
  const portal = process.env.TIDEGATE_PORTAL ?? facts.api.replace('127.0.0.1', 'localhost');
  return {
    facts,
    dir,
    /** Where the demo keeps what is its own: configuration, policy, target. */
    home,
    portal,
    child,
    person: (name) => facts.people.find((person) => person.username === name),
    /** One call of the API with somebody's token. */
    async api(name, method, path, body) {
      const headers = { authorization: `Bearer ${this.person(name).token}` };
      if (body !== undefined) headers['content-type'] = 'application/json';
      const response = await fetch(facts.api + path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
      const text = await response.text();
      if (!response.ok) throw new Error(`${method} ${path} as ${name}: ${response.status} ${text}`);
      return text === '' ? undefined : JSON.parse(text);
    },
    /** Asks, has whoever must agree do so, and gives the grant's id. */
    async grant(name, resource, role, duration, approver = 'ben') {
      const asked = await this.api(name, 'POST', '/api/v1/requests', { resource, role, duration, reason: 'checking a slow query', ticket: 'INC-7' });
      if (asked.grant) return asked.grant.id;
      const voted = await this.api(approver, 'POST', `/api/v1/requests/${asked.request.id}/approve`, { note: 'go ahead' });
      return voted.grant.id;
    },
    /** Stock `ssh` as somebody, running one command; gives what it printed. */
    async ssh(name, selector, ...command) {
      const args = ['-F', this.person(name).ssh_config, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20', `${selector}.tide`, ...command];
      return (await promisify(execFile)('ssh', args)).stdout;
    },
    /** Stock `psql` as somebody, running one statement; gives what it printed. */
    async psql(name, selector, database, sql) {
      const { host, port } = facts.postgres;
      const place = `host=${host} port=${port} user=${selector} dbname=${database} sslmode=require connect_timeout=20`;
      return (await promisify(execFile)('psql', ['-X', '-A', '-t', '-d', place, '-c', sql], { env: { ...process.env, PGPASSWORD: this.person(name).token } })).stdout;
    },
    /** Stock `ssh` with a terminal that stays open. */
    shell(name, selector) {
      const args = ['-tt', '-F', this.person(name).ssh_config, '-o', 'BatchMode=yes', '-o', 'ConnectTimeout=20', `${selector}.tide`];
      const ssh = spawn('ssh', args, { stdio: ['pipe', 'pipe', 'pipe'] });
      let heard = '';
      ssh.stdout.on('data', (piece) => (heard += piece));
      ssh.stderr.on('data', (piece) => (heard += piece));
      return {
        say: (text) => ssh.stdin.write(text),
        heard: () => heard,
        until: (text) => eventually(`ssh says ${text}, but said ${heard}`, () => heard.includes(text)),
        ended: new Promise((done) => ssh.on('exit', done)),
        end: () => ssh.kill(),
      };
    },
    /** The policy directory was changed: it is taken now. */
    reload: () => child.kill('SIGHUP'),
    /** The headers of somebody's browser, for calls that only a browser may make. */
    async browserOf(name) {
      const headers = { origin: facts.api, 'content-type': 'application/json' };
      const entered = await fetch(`${facts.api}/api/v1/web-sessions`, { method: 'POST', headers, body: JSON.stringify({ token: this.person(name).token }) });
      const cookie = entered.headers.getSetCookie().find((one) => one.startsWith('__Host-tide='));
      if (!cookie) throw new Error(`${name} is not signed in: ${entered.status} ${await entered.text()}`);
      return { ...headers, cookie: cookie.split(';')[0] };
    },
    async stop() {
      child.kill('SIGTERM');
      await ended;
      rmSync(dir, { recursive: true, force: true });
    },
  };
}

export function startBrowser() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: false, args: FLAGS });
}

/** A line that a test can break or hush: streams end in the middle or go silent, nothing goes out before it is mended; or it says one thing again and again. */
function breakable() {
  const ask = window.fetch;
  const open = [];
  let broken = false;
  let hushed = false;
  let flood;
  window.breakLine = () => {
    broken = true;
    for (const { cut } of open.splice(0)) cut();
  };
  window.hushLine = () => (hushed = true);
  window.mendLine = () => (broken = hushed = false);
  window.floodLine = (text, every) => (flood = setInterval(() => open.forEach(({ say }) => say(text)), every));
  window.calmLine = () => clearInterval(flood);
  window.fetch = async (...all) => {
    if (broken) throw new TypeError('Failed to fetch');
    if (hushed && String(all[0]).endsWith('/events')) return new Promise((_, fail) => all[1].signal.addEventListener('abort', () => fail(new DOMException('', 'AbortError'))));
    const answer = await ask(...all);
    if (!answer.headers.get('content-type')?.startsWith('text/event-stream')) return answer;
    const reader = answer.body.getReader();
    const body = new ReadableStream({
      start: (controller) => {
        open.push({
          cut: () => {
            controller.error(new TypeError('network error'));
            void reader.cancel();
          },
          say: (text) => {
            try {
              controller.enqueue(new TextEncoder().encode(text));
            } catch {
              // Nobody listens any more.
            }
          },
        });
      },
      pull: async (controller) => {
        for (;;) {
          const { value, done } = await reader.read();
          if (broken) return;
          if (done) return controller.close();
          if (!hushed) return controller.enqueue(value);
        }
      },
      cancel: (why) => reader.cancel(why),
    });
    return new Response(body, { status: answer.status, headers: answer.headers });
  };
}

/** A browser of somebody's own, that keeps what went wrong in it. */
export async function visitor(browser, gate, options = {}) {
  const { line, path: _, ...rest } = options;
  const context = await browser.newContext({ baseURL: gate.portal, viewport: { width: 1280, height: 900 }, ...rest });
  if (line) await context.addInitScript(breakable);
  context.setDefaultTimeout(30_000);
  const page = await context.newPage();
  const faults = [];
  page.on('pageerror', (error) => faults.push(`fault: ${error.message}`));
  page.on('console', (message) => {
    // The browser says of each refusal that it failed to load; whether a refusal is right is for the test to say.
    if (message.type() === 'error' && !message.text().startsWith('Failed to load resource')) faults.push(`console: ${message.text()}`);
  });
  page.on('request', (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== 'blob:' && protocol !== 'data:' && origin !== new URL(gate.portal).origin) faults.push(`loads from elsewhere: ${request.url()}`);
  });
  return { context, page, faults };
}

/** Somebody signs in with their token, as the page asks for it. */
export async function signIn(browser, gate, name, options = {}) {
  const visit = await visitor(browser, gate, options);
  await visit.page.goto(options.path ?? '/');
  await visit.page.getByLabel('Token').fill(gate.person(name).token);
  await visit.page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await visit.page.getByRole('navigation', { name: 'Portal' }).waitFor();
  return visit;
}

/** Goes to a page, whatever stands behind its `#`: that alone loads nothing anew. */
export async function visit(page, path) {
  if (path.includes('#')) await page.goto('about:blank');
  await page.goto(path);
}

/** Waits until a page shows what it was asked for, and nothing is on its way. */
export async function settled(page) {
  await page.locator('main h1').first().waitFor();
  await eventually('the page is settled', async () => (await page.locator('.bone').count()) === 0);
}
