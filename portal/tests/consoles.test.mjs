// A terminal and a SQL prompt in the browser, as somebody without a client uses them; and the page that lets others in.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { eventually, settled, signIn, startBrowser, startGate, visitor } from './gate.mjs';

let gate;
let browser;
before(async () => ([gate, browser] = await Promise.all([startGate(), startBrowser()])));
after(async () => {
  await browser?.close();
  await gate?.stop();
});

const lives = (pid) => {
  try {
    return !/^State:\s+Z/m.test(execFileSync('cat', [`/proc/${pid}/status`], { stdio: ['ignore', 'pipe', 'ignore'] }).toString());
  } catch {
    return false;
  }
};
const shown = (page) => page.locator('.xterm-rows').innerText();
const shows = (page, text) => eventually(`the terminal shows ${text}`, async () => (await shown(page)).includes(text));

// covers: SES-2 (portal), ASK-3 (portal), GRANT-3 (portal)
test('Ana asks in the terminal of her browser, works when Ben agreed, and is cut when it is revoked', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ana');
  await page.goto('/resources/db-1');
  await page.getByRole('link', { name: /Open in the browser as shell/ }).click();
  await settled(page);
  // Nothing opens before she says so.
  assert.equal((await gate.api('ana', 'GET', '/api/v1/sessions?state=live')).items.length, 0);
  await page.getByRole('button', { name: 'Open the terminal' }).click();
  await shows(page, 'Reason:');
  await page.keyboard.type('orders are slow\n');
  await eventually('it waits', async () => {
    const text = await shown(page);
    if (text.includes('For how long') && !text.includes('waits for')) await page.keyboard.type('\n');
    return text.includes('waits for approval');
  });
  const [request] = (await gate.api('ben', 'GET', '/api/v1/requests?of=inbox')).items;
  assert.equal(request.reason, 'orders are slow');
  await gate.api('ben', 'POST', `/api/v1/requests/${request.id}/approve`, { note: 'go ahead' });
  const live = await eventually('her session', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=live')).items[0]);
  await page.keyboard.type('echo pid-$$-\n');
  const pid = await eventually('which process', async () => /pid-(\d+)-/.exec(await shown(page))?.[1]);
  assert.ok(lives(pid));
  // Text of others moves nothing of the page's: no title is taken, no link followed.
  await page.keyboard.type("printf '\\033]0;owned\\007'; echo do''ne\n");
  await shows(page, 'done');
  assert.ok(!(await page.title()).includes('owned'));
  // The keyboard leads out again.
  await page.keyboard.press('Control+Shift+KeyL');
  assert.equal(await page.evaluate(() => document.activeElement?.textContent), 'Close the terminal');
  await gate.api('dan', 'POST', `/api/v1/grants/${live.grant}/revoke`, { reason: 'drill' });
  await eventually('the process at the target is gone', () => !lives(pid));
  await page.getByRole('button', { name: 'Open again' }).waitFor();
  await shows(page, 'revoked');
  const recording = await (await fetch(`${gate.facts.api}/api/v1/sessions/${live.id}/recording?format=asciicast`, { headers: { authorization: `Bearer ${gate.person('eve').token}` } })).text();
  assert.match(recording, /pid-\d+-/);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: SES-2 (portal), WHO-8 (portal)
test('a terminal ends when its page is left, and when its browser is signed out elsewhere', { timeout: 300_000 }, async () => {
  await gate.grant('ana', 'build-1', 'shell', '1h');
  const { page, context } = await signIn(browser, gate, 'ana');
  const open = async () => {
    await page.goto('/console/build-1?role=shell');
    await page.getByRole('button', { name: 'Open the terminal' }).click();
    await page.getByRole('button', { name: 'Close the terminal' }).waitFor();
    await page.keyboard.type('echo pid-$$-\n');
    return eventually('which process', async () => /pid-(\d+)-/.exec(await shown(page))?.[1]);
  };
  let pid = await open();
  assert.ok(lives(pid));
  await page.getByRole('link', { name: 'Home' }).click();
  await eventually('the process at the target is gone', () => !lives(pid));
  pid = await open();
  assert.ok(lives(pid));
  // From the same browser, in another tab.
  const other = await context.newPage();
  await other.goto('/account');
  await other.getByRole('button', { name: 'Sign out', exact: true }).first().click();
  await eventually('the process at the target is gone', () => !lives(pid));
  await context.close();
});

// covers: SES-2 (portal), MAY-6 (portal), PG-2 (portal)
test('Ana looks into the orders in her browser, and sees no more than her role lets her', { timeout: 300_000 }, async () => {
  await gate.grant('ana', 'orders-db', 'readonly', '1h');
  const { page, context, faults } = await signIn(browser, gate, 'ana');
  await page.goto('/console/orders-db?role=readonly');
  await page.getByRole('button', { name: 'Open the SQL prompt' }).click();
  const run = async (text) => {
    await page.getByLabel('Statement').fill(text);
    await page.keyboard.press('Control+Enter');
  };
  await page.getByLabel('Statement').waitFor();
  await run('SELECT email FROM customers LIMIT 1');
  await page.getByRole('cell', { name: '****' }).waitFor();
  await run('SELECT id FROM orders');
  await page.getByText(/100 rows, and more that are not shown/).waitFor();
  await run('SELECT card FROM payments');
  await page.getByText('42501').waitFor();
  await page.getByText('Your role does not include this').waitFor();
  await run('SELECT nonsense FROM orders');
  await page.getByRole('alert').getByText(/nonsense/).waitFor();
  // What is in a table is text here, whatever it looks like.
  await run(`SELECT '<img src=x onerror="document.title=1">' AS "<b>x</b>"`);
  await page.getByRole('cell', { name: '<img src=x' }).waitFor();
  assert.equal(await page.locator('table img').count(), 0);
  await page.getByRole('button', { name: 'Close the prompt' }).click();
  await eventually('her session has ended', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=live&resource=orders-db')).items.length === 0);
  assert.deepEqual(faults, []);

  // What she ran stands in a table: each statement with what came of it, found by its words and by its end.
  const [over] = (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended&resource=orders-db')).items;
  const eve = await signIn(browser, gate, 'eve', { path: `/sessions/${over.id}` });
  // Besides, a function is called by its number, as large objects are read and written: none of the demo's roles may.
  await eve.page.route(/\/recording\?format=frames$/, async (route) => {
    const answer = await route.fetch();
    const activity = { kind: 'sql.statement', n: 1_000_000, via: 'function', function: 964, values: ['16405'] };
    const call = { at_us: 1, channel: 0, direction: 'gate', kind: 'activity', activity };
    await route.fulfill({ response: answer, body: `${await answer.text()}${JSON.stringify(call)}\n` });
  });
  await eve.page.getByRole('button', { name: 'Replay', exact: true }).click();
  const rows = eve.page.getByRole('table', { name: 'Statements' }).locator('tbody tr');
  await rows.filter({ hasText: 'SELECT id FROM orders' }).waitFor();
  await rows.filter({ hasText: 'function call 964' }).getByText('with 16405', { exact: true }).waitFor();
  const all = await rows.count();
  await eve.page.getByLabel('What came of it').selectOption('refused');
  await rows.filter({ hasText: 'SELECT card FROM payments' }).getByText('refused', { exact: true }).waitFor();
  assert.equal(await rows.filter({ hasText: 'SELECT email FROM customers' }).count(), 0);
  await eve.page.getByLabel('What came of it').selectOption('done');
  await rows.filter({ hasText: 'SELECT email FROM customers LIMIT 1' }).waitFor();
  assert.equal(await rows.filter({ hasText: 'SELECT card FROM payments' }).count(), 0);
  await eve.page.getByLabel('What came of it').selectOption('');
  await eve.page.getByLabel('Find in statements').fill('FROM CUSTOMERS');
  await eventually('those are left', async () => (await rows.count()) === 1);
  await eve.page.getByText(`1 of ${all} statements`, { exact: true }).waitFor();
  await eve.page.getByLabel('Find in statements').fill('nothing like this');
  await eve.page.getByText('No statement like that.').waitFor();
  await eve.page.getByLabel('Find in statements').fill('');
  await rows.filter({ hasText: '<img src=x' }).waitFor();
  assert.equal(await eve.page.locator('main img').count(), 0);
  assert.deepEqual(eve.faults, []);
  await eve.context.close();
  await context.close();
});

// covers: SES-2 (portal), MAY-6 (portal), SES-1 (portal)
test('the stock, in a MariaDB, is looked into from the browser by the same rights', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ana');
  await page.goto('/console/warehouse-db?role=stock-readonly');
  await page.getByRole('button', { name: 'Open the SQL prompt' }).click();
  await page.getByLabel('Statement').waitFor();
  const run = async (text) => {
    await page.getByLabel('Statement').fill(text);
    await page.keyboard.press('Control+Enter');
  };
  await run('SELECT name, email FROM suppliers LIMIT 1');
  await page.getByRole('cell', { name: '****' }).waitFor();
  await run("UPDATE items SET name = 'x'");
  await page.getByRole('alert').getByText('Your role does not include this').waitFor();
  const statement = `SELECT '<img src=x onerror="document.title=1">' AS \`<b>x</b>\``;
  await run(statement);
  await page.getByRole('cell', { name: '<img src=x' }).waitFor();
  assert.equal(await page.locator('table img').count(), 0);
  const [live] = (await gate.api('ana', 'GET', '/api/v1/sessions?state=live&resource=warehouse-db')).items;
  assert.deepEqual([live.protocol, live.role], ['mysql', 'stock-readonly']);
  // Carla sees what is run while it is run.
  const carla = await signIn(browser, gate, 'carla', { path: `/sessions/${live.id}` });
  await carla.page.getByRole('button', { name: 'Watch live' }).click();
  await carla.page.getByText('Waiting for what is run next', { exact: false }).waitFor();
  assert.equal(await carla.page.locator('.xterm').count(), 0, 'there is no screen to see');
  const watched = carla.page.getByRole('table', { name: 'Statements' }).locator('tbody tr');
  await eventually('Carla sees it', async () => {
    await run('SELECT name, email FROM suppliers LIMIT 2');
    return (await watched.filter({ hasText: 'LIMIT 2' }).filter({ hasText: /\d (µs|ms|s)\b/ }).count()) > 0;
  });
  await carla.page.getByText('Live.', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'Close the prompt' }).click();
  await eventually('her session has ended', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=live&resource=warehouse-db')).items.length === 0);
  const frames = await (await fetch(`${gate.facts.api}/api/v1/sessions/${live.id}/recording`, { headers: { authorization: `Bearer ${gate.person('eve').token}` } })).text();
  assert.ok(frames.includes('FROM suppliers') && frames.includes('UPDATE items'), frames);
  await carla.page.getByText('The session has ended.', { exact: true }).waitFor();
  assert.deepEqual([...faults, ...carla.faults], []);
  await carla.context.close();
  await context.close();
});

// covers: A8 (portal), WHO-1 (portal)
test('the page shows who stands before the door without a key, and a click lets in that connection alone', { timeout: 300_000 }, async () => {
  await gate.grant('ana', 'build-1', 'shell', '1h');
  const { ssh: door } = gate.facts;
  const args = ['-F/dev/null', '-oIdentityAgent=none', '-oIdentitiesOnly=yes', '-i/dev/null', `-oUserKnownHostsFile=${door.known_hosts}`, '-oStrictHostKeyChecking=no', '-p', String(door.port), `build-1+shell@${door.host ?? '127.0.0.1'}`, 'echo inside'];
  const knock = () => {
    const ssh = spawn('ssh', args, { stdio: ['ignore', 'pipe', 'pipe'] });
    const heard = { text: '', ended: new Promise((done) => ssh.on('exit', done)) };
    for (const stream of [ssh.stdout, ssh.stderr]) stream.on('data', (piece) => (heard.text += piece));
    return heard;
  };
  const { page, context, faults } = await signIn(browser, gate, 'ana');
  const link = async (heard) => {
    const found = await eventually('the link', () => /\/device\?code=([A-Z]{4}-[A-Z]{4})/.exec(heard.text));
    await page.goto(found[0]);
    await page.getByText('127.0.0.1').first().waitFor();
    await page.getByText(found[1]).waitFor();
    await page.getByText('build-1+shell', { exact: true }).waitFor();
    await page.getByText(/SSH-2\.0-OpenSSH/).waitFor();
  };
  const first = knock();
  await link(first);
  assert.ok(!first.text.includes('inside'));
  await page.getByRole('button', { name: 'Yes, let it in as me' }).click();
  assert.equal(await first.ended, 0);
  assert.ok(first.text.includes('inside'));
  const second = knock();
  await link(second);
  await page.getByRole('button', { name: 'No', exact: true }).click();
  assert.equal(await second.ended, 255);
  assert.ok(!second.text.includes('inside'));
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: GRANT-9 (portal), SES-2 (portal)
test('who has a path for emergencies alone finds it, opens it, and works in the browser', { timeout: 300_000 }, async () => {
  const night = `@id("night")\n@breakglass("security, 24h")\n@max_duration("1h")\npermit(principal in Tide::Group::"night", action == Tide::Action::"request", resource in Tide::Tier::"prod")\nwhen { resource.role == Tide::Role::"readonly" };\n`;
  const policy = { 'access.cedar': night, 'people.toml': '[[group]]\nname = "night"\nmembers = ["gina"]\n' };
  const other = await startGate({ settings: '# Nothing more.', policy });
  try {
    const invited = await other.api('dan', 'POST', '/api/v1/users', { username: 'gina', display_name: 'Gina' });
    const { page, context, faults } = await visitor(browser, other, { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true });
    await page.goto(`/join#${invited.code}`);
    await page.getByRole('button', { name: 'Sign in with this link' }).click();
    await page.getByRole('heading', { name: 'Welcome, Gina' }).waitFor();
    await page.goto('/');
    const roles = page.getByRole('list', { name: 'Roles on orders-db' });
    await roles.getByText('in an emergency alone').waitFor();
    assert.equal(await page.getByRole('list', { name: 'Roles on web-1' }).count(), 0);
    await roles.getByRole('link', { name: 'readonly' }).click();
    await page.getByText('This opens at once').waitFor();
    const emergency = page.getByLabel('This is an emergency');
    assert.equal(await emergency.isChecked(), true);
    // Without one there is nothing for her, and the page says so.
    await emergency.uncheck();
    await page.getByText('This will be refused').waitFor();
    await emergency.check();
    await page.getByLabel(/^Reason/).fill('checkout is down');
    await page.getByRole('button', { name: 'Open it' }).click();
    const card = page.getByRole('article', { name: /orders-db as readonly/ });
    await eventually('the command', async () => (await card.locator('code').allInnerTexts()).some((text) => text.startsWith('psql ')));
    await card.getByRole('link', { name: 'Open in the browser' }).click();
    await page.getByRole('button', { name: 'Open the SQL prompt' }).click();
    await page.getByLabel('Statement').fill('SELECT count(*) FROM orders');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    await page.getByText('1 row').waitFor();
    await page.goto('/console/web-1');
    await page.getByText('There is nothing here, or nothing that you may see.').waitFor();
    assert.deepEqual(faults, []);
    await context.close();
  } finally {
    await other.stop();
  }
});
