// What keepers do by hand: replay and destroy a recording, erase a text, enter a way, give a directory its token, see who is on call, unlink an account.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { join } from 'node:path';
import { eventually, signIn, startBrowser, startGate } from './gate.mjs';

const stamp = (hours) => new Date(Date.now() + hours * 3_600_000).toISOString().replace(/[-:]|\.\d+/g, '');
const shift = (who) => `BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//rota//EN\r\nBEGIN:VEVENT\r\nUID:${who}\r\nDTSTAMP:${stamp(-2)}\r\nDTSTART:${stamp(-1)}\r\nDTEND:${stamp(6)}\r\nSUMMARY:${who}\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n`;
const SETTINGS = `
[[directory]]
name = "corp"
[directory.groups]
"Platform Team" = "platform"

[[identity_provider]]
name = "corp-login"
title = "Corp"
issuer = "https://login.corp.example"
client_id = "tidegate"

[[oncall]]
name = "rota"
kind = "icalendar"
refresh = "5s"
stale_after = "20s"
[[oncall.schedule]]
service = "shop"
file = "rota.ics"
[oncall.people]
"Ana" = "ana"
`;
let gate;
let browser;
before(async () => {
  browser = await startBrowser();
  gate = await startGate({
    settings: SETTINGS,
    files: { 'rota.ics': shift('Ana') },
    policy: { 'people.toml': '[[on_call]]\nname = "shop"\nsource = "rota"\nservice = "shop"\n' },
  });
});
after(async () => {
  await browser?.close();
  await gate?.stop();
});

/** A session of Ana's that is over: what it was, and its id. */
async function session(command) {
  await gate.grant('ana', 'db-1', 'shell', '1h');
  const before = (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended')).items.length;
  await gate.ssh('ana', 'db-1+shell', '-tt', command);
  return eventually('it has ended', async () => {
    const { items } = await gate.api('ana', 'GET', '/api/v1/sessions?state=ended');
    return items.length > before ? items[0].id : undefined;
  });
}

// covers: EV-4 (portal)
test('a replay goes as fast as it is told to, and shortens silences unless it is told not to', { timeout: 300_000 }, async () => {
  const id = await session("echo begun; sleep 6; echo done-$((6*7))");
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: `/sessions/${id}` });
  await page.getByRole('button', { name: 'Replay', exact: true }).click();
  const position = page.getByLabel('Position');
  await position.waitFor();
  const length = async () => Number(await position.getAttribute('max'));
  const at = async () => Number(await position.inputValue());
  const shown = async () => page.locator('.xterm-rows').innerText();
  const short = await length();
  await page.getByLabel('Shorten silences').uncheck();
  const whole = await length();
  assert.ok(whole >= 6 && short < whole - 2, `${short} of ${whole}`);
  // Eight times as fast: what took six seconds and more is over in one, or a few on a busy machine.
  await page.getByLabel('Speed').selectOption('8');
  const began = Date.now();
  await page.getByRole('button', { name: 'Play', exact: true }).click();
  await eventually('it has come to the end', async () => (await at()) >= whole - 0.001);
  const took = (Date.now() - began) / 1000;
  assert.ok(took >= whole / 8 - 0.2 && took < whole, `${whole} s in ${took} s`);
  await eventually('the end is shown', async () => (await shown()).includes('done-42'));
  await page.getByRole('button', { name: 'Play', exact: true }).waitFor();
  // Where it stands is the same moment, however long the silence before it is shown.
  await page.getByLabel('Shorten silences').check();
  await eventually('and still is', async () => (await at()) > short - 1 && (await at()) <= short);
  assert.match(await shown(), /done-42/);
  // It stops where it is told to.
  await position.fill('0');
  await page.getByLabel('Speed').selectOption('0.5');
  await page.getByRole('button', { name: 'Play', exact: true }).click();
  await eventually('it goes', async () => (await at()) > 0);
  await page.getByRole('button', { name: 'Pause', exact: true }).click();
  const stood = await at();
  await page.getByRole('button', { name: 'Play', exact: true }).waitFor();
  assert.equal(await at(), stood);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: EV-7 (hold, portal)
test('Carla destroys a recording when no hold keeps it, and nobody replays it any more', { timeout: 300_000 }, async () => {
  const id = await session('echo a customer of Ulm');
  const held = await gate.api('carla', 'POST', '/api/v1/holds', { scope: 'resource:db-1', reason: 'a claim, case 118' });
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: `/sessions/${id}` });
  await page.getByText('a claim, case 118').waitFor();
  await page.getByText('Kept by a legal hold').waitFor();
  const destroy = page.getByRole('button', { name: 'Destroy the recording' });
  assert.equal(await destroy.count(), 0);
  await gate.api('carla', 'POST', `/api/v1/holds/${held.id}/lift`, { reason: 'settled' });
  await destroy.click();
  await page.getByLabel('Reason').fill('the customer asked for it');
  await page.getByRole('button', { name: 'Destroy it' }).click();
  await page.getByText('nobody reads this recording any more', { exact: false }).waitFor();
  await page.getByRole('button', { name: 'Replay', exact: true }).click();
  await page.getByRole('alert').first().waitFor();
  assert.equal(await page.getByLabel('Position').count(), 0);
  await assert.rejects(gate.api('carla', 'POST', `/api/v1/sessions/${id}/recording/destroy`, { reason: 'again' }), /destroyed already/);
  assert.deepEqual(faults, []);
  await context.close();
  // Who may not is not offered it.
  const ana = await signIn(browser, gate, 'ana', { path: `/sessions/${id}` });
  await ana.page.getByRole('button', { name: 'Replay', exact: true }).waitFor();
  assert.equal(await ana.page.getByRole('button', { name: 'Destroy the recording' }).count(), 0);
  await ana.context.close();
});

// covers: EV-7 (portal)
test('Carla finds what was written of Ana, and erases a text of it', { timeout: 300_000 }, async () => {
  const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'ledger-1', role: 'debug', reason: 'Mrs Meier of Ulm called', ticket: 'FIN-88' });
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: `/people/${gate.person('ana').id}` });
  await page.getByRole('link', { name: 'What the log says' }).click();
  const entry = page.getByRole('listitem').filter({ hasText: 'Mrs Meier of Ulm called' });
  await entry.locator('summary').click();
  await entry.getByRole('button', { name: 'Erase the reason of request.submitted' }).click();
  await page.getByRole('textbox', { name: 'Reason' }).fill('she asked for it');
  await page.getByRole('button', { name: 'Erase it' }).click();
  await page.getByText('Erased, in the log and in the row where it stood.', { exact: false }).waitFor();
  await entry.waitFor({ state: 'detached' });
  assert.equal((await gate.api('ana', 'GET', `/api/v1/requests/${request.id}`)).reason, null);
  await gate.api('ana', 'POST', `/api/v1/requests/${request.id}/cancel`);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: BACK-3 (portal)
test('Dan enters a way that no list names, and is told when it is there already', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/inventory' });
  const enter = async () => {
    await page.getByRole('button', { name: 'Enter a way' }).click();
    await page.getByLabel('What it speaks').selectOption('vpn');
    await page.getByLabel(/^Where it leads/).fill('vendor-vpn.internal:443');
    await page.getByLabel(/^Who can use it/).fill('Pumps & Valves Ltd');
    await page.getByLabel('It opens by').selectOption('password');
    await page.getByLabel('Whose it is').selectOption('shared');
    await page.getByLabel(/^What else is worth knowing/).fill('nobody has seen it used');
    await page.getByRole('button', { name: 'Enter it' }).click();
  };
  await enter();
  const way = page.getByRole('list', { name: 'Ways that are open' }).getByRole('listitem').filter({ hasText: 'vendor-vpn.internal' });
  await way.getByText('Pumps & Valves Ltd').waitFor();
  await way.getByText('a password').waitFor();
  await way.getByText('nobody has seen it used').waitFor();
  await enter();
  await page.getByRole('dialog').getByText('it is there as', { exact: false }).waitFor();
  await page.getByRole('button', { name: 'Cancel' }).click();
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: WHO-3 (portal)
test('a directory speaks by the token that Dan makes for it, until he takes that away', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/people' });
  const directory = page.getByRole('list', { name: 'Directories' }).getByRole('listitem');
  await directory.getByText('It has no token that works', { exact: false }).waitFor();
  await page.getByRole('button', { name: 'Make a token for corp' }).click();
  await page.getByLabel(/^What it is for/).fill('okta');
  await page.getByLabel('How long it works').fill('soon');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByText('That is no length of time.').waitFor();
  await page.getByLabel('How long it works').fill('30d');
  await page.getByRole('button', { name: 'Make it' }).click();
  await page.getByText('This is the token of corp.').waitFor();
  const token = await page.locator('.copy code').innerText();
  const asks = () => fetch(`${gate.facts.api}/scim/v2/Users`, { headers: { authorization: `Bearer ${token}` } });
  assert.equal((await asks()).status, 200);
  await page.getByRole('button', { name: 'Done' }).click();
  await directory.getByText('okta').waitFor();
  assert.equal(await directory.getByText('It has no token that works', { exact: false }).count(), 0);
  await directory.getByRole('button', { name: 'Take away the token okta of corp' }).click();
  await page.getByRole('button', { name: 'Take away', exact: true }).click();
  await directory.getByText('It has no token that works', { exact: false }).waitFor();
  assert.equal((await asks()).status, 401);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: OK-6 (portal)
test('the page says who is on call, how fresh that is, and when it is not known', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'eve');
  await page.getByRole('link', { name: 'On call', exact: true }).click();
  const schedule = (name) => page.getByRole('list', { name: 'Schedules' }).locator('> li').filter({ has: page.getByRole('heading', { name, exact: true }) });
  await schedule('payments').getByText('ben', { exact: true }).waitFor();
  await schedule('payments').getByText('Kept in the policy itself.').waitFor();
  await schedule('shop').getByText('ana', { exact: true }).waitFor();
  await schedule('shop').getByText('Kept in rota, service shop', { exact: false }).waitFor();
  await schedule('shop').getByText('that counts until', { exact: false }).waitFor();
  // The calendar is gone: what it said last counts for a while, and then nobody is.
  rmSync(join(gate.home, 'rota.ics'));
  await schedule('shop').getByText('not known', { exact: true }).waitFor({ timeout: 60_000 });
  await schedule('shop').getByText('Nobody counts as on call', { exact: false }).waitFor();
  assert.equal(await schedule('shop').getByText('ana', { exact: true }).count(), 0);
  writeFileSync(join(gate.home, 'rota.ics'), shift('Ana'));
  await schedule('shop').getByText('ana', { exact: true }).waitFor({ timeout: 60_000 });
  assert.deepEqual(faults, []);
  await context.close();
  // A contractor is told of none.
  const frank = await signIn(browser, gate, 'frank', { path: '/oncall' });
  await frank.page.getByText('No schedule is shown to you', { exact: false }).waitFor();
  await frank.context.close();
});

// covers: WHO-1 (portal)
test('an account at a provider is linked and taken away, the last way in not without a word', { timeout: 300_000 }, async () => {
  const invited = await gate.api('dan', 'POST', '/api/v1/users', { username: 'gina', display_name: 'Gina' });
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: `/people/${invited.user.id}` });
  await page.getByRole('button', { name: 'Link an account' }).click();
  await page.getByLabel(/^Subject there/).fill('00u-gina');
  await page.getByRole('button', { name: 'Link it' }).click();
  const account = page.getByRole('listitem').filter({ hasText: '00u-gina' });
  await account.getByText('https://login.corp.example', { exact: false }).waitFor();
  await account.getByRole('button', { name: 'Unlink the account 00u-gina' }).click();
  await page.getByRole('button', { name: 'Unlink', exact: true }).click();
  await page.getByText('Nothing else signs them in.', { exact: false }).waitFor();
  await page.getByRole('button', { name: 'Unlink it all the same' }).click();
  await account.waitFor({ state: 'detached' });
  assert.deepEqual((await gate.api('dan', 'GET', `/api/v1/users/${invited.user.id}/identities`)).items, []);
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: BACK-1 (portal), GRANT-9 (portal)
test('Carla looks back at an emergency, and what is to be done then is read afterwards by whom it is about', { timeout: 300_000 }, async () => {
  await gate.api('ben', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', reason: 'checkout is down', break_glass: true, activate: true });
  const ben = await signIn(browser, gate, 'ben', { path: '/inbox' });
  await ben.page.getByText('about you: others answer it').waitFor();
  assert.equal(await ben.page.getByRole('button', { name: /^Review:/ }).count(), 0);

  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: '/inbox' });
  const card = page.getByRole('article').filter({ hasText: 'web-1 as shell' });
  await card.getByRole('button', { name: /^Review: Emergency access of/ }).click();
  const question = page.getByRole('dialog', { name: 'Was it justified?' });
  await question.getByRole('radio', { name: 'Not justified' }).check();
  // That takes a word, or something to do.
  await question.getByRole('button', { name: 'Enter the review' }).click();
  await question.getByRole('alert').waitFor();
  assert.equal((await gate.api('carla', 'GET', '/api/v1/reviews?state=open&kind=break_glass')).items.length, 1);
  await question.getByLabel(/^What is to be done now/).fill('rotate the deploy key\n\n talk to Ben <b>');
  await question.getByRole('button', { name: 'Enter the review' }).click();
  await card.waitFor({ state: 'detached' });
  const [done] = (await gate.api('carla', 'GET', '/api/v1/reviews?state=done')).items;
  assert.deepEqual([done.outcome, done.follow_ups, done.done_by.username], ['not_justified', ['rotate the deploy key', 'talk to Ben <b>'], 'carla']);

  for (const reader of [page, ben.page]) {
    await reader.getByText('Answered reviews', { exact: true }).click();
    const answered = reader.getByRole('list', { name: 'Answered reviews' });
    await answered.getByText('not justified', { exact: true }).waitFor();
    await answered.getByText('rotate the deploy key', { exact: true }).waitFor();
    await answered.getByText('talk to Ben <b>', { exact: true }).waitFor();
  }
  assert.deepEqual([...faults, ...ben.faults], []);
  await Promise.all([context.close(), ben.context.close()]);
});

// covers: BACK-2 (portal)
test('Carla has the owner of a machine asked about a right without an end, once', { timeout: 300_000 }, async () => {
  await gate.api('deploy-bot', 'POST', '/api/v1/requests', { resource: 'build-1', role: 'deploy', duration: 'standing', activate: true });
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: '/inbox' });
  const campaign = async () => {
    await page.getByRole('button', { name: 'Ask about rights without an end' }).click();
    await page.getByLabel('Days to answer').fill('7');
    await page.getByRole('button', { name: 'Ask their owners' }).click();
  };
  await campaign();
  await page.getByText('Asked about 1 right.', { exact: true }).waitFor();
  const [review] = (await gate.api('carla', 'GET', '/api/v1/reviews?state=open&kind=standing')).items;
  assert.deepEqual([review.resource, review.role, review.person.username, review.reviewers], ['build-1', 'deploy', 'deploy-bot', 'platform']);
  const card = page.getByRole('article').filter({ hasText: 'build-1 as deploy' });
  await card.getByText('What nobody keeps by then is taken away.', { exact: false }).waitFor();
  await campaign();
  await page.getByText('There is no right without an end to ask about. 1 right had been asked about already.').waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: BACK-5 (portal)
test('each number of the measures is what the API says, and leads to the entries of its time', { timeout: 300_000 }, async () => {
  await session('echo counted');
  const counted = await eventually('all of the log is counted', async () => {
    const ended = (await gate.api('eve', 'GET', '/api/v1/audit/entries?event=session.ended&limit=500')).items.length;
    const found = await gate.api('eve', 'GET', '/api/v1/measures?by=day');
    return ended > 0 && found.total.complete_audit.of === ended ? found : undefined;
  });
  const { part, of } = counted.total.complete_audit;
  const { page, context, faults } = await signIn(browser, gate, 'eve', { path: '/measures?by=day' });
  const measure = page.getByRole('region', { name: 'Complete audit metadata' });
  await measure.getByText(`${part} of ${of} session`, { exact: false }).waitFor();
  const entries = page.locator('main details');
  const behind = async () => {
    await page.getByRole('heading', { name: 'Audit' }).waitFor();
    await eventually('the entries are there', async () => (await entries.count()) === of);
    assert.deepEqual(new Set(await page.locator('main summary code').allInnerTexts()), new Set(['session.ended']));
  };
  await measure.getByRole('link', { name: 'session.ended' }).click();
  await behind();
  // Of a day that is over, there are none of today's.
  await page.goBack();
  await page.getByText('All numbers', { exact: true }).click();
  const today = counted.periods.at(-1);
  const share = page.getByRole('link', { name: /^Complete audit metadata, / }).first();
  await share.waitFor();
  if (today.complete_audit.of === of) {
    await share.click();
    await behind();
  }
  const before = new URLSearchParams({ event: 'session.ended', until: `${counted.total.from}T00:00:00Z` });
  await page.goto(`/audit?${before}`);
  await page.getByText('No entry answers to that.').waitFor();
  assert.notEqual(await page.getByLabel('Until').inputValue(), '');
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: BACK-6 (portal, cli)
test('a path that is nearly always denied is named, with a change of the policy that can be read, and put in', { timeout: 300_000 }, async () => {
  for (let n = 0; n < 20; n += 1) {
    const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'ledger-1', role: 'debug', reason: 'just looking', ticket: `FIN-${n}` });
    await gate.api('ben', 'POST', `/api/v1/requests/${request.id}/deny`, { note: 'ask for what you need' });
  }
  await eventually('all of that is counted', async () => (await gate.api('dan', 'GET', '/api/v1/policy/noisy')).items.some((one) => one.policy === 'payments-on-the-ledger'));
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/policy' });
  const noisy = page.getByRole('article').filter({ hasText: 'payments-on-the-ledger' });
  await noisy.getByText('denied nearly always', { exact: true }).waitFor();
  await noisy.getByText('were denied: take it out', { exact: false }).waitFor();
  await noisy.locator('summary').click();
  await noisy.locator('.line.gone').getByText('@id("payments-on-the-ledger")').waitFor();
  assert.equal(await noisy.locator('.line.new').count(), 0);
  // The same by command, as a diff that fits the directory in force.
  const env = { ...process.env, TIDEGATE_URL: gate.facts.api, TIDEGATE_TOKEN: gate.person('dan').token };
  const diff = execFileSync(gate.child.spawnfile, ['policy', 'noisy', '--diff', 'payments-on-the-ledger'], { env, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
  const file = join(gate.dir, 'noisy.diff');
  writeFileSync(file, diff);
  execFileSync('git', ['apply', '--check', '-p1', file], { cwd: join(gate.home, 'policy'), stdio: 'pipe' });
  assert.match(diff, /^-@id\("payments-on-the-ledger"\)$/m);
  assert.deepEqual(faults, []);
  await context.close();
});

test('what a page is asked for first is asked once', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ben');
  for (const path of ['/', '/inbox']) {
    const asked = [];
    const note = (request) => request.method() === 'GET' && !request.headers()['x-tidegate-background'] && asked.push(new URL(request.url()).pathname + new URL(request.url()).search);
    page.on('request', note);
    await page.goto(path);
    await page.locator('main h1').waitFor();
    await eventually('the page is there', async () => (await page.locator('.bone').count()) === 0 && asked.some((url) => url.startsWith('/api/v1/requests')));
    page.off('request', note);
    const twice = asked.filter((url, i) => url.startsWith('/api/') && asked.indexOf(url) !== i);
    assert.deepEqual(twice, [], `${path}: ${asked.join(' ')}`);
  }
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: EV-7 (hold, portal)
test('Carla erases what is kept of somebody who has left, once no hold keeps it', { timeout: 300_000 }, async () => {
  const { user } = await gate.api('dan', 'POST', '/api/v1/users', { username: 'gone-1', display_name: 'Gesine Gone' });
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: `/people/${user.id}` });
  const erase = page.getByRole('button', { name: 'Erase', exact: true });
  await page.getByRole('heading', { name: 'Gesine Gone' }).waitFor();
  assert.equal(await erase.count(), 0, 'she may sign in');
  const held = await gate.api('carla', 'POST', '/api/v1/holds', { scope: `person:${user.id}`, reason: 'a claim, case 119' });
  await gate.api('dan', 'POST', `/api/v1/users/${user.id}/disable`, { reason: 'left' });
  await page.reload();
  await page.getByText('a claim, case 119').waitFor();
  assert.equal(await erase.count(), 0, 'a hold keeps it');
  await gate.api('carla', 'POST', `/api/v1/holds/${held.id}/lift`, { reason: 'settled' });
  await page.reload();
  await erase.click();
  await page.getByLabel('Reason').fill('she asked for it');
  await page.getByRole('button', { name: 'Erase it for good' }).click();
  await page.getByText('Erased:', { exact: false }).waitFor();
  await page.getByRole('heading', { name: 'gone-1' }).waitFor();
  assert.equal((await gate.api('carla', 'GET', `/api/v1/users/${user.id}`)).display_name ?? null, null);
  assert.deepEqual(faults, []);
  await context.close();
});
