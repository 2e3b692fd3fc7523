// What those do who keep the gate: ways beside it, drift, the rollout, what auditors ask for, a collector that is away, mail, a stolen laptop.
import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { eventually, signIn, startBrowser, startGate, visit, visitor } from './gate.mjs';
import { SECRET, startEndpoint, startMailServer, streamTo, webhookTo } from './outside.mjs';

const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIILVuHvSEZnVnFZHgp0wBJrIyIbmO0Mg0nSrb4B7L8AD';
const PHONE = { viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true };
let gate;
let browser;
let mails;
let collector;
let board;
before(async () => {
  [mails, collector, board, browser] = await Promise.all([startMailServer(), startEndpoint(200), startEndpoint(410), startBrowser()]);
  const settings = [mails.settings, streamTo('siem', collector), webhookTo('board', board)].join('\n');
  gate = await startGate({ settings, files: { hook: SECRET } });
});
after(async () => {
  await browser?.close();
  await gate?.stop();
  await Promise.all([mails, collector, board].map((one) => one?.stop()));
});

const text = async (locator) => (await locator.innerText()).replace(/\s+/g, ' ');

// covers: BACK-3 (portal)
test('Dan brings in what Ana connects to by herself, and works it off', { timeout: 300_000 }, async () => {
  const port = /^Port (\d+)/m.exec(readFileSync(join(gate.home, 'target', 'sshd_config'), 'utf8'))[1];
  const config = `Host old\n  HostName 10.9.9.9\n  User root\n  IdentityFile ~/.ssh/id_rsa\nHost jump\n  HostName bastion.internal\n  User ana\nHost db\n  HostName 127.0.0.1\n  Port ${port}\n`;
  const { page, context, faults } = await signIn(browser, gate, 'dan');
  await page.getByRole('link', { name: 'Inventory', exact: true }).click();
  await page.getByText('No list was imported yet', { exact: false }).waitFor();
  const bring = async (content) => {
    await page.getByRole('button', { name: 'Import a list' }).click();
    await page.getByLabel('File', { exact: true }).setInputFiles({ name: 'config', mimeType: 'text/plain', buffer: Buffer.from(content) });
    await page.getByLabel(/^Whose file it is/).fill('ana');
    await page.getByRole('button', { name: 'Import', exact: true }).click();
  };
  // All or nothing, and with the line that is wrong.
  await bring('Host "old\n');
  await page.getByRole('dialog').getByText('line 1: a quote is not closed here', { exact: false }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await bring(config);
  await page.getByText(/^ssh-config\.ana names 3 ways: 3 new, 1 inside the gate\.$/).waitFor();
  const open = page.getByRole('list', { name: 'Ways that are open' });
  const old = open.getByRole('listitem').filter({ hasText: '10.9.9.9:22' });
  await old.getByRole('link', { name: 'Ana (payments)' }).waitFor();
  await old.getByText('shared', { exact: true }).waitFor();
  assert.equal(await open.getByRole('listitem').count(), 2);
  await old.getByRole('button', { name: 'Close the way to 10.9.9.9:22' }).click();
  await page.getByLabel('Reason').fill('the machine is gone <b>for good</b>');
  await page.getByRole('button', { name: 'It is closed' }).click();
  await old.waitFor({ state: 'detached' });
  await page.getByText('1 outside the gate; 1 taken in, 0 accepted until a date, 1 closed').waitFor();
  await open.getByRole('button', { name: 'Accept the way to bastion.internal:22' }).click();
  await page.getByLabel('Reason').fill('until the new bastion stands');
  await page.getByLabel(/^Until/).fill(new Date(Date.now() + 30 * 86_400_000).toISOString().slice(0, 10));
  await page.getByRole('button', { name: 'Accept it' }).click();
  await page.getByText('No way that is known stands outside the gate.').waitFor();
  await page.getByRole('radio', { name: /^closed/ }).check();
  await page.getByText('the machine is gone <b>for good</b>').waitFor();
  await page.getByRole('radio', { name: /^taken in/ }).check();
  await page.getByRole('link', { name: /^(db|web|build|ledger)-1$/ }).waitFor();
  // A later version that still names it opens it again.
  await page.getByRole('radio', { name: /^open/ }).check();
  await bring(config);
  await page.getByText('ssh-config.ana is what it was when it was read last; nothing changed.').waitFor();
  await bring(`${config}Host new\n  HostName 10.9.9.10\n`);
  await page.getByText(/^ssh-config\.ana names 4 ways: 1 new, 1 open again/).waitFor();
  await old.waitFor();
  assert.deepEqual(faults, []);
  await context.close();

  const ana = await signIn(browser, gate, 'ana', { path: '/inventory' });
  await ana.page.getByText('You may not see the inventory.').waitFor();
  assert.equal(await ana.page.getByRole('link', { name: 'Inventory' }).count(), 0);
  await ana.context.close();
});

// covers: BACK-4 (portal)
test('an authority that a target trusts besides is found, accepted, and mended when it is gone', { timeout: 300_000 }, async () => {
  const file = join(gate.home, 'target', 'user_ca.pub');
  const trusted = readFileSync(file, 'utf8');
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/inventory?of=drift' });
  await page.getByText('No target was looked at yet.').waitFor();
  const look = async () => {
    await page.getByLabel('Look at').selectOption('db-1');
    await page.getByRole('button', { name: 'Look now' }).click();
    await page.getByText(/findings? on db-1: \d+ new, \d+ mended\./).last().waitFor();
  };
  await look();
  const found = page.getByRole('listitem').filter({ hasText: 'trusted authority' });
  const { items: first } = await gate.api('dan', 'GET', '/api/v1/inventory/findings?state=open&limit=200');
  assert.equal(first.filter((one) => one.kind === 'trusted_authority').length, 0, "the gate's own authority is none");
  appendFileSync(file, `${KEY} from before\n`);
  await look();
  await found.getByText('whatever this authority signs is let in', { exact: false }).waitFor();
  await found.getByRole('button', { name: /^Accept SHA256:/ }).click();
  await page.getByLabel('Reason').fill('goes with the old bastion');
  await page.getByRole('button', { name: 'Accept it' }).click();
  await found.waitFor({ state: 'detached' });
  await page.getByRole('radio', { name: 'accepted' }).check();
  await found.getByText('goes with the old bastion').waitFor();
  writeFileSync(file, trusted);
  await look();
  await found.waitFor({ state: 'detached' });
  await page.getByRole('radio', { name: 'mended' }).check();
  await found.waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: RUN-8 (portal)
test('a tier that is only observed says so, lets through and counts, until it is enforced', { timeout: 300_000 }, async () => {
  const file = join(gate.home, 'policy', 'tiers.toml');
  const enforced = readFileSync(file, 'utf8');
  const day = (days) => new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
  const wish = { resource: 'db-1', role: 'shell', duration: '30m', reason: 'looking around' };
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/rollout' });
  await page.getByText('3 of 3 tiers block', { exact: false }).waitFor();
  const notice = page.getByText(/The tier prod is only observed until/);
  assert.equal(await notice.count(), 0);
  await assert.rejects(gate.api('eve', 'POST', '/api/v1/requests', wish), /: 404 .*unknown_resource/);
  try {
    writeFileSync(file, enforced.replace('name = "prod"\n', `name = "prod"\nobserve = { from = "${day(-1)}", until = "${day(30)}" }\n`));
    gate.reload();
    // A policy is read, compared and decided by anew: on a busy machine that takes its time.
    await notice.waitFor({ timeout: 60_000 });
    await page.getByText('2 of 3 tiers block', { exact: false }).waitFor();
    assert.ok((await gate.api('eve', 'POST', '/api/v1/requests', wish)).grant);
    assert.match(await gate.ssh('eve', 'db-1+shell', 'echo observed'), /observed/);
    await page.getByText(/1 session since .* was let through by a tier that was only observed/).waitFor();
  } finally {
    writeFileSync(file, enforced);
    gate.reload();
  }
  await notice.waitFor({ state: 'detached', timeout: 60_000 });
  await page.getByText('3 of 3 tiers block', { exact: false }).waitFor();
  await assert.rejects(gate.ssh('eve', 'db-1+shell', 'echo observed'));
  await page.getByRole('link', { name: '1 session' }).click();
  await page.getByText('session.observed', { exact: true }).waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: EV-8 (portal)
test('each control leads to the rows that its answers count', { timeout: 300_000 }, async () => {
  await gate.grant('ana', 'db-1', 'logs', '30m');
  const { page, context, faults } = await signIn(browser, gate, 'carla');
  await page.getByRole('link', { name: 'Compliance', exact: true }).click();
  const control = (id) => page.getByRole('region', { name: new RegExp(`SOC 2 ${id.replace('.', '\\.')} `) });
  await control('CC6.2').locator('summary').click();
  const votes = control('CC6.2').getByRole('listitem').filter({ hasText: 'people decided' });
  const count = Number(/^(\d+)/.exec(await text(votes))[1]);
  assert.ok(count > 0);
  await votes.getByRole('link', { name: /^Look/ }).click();
  await page.getByRole('heading', { name: 'Audit' }).waitFor();
  await eventually('the rows are there', async () => (await page.locator('main details').count()) === count);
  assert.deepEqual(new Set(await page.locator('main summary code').allInnerTexts()), new Set(['request.voted']));
  await page.goBack();
  await control('CC6.6').locator('summary').click();
  // What happens shows by itself, and what is not well is marked.
  const locks = control('CC6.6').getByRole('listitem').filter({ hasText: /locks? holds?/ });
  await locks.getByText('0 locks hold', { exact: false }).first().waitFor();
  const { lock } = await gate.api('carla', 'POST', '/api/v1/locks', { scope: 'resource:web-1', reason: 'a drill' });
  await locks.getByText('1 lock holds', { exact: false }).first().waitFor();
  await locks.getByRole('link', { name: /^Look/ }).click();
  await page.getByRole('listitem').filter({ hasText: 'a drill' }).getByRole('link', { name: 'web-1' }).waitFor();
  await gate.api('carla', 'POST', `/api/v1/locks/${lock.id}/lift`);
  assert.deepEqual(faults, []);
  await context.close();
  const ana = await signIn(browser, gate, 'ana', { path: '/compliance' });
  await ana.page.getByText('You may not see the controls.').waitFor();
  await ana.context.close();
});

// covers: EV-7 (hold, portal)
test('what is held cannot be erased before the hold is lifted', { timeout: 300_000 }, async () => {
  const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'ledger-1', role: 'debug', reason: 'the customer Meier of Ulm', ticket: 'FIN-88' });
  const [entry] = (await gate.api('carla', 'GET', `/api/v1/audit/entries?event=request.submitted&about=${request.id}`)).items;
  const erase = () => gate.api('carla', 'POST', `/api/v1/audit/entries/${entry.id}/erase`, { text: 'reason', reason: 'he asked for it' });
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: '/compliance?view=holds' });
  await page.getByText('Nothing is held.').waitFor();
  await page.getByRole('button', { name: 'Set a legal hold' }).click();
  await page.getByLabel('Name of the person or machine').fill('nobody');
  await page.getByLabel('Reason').fill('a claim, case 117');
  await page.getByRole('button', { name: 'Keep it' }).click();
  await page.getByText('Nobody is called that.').waitFor();
  await page.getByLabel('Name of the person or machine').fill('ana');
  await page.getByRole('button', { name: 'Keep it' }).click();
  const hold = page.getByRole('list', { name: 'Legal holds' }).getByRole('listitem');
  await hold.getByText('a claim, case 117').waitFor();
  await hold.getByRole('link', { name: 'Ana (payments)' }).waitFor();
  await assert.rejects(erase(), /hold/);
  await hold.getByRole('button', { name: 'Lift the hold on Ana (payments)' }).click();
  await page.getByLabel('Reason').fill('settled');
  await page.getByRole('button', { name: 'Lift', exact: true }).click();
  await page.getByText('Nothing is held.').waitFor();
  await erase();
  await page.getByRole('radio', { name: 'lifted ones too' }).check();
  await hold.getByText('lifted', { exact: true }).waitFor();
  await gate.api('ana', 'POST', `/api/v1/requests/${request.id}/cancel`);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: EV-6 (portal)
test('a collector that is away is seen with how much waits, and what was given up is sent again', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/outbox' });
  const siem = page.getByRole('list', { name: 'Streams' }).getByRole('listitem').filter({ hasText: 'siem' });
  await siem.getByText('up to date').waitFor({ timeout: 30_000 });
  collector.status = 503;
  const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', reason: 'leaks memory', ticket: 'INC-7' });
  await siem.getByText('takes nothing').waitFor({ timeout: 30_000 });
  await siem.getByText('it answered with HTTP 503').waitFor();
  const waits = Number(/(\d+) (?:entry waits|entries wait)/.exec(await text(siem))?.[1] ?? 0);
  assert.ok(waits > 0, await text(siem));
  collector.status = 200;
  await siem.getByText('up to date').waitFor({ timeout: 30_000 });
  await siem.getByText('No entry waits').waitFor();
  // The board was gone for good when it was told.
  const given = page.getByRole('list', { name: 'Messages' }).getByRole('listitem').filter({ hasText: 'webhook:board' });
  await given.first().getByText('HTTP 410', { exact: false }).waitFor();
  const before = await given.count();
  board.status = 200;
  await given.first().getByRole('button', { name: /^Send again: request\./ }).click();
  await eventually('it was taken', () => board.taken === 1);
  await eventually('and is no longer among those', async () => (await given.count()) === before - 1);
  await gate.api('ana', 'POST', `/api/v1/requests/${request.id}/cancel`);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: OK-5 (mail, portal), C4 (mail, portal), MAY-9 (portal)
test('Ben names his mailbox, and decides by the link of a mail on a phone where nobody is signed in', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ben', { path: '/account' });
  await page.getByLabel('Address').fill('ben@tide.example');
  await page.getByRole('button', { name: 'Send a link there' }).click();
  await page.getByText('A link is on its way to ben@tide.example.', { exact: false }).waitFor();
  await visit(page, `/mailbox#${await mails.code('ben@tide.example', 'mailbox')}`);
  await page.getByRole('button', { name: 'Yes, it is mine' }).click();
  await page.getByText('ben@tide.example is yours here.', { exact: false }).waitFor();
  assert.equal(new URL(page.url()).hash, '', 'the code stays in the address');
  await page.getByRole('link', { name: 'account', exact: true }).click();
  await page.getByRole('listitem').filter({ hasText: 'ben@tide.example' }).waitFor();

  const asked = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', duration: '1h', reason: 'a <b>bold</b> reason', ticket: 'INC-9' })).request;
  // In the inbox, what is unusual about it stands in words.
  assert.ok(asked.risk.says.length > 0);
  await page.getByRole('link', { name: /^Inbox/ }).click();
  const card = page.getByRole('article', { name: 'web-1 as shell' });
  for (const says of asked.risk.says) await card.getByText(says).waitFor();
  const link = `/decide#${await mails.code('ben@tide.example', 'decide')}`;
  const phone = await visitor(browser, gate, PHONE);
  await visit(phone.page, link);
  await phone.page.getByRole('heading', { name: 'Ana (payments) asks for shell on web-1' }).waitFor();
  await phone.page.getByText('a <b>bold</b> reason').waitFor();
  // Opening it decided nothing; a no without a reason neither.
  await phone.page.getByRole('button', { name: 'Deny' }).tap();
  await phone.page.getByText('Say why not.').waitFor();
  assert.equal((await gate.api('ana', 'GET', `/api/v1/requests/${asked.id}`)).state, 'pending');
  await phone.page.getByLabel(/^Note/).fill('go ahead');
  await phone.page.getByRole('button', { name: 'Approve' }).tap();
  await phone.page.getByRole('heading', { name: /^Approved by Ben/ }).waitFor();
  assert.equal((await gate.api('ana', 'GET', `/api/v1/requests/${asked.id}`)).state, 'approved');
  await card.waitFor({ state: 'detached' });
  // Once.
  await visit(phone.page, link);
  await phone.page.getByRole('heading', { name: 'This link does not count' }).waitFor();
  assert.deepEqual([...faults, ...phone.faults], []);
  await Promise.all([context.close(), phone.context.close()]);
});

// covers: MAY-9 (contain, portal)
test('Carla shuts everything of Frank from his page, and lifting it brings nothing back', { timeout: 300_000 }, async () => {
  await gate.grant('frank', 'build-1', 'shell', '1h');
  const shell = gate.shell('frank', 'build-1+shell');
  shell.say('echo inside-$((40+2))\n');
  await shell.until('inside-42');
  const frank = await signIn(browser, gate, 'frank');
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: `/people/${gate.person('frank').id}` });
  await page.getByRole('button', { name: 'Contain', exact: true }).click();
  await page.getByLabel('Reason').fill('his laptop was stolen');
  await page.getByRole('dialog').getByRole('button', { name: 'Contain', exact: true }).click();
  await shell.ended;
  await page.getByText(/^Contained in \d+\.\d\d s: 1 session cut, 1 grant revoked, 0 requests denied\./).waitFor();
  await page.getByText(/Contained since .*: his laptop was stolen/).waitFor();
  await frank.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await assert.rejects(gate.api('frank', 'GET', '/api/v1/me'), /: 401 /);
  await page.getByRole('button', { name: 'Lift the containment' }).click();
  await page.getByLabel('Reason').fill('it was found');
  await page.getByRole('button', { name: 'Lift', exact: true }).click();
  await page.getByText(/Contained since/).waitFor({ state: 'detached' });
  assert.deepEqual((await gate.api('carla', 'GET', '/api/v1/locks')).items, []);
  await assert.rejects(gate.api('frank', 'GET', '/api/v1/me'), /: 401 /);
  assert.deepEqual(faults, []);
  await Promise.all([context.close(), frank.context.close()]);
});
