// A gate that is new: one link, one person, a page that says what to do first; and nothing else is open before, or besides.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, startBrowser, visit, visitor } from './gate.mjs';

const root = new URL('../../', import.meta.url).pathname;
const binary = process.env.TIDEGATE_BIN ?? join(process.env.CARGO_TARGET_DIR ?? join(root, 'target'), 'debug', 'tidegate');
const CONFIG = 'node = "one"\ndata_dir = "data"\npolicy_dir = "policy"\n[listen]\napi = "127.0.0.1:0"\nssh = "127.0.0.1:0"\nplain_http = true\n[audit]\ncheckpoints = "published"\n';
let browser;
let dir;
let child;
let ended;
/** What it said, where it listens, and the code of its link. */
let said = '';
let gate;
before(async () => {
  dir = mkdtempSync(join(tmpdir(), 'tidegate-first-'));
  cpSync(join(root, 'examples/policy'), join(dir, 'policy'), { recursive: true });
  writeFileSync(join(dir, 'tidegate.toml'), CONFIG);
  child = spawn(binary, ['serve', '--config', join(dir, 'tidegate.toml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  ended = new Promise((done) => child.on('exit', done));
  child.stderr.on('data', (piece) => (said += piece));
  browser = await startBrowser();
  await eventually('the gate serves', () => {
    if (child.exitCode !== null) throw new Error(`the gate ended:\n${said}`);
    return said.includes('The gate serves');
  });
  const [, api, code] = /(http:\/\/\S+)\/join#(\S+)/.exec(said);
  gate = { api, code, portal: api.replace('127.0.0.1', 'localhost') };
});
after(async () => {
  await browser?.close();
  child?.kill('SIGTERM');
  await ended;
  rmSync(dir, { recursive: true, force: true });
});

test('the first administrator is let in by the link, once, is led to what is to be done, and lets in the next', { timeout: 300_000 }, async () => {
  // Before anybody used it nothing is open: not to read, and not to change.
  const calls = [['GET', '/me'], ['GET', '/users'], ['GET', '/resources?all=true'], ['GET', '/policy'], ['GET', '/audit/entries'], ['POST', '/users', { username: 'mallory' }], ['POST', '/requests', { resource: 'build-1', role: 'shell' }]];
  for (const [method, path, body] of calls) {
    const answer = await fetch(`${gate.api}/api/v1${path}`, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
    assert.equal(answer.status, 401, `${method} ${path}`);
  }
  const stranger = await visitor(browser, gate);
  await stranger.page.goto('/people');
  await stranger.page.getByRole('heading', { name: 'Sign in', exact: true }).waitFor();
  assert.equal(await stranger.page.getByRole('navigation').count(), 0);

  const first = await visitor(browser, gate);
  await first.page.goto(`/join#${gate.code}`);
  await first.page.getByRole('button', { name: 'Sign in with this link' }).click();
  await first.page.getByRole('heading', { name: /^Welcome, / }).waitFor();
  await first.page.getByText('you keep this gate', { exact: false }).waitFor();
  for (const name of ['1. How you sign in over SSH', '2. The command line', '3. Other people', '4. The policy', '5. The machines']) await first.page.getByRole('heading', { name }).waitFor();
  await first.page.getByText('The policy in force names build-1,', { exact: false }).waitFor();

  // Whoever finds the link later finds nothing.
  await visit(stranger.page, `/join#${gate.code}`);
  await stranger.page.getByRole('button', { name: 'Sign in with this link' }).click();
  await stranger.page.getByText('This code is wrong, was used, or is too old.').waitFor();

  // The next one comes in by a link that the first one made, and keeps nothing.
  await first.page.getByRole('link', { name: 'Invite people' }).click();
  await first.page.getByRole('button', { name: 'Invite somebody' }).click();
  await first.page.getByLabel('User name', { exact: true }).fill('ana');
  await first.page.getByRole('button', { name: 'Invite', exact: true }).click();
  await first.page.getByText('Give ana this link.').waitFor();
  const link = await first.page.locator('.copy code').first().innerText();
  await visit(stranger.page, new URL(link).pathname + new URL(link).hash);
  await stranger.page.getByRole('button', { name: 'Sign in with this link' }).click();
  await stranger.page.getByRole('heading', { name: 'Welcome, ana' }).waitFor();
  assert.equal(await stranger.page.getByRole('heading', { name: '3. Other people' }).count(), 0);
  assert.deepEqual([...first.faults, ...stranger.faults], []);

  // Started again it makes no other link.
  child.kill('SIGTERM');
  await ended;
  said = '';
  child = spawn(binary, ['serve', '--config', join(dir, 'tidegate.toml')], { stdio: ['ignore', 'ignore', 'pipe'] });
  ended = new Promise((done) => child.on('exit', done));
  child.stderr.on('data', (piece) => (said += piece));
  await eventually('the gate serves again', () => said.includes('The gate serves'));
  assert.ok(!said.includes('/join#'), said);
});
