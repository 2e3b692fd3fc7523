// Two people in two browsers and a real `ssh`: asked, agreed, connected, watched, ended, replayed, proved.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { eventually, settled, signIn, startBrowser, startGate, visitor } from './gate.mjs';

let gate;
let browser;
before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await gate?.stop();
});

// covers: E9, F4 (portal)
test('Ana asks, Ben approves, she connects, Carla watches and ends it, and it can be replayed and proved', async () => {
  const [ana, ben, carla] = await Promise.all(['ana', 'ben', 'carla'].map((name) => signIn(browser, gate, name)));
  await ben.page.goto('/inbox');
  await ben.page.getByText('Nobody waits for you.').waitFor();

  // 1. Ana asks. Before she sends it, the page says what it will take; what she writes is text, whatever it looks like.
  const reason = 'checking a slow query <img src=x onerror=alert(1)> \u202eevil';
  await ana.page.getByRole('link', { name: 'Ask for access' }).click();
  await ana.page.getByLabel('Resource').selectOption('db-1');
  await ana.page.getByRole('radio', { name: /^shell/ }).check();
  await ana.page.getByText('Somebody has to agree').waitFor();
  await ana.page.getByText(/whoever is on call for payments/i).first().waitFor();
  assert.equal(await ana.page.getByRole('button', { name: 'Ask', exact: true }).isDisabled(), true, 'a reason is missing');
  await ana.page.getByLabel('Reason').fill(reason);
  await ana.page.getByRole('radio', { name: '30m' }).check();
  await ana.page.getByRole('button', { name: 'Ask', exact: true }).click();
  await ana.page.getByText('Who was asked').waitFor();

  // 2. It stands in Ben's inbox without his loading anything, and he agrees.
  await ben.page.getByRole('heading', { name: 'db-1 as shell' }).waitFor();
  assert.match(await ben.page.locator('main').innerText(), /checking a slow query <img src=x onerror=alert\(1\)> \\u\{202e\}evil/);
  await ben.page.getByLabel('Note').fill('go ahead');
  await ben.page.getByRole('button', { name: 'Approve' }).click();
  await ben.page.getByText('Nobody waits for you.').waitFor();

  // 3. Ana sees it at once, with the exact command.
  await ana.page.getByText('go ahead').waitFor();
  await ana.page.getByRole('link', { name: 'Home' }).click();
  const card = ana.page.getByRole('article', { name: /db-1 as shell/ });
  await card.getByText('The clock starts when you first connect').waitFor();
  const { host, port } = gate.facts.ssh;
  assert.equal(await card.locator('code').first().innerText(), `ssh -p ${port} db-1+shell@${host}`);

  // 4. She connects; the clock on her page starts, and Carla sees the session and watches it.
  const shell = gate.shell('ana', 'db-1+shell');
  shell.say('echo tide-$((40+2))\n');
  await shell.until('tide-42');
  await card.getByText(/left$/).waitFor();
  await carla.page.getByRole('link', { name: 'Sessions' }).click();
  await carla.page.getByRole('link', { name: /Ana.*on db-1 as shell/ }).click();
  await carla.page.getByRole('button', { name: 'Watch live' }).click();
  await carla.page.getByText('Waiting for what is shown next', { exact: false }).waitFor();
  await eventually('Carla sees what Ana sees', async () => {
    shell.say('echo seen-$((6*7))\n');
    return (await carla.page.locator('.xterm-rows').innerText()).includes('seen-42');
  });

  // 5. Carla ends it, and the target has confirmed that.
  await carla.page.getByRole('button', { name: 'End it' }).click();
  await carla.page.getByLabel('Reason').fill('drill');
  await carla.page.getByRole('dialog').getByRole('button', { name: 'End it' }).click();
  await shell.ended;
  await carla.page.getByText('Ended; the target has confirmed it.').waitFor();

  // 6. It is replayed: seek, search inside, and what was done.
  await carla.page.getByRole('button', { name: 'Stop watching' }).click();
  await carla.page.getByRole('button', { name: 'Replay', exact: true }).click();
  const seek = carla.page.getByLabel('Position');
  await seek.waitFor();
  await seek.fill(await seek.getAttribute('max'));
  await eventually('the replay shows the end', async () => (await carla.page.locator('.xterm-rows').innerText()).includes('seen-42'));
  await seek.fill('0');
  await eventually('and the beginning', async () => !(await carla.page.locator('.xterm-rows').innerText()).includes('seen-42'));
  await carla.page.getByLabel('Find in what was shown').fill('tide-42');
  await carla.page.getByText(/^\d+ places?$/).waitFor();
  await carla.page.locator('.hits button').first().click();
  await eventually('what was found is shown', async () => (await carla.page.locator('.xterm-rows').innerText()).includes('tide-42'));

  // 7. The evidence is taken away and holds without the gate.
  const [download] = await Promise.all([carla.page.waitForEvent('download'), carla.page.getByRole('button', { name: 'Download evidence' }).click()]);
  const file = join(gate.dir, 'proof.tar');
  await download.saveAs(file);
  const verified = execFileSync(gate.child.spawnfile, ['evidence', 'verify', file, '--key', gate.facts.checkpoint_verifier], { encoding: 'utf8' });
  assert.ok(verified.length > 0);

  for (const [name, { faults }] of Object.entries({ ana, ben, carla })) assert.deepEqual(faults, [], name);
});

// covers: PG-1 (portal, psql), MAY-6 (portal)
test('Ana asks for the orders, Ben approves on his phone, and the command on her page opens psql', { timeout: 300_000 }, async () => {
  const phone = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
  const [ana, ben] = await Promise.all([signIn(browser, gate, 'ana', { path: '/ask?resource=orders-db&role=readonly&reason=a+customer+asks' }), signIn(browser, gate, 'ben', { ...phone, path: '/inbox' })]);
  await ana.page.getByRole('button', { name: 'Ask', exact: true }).click();
  await ben.page.getByRole('heading', { name: 'orders-db as readonly' }).waitFor();
  await ben.page.getByRole('button', { name: 'Approve', exact: true }).tap();
  await ben.page.getByText('Nobody waits for you.').waitFor();
  await ana.page.getByRole('link', { name: 'Home' }).click();
  const card = ana.page.getByRole('article', { name: /orders-db as readonly/ });
  const command = await eventually('the command', async () => (await card.locator('code').allInnerTexts()).find((text) => text.startsWith('psql ')));
  const psql = (sql) => execFileSync('bash', ['-c', `${command} -X -A -t -c "$SQL"`], { encoding: 'utf8', env: { ...process.env, PGPASSWORD: gate.person('ana').token, PGCONNECT_TIMEOUT: '20', SQL: sql }, stdio: ['ignore', 'pipe', 'pipe'] });
  assert.match(psql('SELECT email FROM customers LIMIT 1'), /\*\*\*\*/);
  assert.throws(() => psql('SELECT card FROM payments'), /does not include this/);
  // The same command stands on the page of the grant.
  await card.getByRole('link', { name: 'orders-db as readonly', exact: true }).click();
  await ana.page.getByRole('heading', { name: 'What it takes' }).waitFor();
  assert.deepEqual((await ana.page.getByRole('article', { name: /orders-db as readonly/ }).locator('code').allInnerTexts()).filter((text) => /^(psql|ssh) /.test(text)), [command]);
  await ana.page.goBack();
  // Ben sees the clock run, and takes it back; psql gets in no more.
  const [grant] = (await gate.api('ana', 'GET', '/api/v1/grants?state=active')).items.filter((one) => one.resource === 'orders-db');
  await gate.api('carla', 'POST', `/api/v1/grants/${grant.id}/revoke`, { reason: 'drill' });
  await card.waitFor({ state: 'detached' });
  assert.throws(() => psql('SELECT 1'), /reason|grant|waits/i);
  for (const [name, { faults, context }] of Object.entries({ ana, ben })) {
    assert.deepEqual(faults, [], name);
    await context.close();
  }
});

// covers: ASK-6 (portal)
test('whoever decides reads on their phone what the role may do, and what was renounced of it', { timeout: 300_000 }, async () => {
  const limits = { read_only: true, tables: ['public.customers'] };
  const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'orders-db', role: 'readwrite', reason: 'a customer asks', limits });
  const { page, context, faults } = await signIn(browser, gate, 'dan', { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, path: '/inbox' });
  const card = page.getByRole('article', { name: 'orders-db as readwrite' });
  await card.getByText('read public.customers with email, phone masked').waitFor();
  await card.getByText('the tables public.customers').waitFor();
  await card.getByText('nothing that writes').waitFor();
  assert.doesNotMatch(await card.innerText(), /change|insert|delete/);
  await card.getByRole('button', { name: 'Approve', exact: true }).tap();
  await page.getByText('Nobody waits for you.').waitFor();
  const { grant } = await gate.api('ana', 'GET', `/api/v1/requests/${request.id}`);
  await page.goto(`/grants/${grant.id}`);
  await page.getByText('the tables public.customers').waitFor();
  await gate.api('ana', 'POST', `/api/v1/grants/${grant.id}/return`, {});
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: ASK-6 (portal)
test('Ana asks for less than her role, changes it before anybody agrees, and connects with a password of the grant', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ana', { path: '/ask?resource=orders-db&role=readwrite&reason=an+order+is+stuck' });
  await page.getByLabel('Only reading').check();
  await page.getByLabel('Only these tables').fill('public.order_lines, public.customers');
  await page.getByRole('button', { name: 'Ask', exact: true }).click();
  await page.getByText('Who was asked').waitFor();
  await page.getByText('the tables public.customers, public.order_lines').waitFor();
  await page.getByRole('button', { name: 'Change' }).click();
  await page.getByLabel('Only these tables').fill('public.orders');
  await page.getByLabel('How long').fill('20m');
  await page.getByRole('button', { name: 'Change it' }).click();
  await page.getByText('20m', { exact: true }).waitFor();
  const [asked] = (await gate.api('ana', 'GET', '/api/v1/requests?state=pending')).items;
  assert.deepEqual([asked.duration, asked.limits], ['20m', { read_only: true, tables: ['public.orders'] }]);
  const { grant } = await gate.api('ben', 'POST', `/api/v1/requests/${asked.id}/approve`, {});
  await page.goto(`/grants/${grant.id}`);
  const card = page.getByRole('article', { name: /orders-db as readwrite/ });
  await card.getByRole('button', { name: 'Make a password' }).click();
  await card.getByText('It opens this grant alone').waitFor();
  const lines = await card.locator('code').allInnerTexts();
  const [command, password] = [lines.find((text) => text.startsWith('psql ')), lines.at(-1)];
  const psql = (sql) => execFileSync('bash', ['-c', `${command} -X -A -t -c "$SQL"`], { encoding: 'utf8', env: { ...process.env, PGPASSWORD: password, PGCONNECT_TIMEOUT: '20', SQL: sql }, stdio: ['ignore', 'pipe', 'pipe'] });
  assert.match(psql('SELECT count(*) FROM orders'), /\d/);
  assert.throws(() => psql('SELECT count(*) FROM customers'), /does not include this|limited/);
  assert.throws(() => psql("UPDATE orders SET note = 'x'"), /does not include this|limited/);
  await gate.api('ana', 'POST', `/api/v1/grants/${grant.id}/return`, {});
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: A9, G4 (portal)
test('a link signs in once, and leads to what is to be done first', async () => {
  const invited = await gate.api('dan', 'POST', '/api/v1/users', { username: 'gina', display_name: 'Gina' });
  const first = await visitor(browser, gate);
  await first.page.goto(`/join#${invited.code}`);
  await first.page.getByRole('button', { name: 'Sign in with this link' }).click();
  await first.page.getByRole('heading', { name: 'Welcome, Gina' }).waitFor();
  assert.equal(new URL(first.page.url()).hash, '', 'the code stays in the address');
  const cookies = await first.context.cookies();
  assert.deepEqual(
    cookies.map(({ name, httpOnly, secure, sameSite, path }) => ({ name, httpOnly, secure, sameSite, path })),
    [{ name: '__Host-tide', httpOnly: true, secure: true, sameSite: 'Strict', path: '/' }],
  );
  const second = await visitor(browser, gate);
  await second.page.goto(`/join#${invited.code}`);
  await second.page.getByRole('button', { name: 'Sign in with this link' }).click();
  await second.page.getByText('This code is wrong, was used, or is too old.').waitFor();
  assert.deepEqual([...first.faults, ...second.faults], []);
});

test('a lock ends the pages that are open, and what comes next is the sign-in', async () => {
  const frank = await signIn(browser, gate, 'frank');
  await settled(frank.page);
  const lock = await gate.api('carla', 'POST', '/api/v1/locks', { scope: `person:${gate.person('frank').id}`, reason: 'drill' });
  await frank.page.getByRole('heading', { name: 'Sign in' }).waitFor({ timeout: 60_000 });
  await gate.api('carla', 'POST', `/api/v1/locks/${lock.lock.id}/lift`);
});

// covers: G4 (portal)
test('a page of another site can do nothing with the cookie', async () => {
  const ana = await signIn(browser, gate, 'ana');
  const other = await ana.context.newPage();
  // The same browser, another origin: another name for this machine.
  const elsewhere = gate.portal.replace('localhost', '127.0.0.1');
  await other.goto(elsewhere);
  const asked = await other.evaluate(async (url) => {
    const init = { method: 'POST', mode: 'no-cors', credentials: 'include', headers: { 'content-type': 'text/plain' }, body: '{"resource":"build-1","role":"shell"}' };
    try {
      await fetch(`${url}/api/v1/requests`, init);
    } catch (error) {
      return String(error);
    }
    return 'sent';
  }, gate.portal);
  const mine = await gate.api('ana', 'GET', '/api/v1/requests?limit=100');
  assert.equal(mine.items.some((request) => request.resource === 'build-1'), false, asked);
});
