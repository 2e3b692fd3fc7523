// What goes wrong in a browser: clicked twice, two tabs, the way back, a line that is gone for a while, what is not there any more, hostile names.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, settled, signIn, startBrowser, startGate, visitor } from './gate.mjs';

let gate;
let browser;
before(async () => ([gate, browser] = await Promise.all([startGate(), startBrowser()])));
after(async () => {
  await browser?.close();
  await gate?.stop();
});

const pending = async (name) => (await gate.api(name, 'GET', '/api/v1/requests?state=pending')).items;
const entries = async (event) => (await gate.api('eve', 'GET', `/api/v1/audit/entries?event=${event}`)).items;

test('a list is read once when its page is opened, and again when something happened that concerns it', { timeout: 300_000 }, async () => {
  const { context: signedIn } = await signIn(browser, gate, 'carla');
  const storageState = await signedIn.storageState();
  await signedIn.close();
  for (const path of ['/', '/inbox', '/requests?of=all', '/sessions', '/locks', '/people', '/resources', '/policy', '/audit', '/oncall']) {
    const { page, context, faults } = await visitor(browser, gate, { storageState });
    await page.clock.install();
    const read = [];
    page.on('request', (request) => {
      const { pathname, search } = new URL(request.url());
      if (pathname.startsWith('/api/v1/')) read.push(pathname + search);
    });
    await page.goto(path);
    await settled(page);
    await page.getByRole('navigation', { name: 'Portal' }).getByText(', live').waitFor({ state: 'attached' });
    // Whatever waits to be read again is read now.
    await page.clock.runFor(5_000);
    await page.evaluate(() => undefined);
    assert.deepEqual(read.filter((one, i) => read.indexOf(one) !== i), [], `${path} reads these more than once`);
    if (path === '/locks') {
      // It is read again when something happened.
      const { lock } = await gate.api('carla', 'POST', '/api/v1/locks', { scope: 'network:203.0.113.0/24', reason: 'nobody is there' });
      await page.getByText('nobody is there').waitFor();
      await gate.api('carla', 'POST', `/api/v1/locks/${lock.id}/lift`, {});
    }
    assert.deepEqual(faults, []);
    await context.close();
  }
});

test('what somebody pinned stands first, in every browser of theirs', { timeout: 300_000 }, async () => {
  const here = await signIn(browser, gate, 'ana');
  const first = (page) => page.locator('main .resources h3').first();
  await eventually('they stand by name', async () => (await first(here.page).innerText()) === 'build-1');
  const pinned = here.page.waitForResponse((answer) => answer.url().endsWith('/api/v1/me/pins/web-1'));
  await here.page.getByRole('button', { name: 'Pin web-1' }).click();
  assert.equal(await first(here.page).innerText(), 'web-1');
  assert.equal((await pinned).status(), 204);
  const there = await signIn(browser, gate, 'ana');
  await eventually('it stands first there, too', async () => (await first(there.page).innerText()) === 'web-1');
  await there.page.getByRole('button', { name: 'Pin web-1', pressed: true }).click();
  await there.page.getByRole('button', { name: 'Pin web-1', pressed: false }).waitFor();

  // What the gate does not take is not shown as if it had.
  await here.page.route('**/api/v1/me/pins/**', (route) => route.abort());
  await here.page.getByRole('button', { name: 'Pin ledger-1' }).click();
  await here.page.getByText('The gate cannot be reached.').waitFor();
  await here.page.getByRole('button', { name: 'Pin ledger-1', pressed: false }).waitFor();
  assert.deepEqual([...here.faults, ...there.faults], []);
  await Promise.all([here.context.close(), there.context.close()]);
});

test('who clicks twice asks once and decides once', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ana', { path: '/ask?resource=db-1&role=shell&reason=slow' });
  await page.getByRole('button', { name: 'Ask', exact: true }).dblclick();
  await page.waitForURL(/\/requests\/req_/);
  assert.equal((await pending('ana')).length, 1);
  assert.equal((await entries('request.submitted')).length, 1);
  // Back leads to where she was, and asks nothing anew; forward leads to the request.
  await page.goBack();
  await page.getByRole('heading', { name: 'Ask for access' }).waitFor();
  await page.goForward();
  await page.getByText('Who was asked').waitFor();
  assert.equal((await entries('request.submitted')).length, 1);

  const ben = await signIn(browser, gate, 'ben', { path: '/inbox' });
  await ben.page.getByRole('button', { name: 'Approve', exact: true }).dblclick();
  await ben.page.getByText('Nobody waits for you.').waitFor();
  assert.equal((await entries('request.voted')).length, 1);
  assert.equal((await pending('ana')).length, 0);
  assert.deepEqual([...faults, ...ben.faults], []);
  await Promise.all([context.close(), ben.context.close()]);
});

test('what was decided in one tab is decided in the other, and what is too late says so', { timeout: 300_000 }, async () => {
  const asked = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'shell', reason: 'leaks memory', ticket: 'INC-7' })).request.id;
  const { page, context } = await signIn(browser, gate, 'ben', { path: '/inbox' });
  const other = await context.newPage();
  // The second tab hears nothing of what happens, and whenever it looks again it is shown what was.
  await other.route('**/api/v1/events', (route) => route.abort());
  await other.goto(`/requests/${asked}`);
  await other.getByRole('button', { name: 'Deny' }).waitFor();
  const before = await gate.api('ben', 'GET', `/api/v1/requests/${asked}`);
  await other.route(new RegExp(`/api/v1/requests/${asked}$`), (route) => (route.request().method() === 'GET' ? route.fulfill({ json: before }) : route.continue()));
  await page.getByRole('button', { name: 'Approve', exact: true }).click();
  await page.getByText('Nobody waits for you.').waitFor();
  await other.getByRole('button', { name: 'Deny' }).click();
  await other.getByRole('alert').getByText(/decided|approved|waits for nobody|no longer|not pending/i).first().waitFor();
  await other.unrouteAll();
  await other.reload();
  await other.getByText('approved', { exact: false }).first().waitFor();
  assert.equal(await other.getByRole('button', { name: 'Deny' }).count(), 0);
  assert.equal((await gate.api('ana', 'GET', `/api/v1/requests/${asked}`)).state, 'approved');
  await context.close();
});

test('nobody says yes to what was changed while they read it', { timeout: 300_000 }, async () => {
  const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'web-1', role: 'debug', reason: 'disk is full', duration: '15m', limits: { read_only: true } });
  const path = `/api/v1/requests/${request.id}`;
  const { page, context } = await signIn(browser, gate, 'ben', { path: `/requests/${request.id}` });
  const approve = (page) => page.getByRole('button', { name: 'Approve', exact: true });
  await approve(page).waitFor();

  // A phone whose line is down: it hears of nothing, and whenever it looks again it is shown what was.
  const phone = await context.newPage();
  await phone.route('**/api/v1/events', (route) => route.abort());
  await phone.goto(`/requests/${request.id}`);
  await phone.getByText('nothing that writes').waitFor();
  const before = await gate.api('ben', 'GET', path);
  await phone.route(new RegExp(`${path}$`), (route) => (route.request().method() === 'GET' ? route.fulfill({ json: before }) : route.continue()));
  await gate.api('ana', 'PATCH', path, { duration: '4h', limits: {} });
  await approve(phone).click();
  await phone.getByRole('alert').getByText('Your answer was not taken.').waitFor();
  const waits = await gate.api('ben', 'GET', path);
  assert.deepEqual([waits.state, waits.votes.length, waits.duration], ['pending', 0, '4h']);

  // Where the line is up the page shows what changed, and wants it read before a yes.
  await page.getByText('It was changed while you read it.').waitFor();
  assert.equal(await approve(page).isDisabled(), true);
  await page.getByText('4h', { exact: true }).waitFor();
  await page.getByRole('button', { name: 'I have read it' }).click();
  await approve(page).click();
  await eventually('it is approved', async () => (await gate.api('ana', 'GET', path)).state === 'approved');

  // That somebody else answered changes nothing of what was read.
  const two = (await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'ledger-1', role: 'debug', reason: 'one booking is missing', ticket: 'FIN-88' })).request.id;
  await phone.unrouteAll();
  await phone.route('**/api/v1/events', (route) => route.abort());
  await phone.goto(`/requests/${two}`);
  await approve(phone).waitFor();
  await gate.api('carla', 'POST', `/api/v1/requests/${two}/approve`, {});
  await approve(phone).click();
  await eventually('both have agreed', async () => (await gate.api('ana', 'GET', `/api/v1/requests/${two}`)).state === 'approved');
  await context.close();
});

// covers: E9 (portal)
test('a line that is gone for a while: said, tried again, and nothing is taken for live that is not', { timeout: 300_000 }, async () => {
  await gate.grant('ana', 'db-1', 'debug', '1h');
  const shell = gate.shell('ana', 'db-1+debug');
  shell.say('echo ready-$((40+1))\n');
  await shell.until('ready-41');
  const session = await eventually('her session', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=live&resource=db-1')).items[0]?.id);
  const { page, context } = await signIn(browser, gate, 'carla', { path: `/sessions/${session}`, line: true });
  await page.getByRole('button', { name: 'Watch live' }).click();
  await page.getByText('Waiting for what is shown next', { exact: false }).waitFor();
  const shown = () => page.locator('.xterm-rows').innerText();
  await eventually('Carla sees it', async () => {
    shell.say('echo before-$((40+2))\n');
    return (await shown()).includes('before-42');
  });
  // The stream breaks off in the middle, and no new one comes through.
  await page.evaluate(() => window.breakLine());
  await page.getByText('Not live at the moment', { exact: false }).waitFor({ timeout: 60_000 });
  await page.getByText('The connection to the gate broke off', { exact: false }).waitFor({ timeout: 60_000 });
  await page.evaluate(() => window.mendLine());
  await eventually('Carla sees it again', async () => {
    shell.say('echo after-$((40+3))\n');
    return (await shown()).includes('after-43');
  }, 60_000);
  shell.end();
  await page.getByText('The session has ended', { exact: false }).first().waitFor();
  await context.close();
});

// covers: E9 (portal)
test('live is said when it is so: not before the gate has answered, and not over a line that died without a word', { timeout: 300_000 }, async () => {
  const { page, context } = await signIn(browser, gate, 'ana', { line: true });
  const lost = page.getByText('Not live at the moment', { exact: false });
  const live = page.getByRole('navigation', { name: 'Portal' }).getByText(', live');
  await live.waitFor({ state: 'attached' });
  assert.equal(await lost.count(), 0);

  // A gate that takes the call and never answers.
  const held = await context.newPage();
  let answer;
  const answered = new Promise((done) => (answer = done));
  await held.route('**/api/v1/events', async (route) => (await answered, route.continue()));
  await held.goto('/requests');
  await settled(held);
  await held.getByText('Not live at the moment', { exact: false }).waitFor();
  // What happens before anybody listens is shown once somebody does.
  const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'tunnel', reason: 'while nobody listened' });
  answer();
  await held.getByText('while nobody listened').waitFor();
  await held.getByText('Not live at the moment', { exact: false }).waitFor({ state: 'detached' });

  // A line that dies without a word, as on a phone that slept: nothing is heard, and nothing fails.
  await page.clock.install();
  await page.goto('/requests');
  await live.waitFor({ state: 'attached' });
  await page.evaluate(() => window.hushLine());
  await gate.api('ana', 'POST', `/api/v1/requests/${request.id}/cancel`);
  await page.clock.fastForward(45_000);
  await lost.waitFor();
  await page.evaluate(() => window.mendLine());
  await page.clock.fastForward(60_000);
  await page.getByText('cancelled').first().waitFor();
  await lost.waitFor({ state: 'detached' });
  await context.close();
});

test('a list is read while things go on happening, and not only when they stop', { timeout: 300_000 }, async () => {
  const { page, context } = await signIn(browser, gate, 'carla', { path: '/sessions', line: true });
  await settled(page);
  let read = 0;
  page.on('request', (request) => (read += request.url().includes('/api/v1/sessions?') ? 1 : 0));
  const event = { data: { event: 'session.opened' } };
  await page.evaluate((text) => window.floodLine(text, 50), `event: session.opened\ndata: ${JSON.stringify(event)}\n\n`);
  // It never is quiet, and goes on until it was read.
  await eventually('it is read again and again', async () => read > 2);
  await page.evaluate(() => window.calmLine());
  await context.close();
});

test('an answer that breaks off is said, and can be asked for again', { timeout: 300_000 }, async () => {
  await gate.grant('ana', 'build-1', 'shell', '1h');
  await gate.ssh('ana', 'build-1+shell', 'echo whole-$((40+2))');
  const session = await eventually('her session has ended', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended&resource=build-1')).items[0]?.id);
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: `/sessions/${session}` });
  const half = (json) => (route) => route.fulfill({ contentType: json ? 'application/json' : 'application/x-ndjson', body: '{"at_us": 12, "chan' });

  // A replay.
  await page.route('**/recording?*', half(false));
  await page.getByRole('button', { name: 'Replay', exact: true }).click();
  const alert = page.getByRole('alert');
  await alert.getByText('The connection to the gate broke off.').waitFor();
  await page.unrouteAll();
  await alert.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'What was done' }).waitFor();

  // A list, and something that somebody does.
  await page.route('**/api/v1/sessions?*', half(true));
  await page.goto('/sessions?state=ended');
  await alert.getByText('The connection to the gate broke off.').waitFor();
  await alert.getByRole('button', { name: 'Try again' }).waitFor();
  await page.unrouteAll();
  await page.getByRole('link', { name: /on build-1 as shell/ }).first().waitFor();
  await page.route('**/api/v1/audit/replay', half(true));
  await page.goto('/audit?view=verify');
  await page.getByRole('button', { name: 'Verify now' }).click();
  await alert.getByText('The connection to the gate broke off.').waitFor();
  await page.unrouteAll();
  await page.getByRole('button', { name: 'Verify now' }).click();
  await page.getByText('Every row is as the log says.').waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

// covers: G4 (portal)
test('hostile names and reasons are text, and what is too long is refused with a sentence', { timeout: 300_000 }, async () => {
  const name = '<img src=x onerror="document.title=1"> \u202egnp\u0007 \u001b[31m';
  await gate.api('dan', 'POST', '/api/v1/users', { username: 'mallory', display_name: name });
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: '/people' });
  await settled(page);
  // What cannot be seen is spelled out, and what looks like a page is text.
  await page.getByText('<img src=x onerror="document.title=1"> \\u{202e}gnp\\u{7} \\u{1b}[31m', { exact: false }).first().waitFor();
  assert.equal(await page.locator('main img').count(), 0);
  assert.match(await page.title(), /Tidegate/);
  assert.deepEqual(faults, []);
  await context.close();

  // Ten thousand characters: no more are taken than may be sent, and the API refuses the rest with a sentence.
  const ana = await signIn(browser, gate, 'ana', { path: '/ask?resource=db-1&role=debug' });
  await ana.page.getByLabel('Reason').fill('x'.repeat(10_000));
  await ana.page.getByRole('button', { name: 'Ask', exact: true }).click();
  await Promise.race([ana.page.waitForURL(/\/requests\/req_/), ana.page.getByRole('alert').waitFor()]);
  const long = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'logs', reason: 'x'.repeat(10_000) }).then(() => 'taken', (error) => String(error));
  assert.match(long, /: 400 .*4,?000|: 400 .*characters/);
  await ana.context.close();
});

test('a part of the portal that is slow, or does not come, is said, and everything else goes on', { timeout: 300_000 }, async () => {
  const { page, context } = await signIn(browser, gate, 'carla');
  await settled(page);
  const to = (name) => page.getByRole('navigation', { name: 'Portal' }).getByRole('link', { name, exact: true });
  const read = [];
  page.on('request', (request) => read.push(new URL(request.url()).pathname));

  // Slow: what was shown is neither read again nor taken for what comes.
  let go;
  const released = new Promise((done) => (go = done));
  await page.route('**/assets/**', async (route) => (await released, route.continue()));
  await to('Audit').click();
  await page.getByText('Reading this page.').waitFor({ state: 'attached' });
  assert.deepEqual(read.filter((path) => path.startsWith('/api/v1/grants')), []);
  go();
  await page.getByRole('heading', { name: 'Audit' }).waitFor();
  await page.unrouteAll();

  // Gone: said where it was wanted, and nowhere else.
  const gone = page.getByText('This part of the portal could not be loaded.');
  await page.route('**/assets/**', (route) => route.abort());
  await to('Locks').click();
  await gone.waitFor();
  await to('Home').click();
  await page.getByRole('heading', { name: 'Open now' }).waitFor();
  assert.equal(await gone.count(), 0);
  await to('Compliance').click();
  await gone.waitFor();
  await page.unrouteAll();
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.getByRole('heading', { name: 'Compliance' }).waitFor();
  await context.close();

  // The page of a mail, which needs nobody to be signed in.
  const stranger = await visitor(browser, gate);
  await stranger.page.goto('/');
  await stranger.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  const first = await stranger.page.evaluate(() => performance.getEntriesByType('resource').map((one) => new URL(one.name).pathname));
  await stranger.page.route('**/assets/**', (route) => (first.includes(new URL(route.request().url()).pathname) ? route.continue() : route.abort()));
  await stranger.page.goto('/decide#tg_mail');
  await stranger.page.getByText('This part of the portal could not be loaded.').waitFor();
  await stranger.page.unrouteAll();
  await stranger.page.getByRole('button', { name: 'Try again' }).click();
  await stranger.page.getByRole('heading', { name: 'This link does not count' }).waitFor();
  await stranger.context.close();
});

test('who is signed out while they write finds it again when they are back, and nobody else does', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ana', { path: '/ask?resource=web-1&role=logs' });
  const reason = page.getByLabel('Reason');
  const send = page.getByRole('button', { name: 'Ask', exact: true });
  const enter = async (name) => {
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await page.getByLabel('Token').fill(gate.person(name).token);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('heading', { name: 'Ask for access' }).waitFor();
  };
  await reason.fill('the pages of a customer are empty since noon');
  await page.getByLabel(/^Ticket/).fill('INC-77');
  await eventually('it can be sent', () => send.isEnabled());
  await context.clearCookies();
  await send.click();
  await enter('ana');
  assert.equal(await reason.inputValue(), 'the pages of a customer are empty since noon');
  assert.equal(await page.getByLabel(/^Ticket/).inputValue(), 'INC-77');
  assert.equal((await pending('ana')).filter((request) => request.resource === 'web-1' && request.role === 'logs').length, 0, 'nothing was sent');

  // In the same tab, somebody else finds nothing of it.
  await eventually('it can be sent', () => send.isEnabled());
  await context.clearCookies();
  await send.click();
  await enter('ben');
  assert.equal(await reason.inputValue(), '');
  assert.equal(await page.evaluate(() => sessionStorage.length), 0);

  // What was given up is not there again.
  await reason.fill('never mind');
  await page.getByRole('link', { name: 'Home', exact: true }).click();
  await page.getByRole('heading', { name: 'Open now' }).waitFor();
  await page.goBack();
  await page.getByRole('heading', { name: 'Ask for access' }).waitFor();
  assert.equal(await reason.inputValue(), '');
  assert.deepEqual(faults, []);
  await context.close();
});

test('where one can go says what it could not read, and does not take that for nothing', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'ana');
  await settled(page);
  const find = async (typed) => {
    await page.keyboard.press('Control+k');
    await page.getByRole('combobox', { name: 'Go to' }).fill(typed);
  };
  // Escape takes out what was typed, and then closes it.
  const close = () => eventually('it is closed', async () => (await page.keyboard.press('Escape'), (await page.getByRole('dialog').count()) === 0));
  let answer;
  const answered = new Promise((done) => (answer = done));
  await page.route('**/api/v1/resources?*', async (route) => (await answered, route.continue()));
  await find('ledger-1');
  await page.getByRole('dialog').getByText('Looking …').waitFor();
  answer();
  await page.getByRole('option', { name: /ledger-1 as/ }).first().waitFor();
  await close();
  await page.unrouteAll();
  // One list that does not come takes the others nothing.
  await page.route('**/api/v1/sessions?*', (route) => route.abort());
  await find('ledger-1');
  await page.getByRole('option', { name: /ledger-1 as/ }).first().waitFor();
  await page.getByRole('dialog').getByText('Not everything is here.', { exact: false }).waitFor();
  await page.getByRole('combobox', { name: 'Go to' }).fill('nowhere to be found');
  await page.getByText('Nothing by that name among what could be read.', { exact: false }).waitFor();
  await close();
  await page.unrouteAll();
  await find('nowhere to be found');
  await page.getByText('Nothing by that name is open to you.').waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test('who has too many pages open is told so', { timeout: 300_000 }, async () => {
  const { page, context } = await signIn(browser, gate, 'ana');
  const problem = { title: 'Too many at once.', code: 'too_many', status: 429, detail: 'too many streams of yours are open; close some' };
  await page.route('**/api/v1/events', (route) => route.fulfill({ status: 429, contentType: 'application/problem+json', body: JSON.stringify(problem) }));
  await page.reload();
  await page.getByText('The gate says: too many streams of yours are open; close some.', { exact: false }).waitFor();
  await page.unrouteAll();
  await page.getByText('Not live at the moment').waitFor({ state: 'detached' });
  await context.close();
});

test('who is named is who is locked, whatever others call themselves', { timeout: 300_000 }, async () => {
  // Somebody newer calls himself what Frank's user name is.
  const decoy = (await gate.api('dan', 'POST', '/api/v1/users', { username: 'impostor', display_name: 'frank' })).user;
  const { page, context, faults } = await signIn(browser, gate, 'carla', { path: '/locks' });
  const lock = async (what) => {
    await page.getByRole('button', { name: 'Lock something' }).click();
    await page.getByLabel('User name of the person or machine').fill(what);
    await page.getByRole('button', { name: 'Lock', exact: true }).click();
  };
  const scopes = async () => (await gate.api('carla', 'GET', '/api/v1/locks')).items.map((one) => one.scope);
  await lock('frank');
  // Whose lock it is stands there, so that a slip is seen.
  await page.getByText(/^Frank.* \(frank\) is locked; 0 sessions cut\.$|^frank is locked; 0 sessions cut\.$/).waitFor();
  assert.deepEqual(await scopes(), [`person:${gate.person('frank').id}`]);
  await lock('impostor');
  await page.getByText('frank (impostor) is locked; 0 sessions cut.').waitFor();
  assert.deepEqual((await scopes()).sort(), [`person:${gate.person('frank').id}`, `person:${decoy.id}`].sort());
  await lock('Nobody Here');
  await page.getByText('Nobody is called that.').waitFor();
  assert.deepEqual(faults, []);
  await context.close();
});

test('what is not there any more is said plainly, and the way on is shown', { timeout: 300_000 }, async () => {
  const { page, context } = await signIn(browser, gate, 'ana');
  for (const path of ['/requests/req_00000000000000000000000000', '/grants/grt_00000000000000000000000000', '/sessions/ses_00000000000000000000000000', '/resources/nowhere', '/console/nowhere']) {
    await page.goto(path);
    await page.getByText('There is nothing here, or nothing that you may see.').waitFor();
    await page.getByRole('link', { name: 'Go to what is open to you' }).waitFor();
  }
  await context.close();
});

test('what somebody reads, or writes beside it, stays while things happen elsewhere', { timeout: 300_000 }, async () => {
  const machines = Array.from({ length: 20 }, (_, i) => `shelf-${i + 1}`);
  const resource = (name) => `[[resource]]\nname = "${name}"\nkind = "ssh"\naddress = "127.0.0.1:9"\ntier = "prod"\nowner = "payments"\nhost_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f"]\n`;
  const full = await startGate({ settings: '# Nothing more.', policy: { 'resources.toml': machines.map(resource).join('\n') } });
  try {
    for (const machine of machines) for (const role of ['shell', 'debug', 'logs']) await full.api('ana', 'POST', '/api/v1/requests', { resource: machine, role, reason: 'counting shelves' });
    const { page, context, faults } = await signIn(browser, full, 'ben', { path: '/inbox' });
    await page.getByRole('button', { name: 'Show more' }).click();
    const card = page.getByRole('article', { name: 'shelf-2 as debug' });
    const note = card.getByLabel('Note');
    await note.fill('fine, but leave the lights on');
    await full.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'shell', reason: 'something new' });
    await page.getByRole('article', { name: 'db-1 as shell' }).waitFor();
    assert.equal(await note.inputValue(), 'fine, but leave the lights on');
    assert.equal(await page.getByRole('article').count(), 61);
    await card.getByRole('button', { name: 'Approve', exact: true }).click();
    await card.waitFor({ state: 'detached' });
    assert.equal(await page.getByRole('article').count(), 60);

    // The second page of the log stays, and what is newer waits to be asked for.
    const eve = await signIn(browser, full, 'eve', { path: '/audit' });
    await eve.page.getByRole('button', { name: 'Show more' }).click();
    const entries = eve.page.locator('main li summary');
    await eventually('both parts', async () => (await entries.count()) === 100);
    const last = await entries.last().innerText();
    await full.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'logs', reason: 'something newer' });
    await eve.page.getByText('There is something newer').waitFor();
    assert.equal(await entries.count(), 100);
    assert.equal((await entries.last().innerText()).split('\n')[0], last.split('\n')[0]);
    await eve.page.getByRole('button', { name: 'Show it' }).click();
    await entries.getByText('something newer').first().waitFor();
    assert.deepEqual([...faults, ...eve.faults], []);
    await Promise.all([context.close(), eve.context.close()]);
  } finally {
    await full.stop();
  }
});
