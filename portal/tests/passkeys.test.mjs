// Passkeys in a real browser with its virtual authenticator: added, used to sign in, to prove freshly that it is oneself, to sign an approval.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, readdirSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { join, relative } from 'node:path';
import { eventually, settled, signIn, startBrowser, startGate, visitor } from './gate.mjs';

let gate;
let browser;
/** Ben, with a passkey in his laptop. */
let ben;
before(async () => {
  [gate, browser] = await Promise.all([startGate(), startBrowser()]);
});
after(async () => {
  await browser?.close();
  await gate?.stop();
});

/** Puts an authenticator into a page, as if in the laptop: it keeps passkeys and checks who it is. */
async function authenticator(page) {
  const session = await page.context().newCDPSession(page);
  await session.send('WebAuthn.enable');
  const options = { protocol: 'ctap2', transport: 'internal', hasResidentKey: true, hasUserVerification: true, isUserVerified: true, automaticPresenceSimulation: true };
  const { authenticatorId } = await session.send('WebAuthn.addVirtualAuthenticator', { options });
  return {
    verifies: (isUserVerified) => session.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified }),
    passkeys: async () => (await session.send('WebAuthn.getCredentials', { authenticatorId })).credentials,
  };
}

/** Signs in with a token and adds a passkey. */
async function withPasskey(name) {
  const visit = await signIn(browser, gate, name);
  const device = await authenticator(visit.page);
  await visit.page.goto('/account');
  await settled(visit.page);
  await visit.page.getByRole('button', { name: 'Add a passkey' }).click();
  await visit.page.getByLabel('What you call it').fill('laptop');
  await visit.page.getByRole('button', { name: 'Add it' }).click();
  await visit.page.getByRole('button', { name: 'Remove laptop' }).waitFor();
  return { ...visit, device };
}

/** Puts a line more in the tier `prod` of the demo's policy; what is given back takes it out again. */
async function withTier(line) {
  const files = {};
  const policy = join(gate.dir, 'demo', 'policy');
  for (const entry of readdirSync(policy, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files[relative(policy, path)] = readFileSync(path, 'utf8');
  }
  const push = (files) => {
    const coded = Object.fromEntries(Object.entries(files).map(([path, text]) => [path, Buffer.from(text).toString('base64')]));
    return gate.api('dan', 'POST', '/api/v1/policy/push', { files: coded });
  };
  await push({ ...files, 'tiers.toml': files['tiers.toml'].replace('name = "prod"\n', `name = "prod"\n${line}\n`) });
  return () => push(files);
}

// covers: WHO-2 (portal), G4 (portal)
test('Ana adds a passkey, signs in with it, names it, and cannot throw away her only way in', async () => {
  const ana = await withPasskey('ana');
  const [kept] = await ana.device.passkeys();
  assert.equal(kept.rpId, 'localhost');
  assert.equal(kept.isResidentCredential, true);

  // Signed out, she signs in with nothing typed; a device that checks nobody signs nobody in.
  await ana.device.verifies(false);
  await ana.page.getByRole('button', { name: 'Sign out', exact: true }).click();
  await ana.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  await ana.page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await ana.page.getByText('No passkey was used.').waitFor();
  await ana.device.verifies(true);
  await ana.page.reload();
  const portal = ana.page.getByRole('navigation', { name: 'Portal' });
  // The browser may have offered it by itself already.
  await Promise.race([portal.waitFor(), ana.page.getByRole('button', { name: 'Sign in with a passkey' }).click().then(() => portal.waitFor())]);
  await portal.waitFor();
  await ana.page.goto('/account');
  await ana.page.getByText('used here').waitFor();
  await ana.page.getByText('a passkey, or a key that checked who you are').waitFor();

  await ana.page.getByRole('button', { name: 'Rename laptop' }).click();
  await ana.page.getByLabel('What you call it').fill('work laptop');
  await ana.page.getByRole('dialog').getByRole('button', { name: 'Rename' }).click();
  await ana.page.getByRole('button', { name: 'Remove work laptop' }).waitFor();
  assert.deepEqual(ana.faults, []);
});

// covers: WHO-2 (portal)
test('what needs a fresh proof asks for the passkey and goes on by itself', async () => {
  ben = await withPasskey('ben');
  const back = await withTier('mfa = "verified"\nmfa_within = "15m"');
  try {
    await ben.page.goto('/ask?resource=web-1&role=shell');
    await settled(ben.page);
    await ben.page.getByLabel(/^Reason/).fill('checking a slow query');
    await ben.page.getByRole('button', { name: 'Ask', exact: true }).click();
    await ben.page.getByRole('heading', { name: 'Prove that it is you' }).waitFor();
    await ben.page.getByRole('button', { name: 'Use my passkey' }).click();
    await ben.page.getByText('Who was asked').waitFor();
    assert.deepEqual(ben.faults, []);
  } finally {
    await back();
  }
});

// covers: WHO-2 (portal), GRANT-5 (portal)
test('more time asks for the passkey, too, and goes on by itself', { timeout: 300_000 }, async () => {
  const back = await withTier('mfa = "verified"\nmfa_within = "15m"');
  const { page, device } = ben;
  /** Signed in anew, and by a token: this browser has proved nothing. */
  const anew = async (path) => {
    await device.verifies(false);
    await page.goto('/account');
    await page.getByRole('button', { name: 'Sign out', exact: true }).click();
    await page.getByLabel('Token').fill(gate.person('ben').token);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('navigation', { name: 'Portal' }).waitFor();
    await device.verifies(true);
    await page.goto(path);
    await settled(page);
  };
  const prove = async () => {
    await page.getByRole('heading', { name: 'Prove that it is you' }).waitFor();
    await page.getByRole('button', { name: 'Use my passkey' }).click();
  };
  try {
    await anew('/ask?resource=web-1&role=debug&reason=pages+are+slow');
    await page.getByRole('button', { name: 'Ask', exact: true }).click();
    await prove();
    await page.waitForURL(/\/requests\/req_/);
    const asked = new URL(page.url()).pathname.split('/').at(-1);
    const { grant } = await gate.api('dan', 'POST', `/api/v1/requests/${asked}/approve`, {});
    await gate.api('ben', 'POST', `/api/v1/grants/${grant.id}/activate`);

    await anew(`/grants/${grant.id}`);
    await page.getByRole('button', { name: 'More time' }).click();
    await page.getByLabel('How long from now').fill('2h');
    await page.getByLabel('Why', { exact: true }).fill('they still are');
    await page.getByRole('button', { name: 'Ask for it' }).click();
    await prove();
    await page.getByText('People have been asked for more time.').waitFor();
    const waits = (await gate.api('ben', 'GET', '/api/v1/requests?state=pending')).items.find((request) => request.extends === grant.id);
    assert.deepEqual([waits.duration, waits.reason, waits.mfa], ['2h', 'they still are', 'verified']);
    await gate.api('ben', 'POST', `/api/v1/requests/${waits.id}/cancel`);
    await gate.api('ben', 'POST', `/api/v1/grants/${grant.id}/return`);
    assert.deepEqual(ben.faults, []);
  } finally {
    await back();
  }
});

// covers: WHO-2 (portal, cli), A8 (portal)
test('a terminal that waits is shown before the passkey is used, and goes on', async () => {
  const back = await withTier('mfa = "verified"\nmfa_within = "15m"');
  try {
    const what = { resource: 'web-1', role: 'logs', client: 'tidegate on laptop' };
    const asked = { resource: 'web-1', role: 'logs', reason: 'checking a slow page' };
    await assert.rejects(gate.api('ben', 'POST', '/api/v1/requests', asked), /mfa_required/);
    const begun = await gate.api('ben', 'POST', '/api/v1/step-ups', what);
    await ben.page.goto(begun.link);
    await ben.page.getByText('tidegate on laptop').waitFor();
    await ben.page.getByText('web-1 as logs').waitFor();
    await ben.page.getByText('127.0.0.1').first().waitFor();
    await ben.page.getByRole('button', { name: 'It is me: use my passkey' }).click();
    await ben.page.getByText('The terminal goes on by itself').waitFor();
    assert.deepEqual(await gate.api('ben', 'POST', '/api/v1/step-ups/progress', what), { state: 'proved' });
    const answer = await gate.api('ben', 'POST', '/api/v1/requests', asked);
    assert.equal(answer.request.mfa, 'verified');
    assert.deepEqual(ben.faults, []);
  } finally {
    await back();
  }
});

// covers: WHO-2 (ssh), A8 (ssh)
test('ssh shows the link in the terminal, and goes on the moment the passkey was used', async () => {
  const back = await withTier('mfa = "verified"\nmfa_within = "15m"');
  const shell = gate.shell('ben', 'db-1+shell');
  try {
    await shell.until('Code: ');
    const [, link] = /(http:\S+\/prove\?code=[A-Z-]+)/.exec(shell.heard());
    await ben.page.goto(link);
    await ben.page.getByText('db-1 as shell').waitFor();
    await ben.page.getByText('ssh', { exact: true }).waitFor();
    assert.ok(!shell.heard().includes('Reason:'), 'it goes on only then');
    await ben.page.getByRole('button', { name: 'It is me: use my passkey' }).click();
    await shell.until('It is you. Going on.');
    await shell.until('Reason: ');
  } finally {
    shell.end();
    await back();
  }
});

// covers: OK-7 (portal), F4 (portal)
test('Ben signs his approval, and the evidence proves it without the gate', async () => {
  const back = await withTier('signed = true');
  try {
    const { request } = await gate.api('ana', 'POST', '/api/v1/requests', { resource: 'db-1', role: 'shell', reason: 'disk is full', duration: '15m' });
    await assert.rejects(gate.api('ben', 'POST', `/api/v1/requests/${request.id}/approve`, {}), /signature_required/);
    const elsewhere = await visitor(browser, gate);
    const device = await authenticator(elsewhere.page);
    const invited = await gate.api('dan', 'POST', `/api/v1/users/${gate.person('ben').id}/invite`, {});
    await elsewhere.page.goto(`/join#${invited.code}`);
    await elsewhere.page.getByRole('button', { name: 'Sign in with this link' }).click();
    await elsewhere.page.getByRole('heading', { name: /^Welcome/ }).waitFor();
    await elsewhere.page.goto('/account');
    await settled(elsewhere.page);
    await elsewhere.page.getByRole('button', { name: 'Add a passkey' }).click();
    await elsewhere.page.getByLabel('What you call it').fill('new phone');
    await elsewhere.page.getByRole('button', { name: 'Add it' }).click();
    await elsewhere.page.getByRole('button', { name: 'Remove new phone' }).waitFor();
    assert.equal((await device.passkeys()).length, 1);

    // What Ana changes while he reads is not what he signs; his page hears nothing of it.
    const { page } = elsewhere;
    await page.route('**/api/v1/events', (route) => route.abort());
    await page.goto(`/requests/${request.id}`);
    await page.getByText('A yes is signed with your passkey').waitFor();
    const shown = await gate.api('ben', 'GET', `/api/v1/requests/${request.id}`);
    await page.route(new RegExp(`/api/v1/requests/${request.id}$`), (route) => route.fulfill({ json: shown }));
    await gate.api('ana', 'PATCH', `/api/v1/requests/${request.id}`, { duration: '4h' });
    await page.getByRole('button', { name: 'Sign and approve' }).click();
    await page.getByRole('alert').getByText('Your answer was not taken.').waitFor();
    const waits = await gate.api('ben', 'GET', `/api/v1/requests/${request.id}`);
    assert.deepEqual([waits.state, waits.votes.length], ['pending', 0]);
    await page.unrouteAll();

    await page.goto(`/requests/${request.id}`);
    await page.getByText('A yes is signed with your passkey').waitFor();
    await page.getByRole('button', { name: 'Sign and approve' }).click();
    await elsewhere.page.getByText('signed', { exact: true }).waitFor();
    await gate.ssh('ana', 'db-1+shell', 'true');
    const session = await eventually('her session has ended', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended')).items[0]);

    const carla = await signIn(browser, gate, 'carla', { path: `/sessions/${session.id}` });
    const [download] = await Promise.all([carla.page.waitForEvent('download'), carla.page.getByRole('button', { name: 'Download evidence' }).click()]);
    const file = join(gate.dir, 'signed.tar');
    await download.saveAs(file);
    const verified = execFileSync(gate.child.spawnfile, ['evidence', 'verify', file, '--key', gate.facts.checkpoint_verifier], { encoding: 'utf8' });
    assert.match(verified, /Signed approvals: 1/);
    assert.deepEqual([...elsewhere.faults, ...carla.faults], []);
  } finally {
    await back();
  }
});

// covers: WHO-2 (portal)
test('who administers keys finds a stolen passkey on its owner’s page and takes it away', { timeout: 300_000 }, async () => {
  const stolen = await withPasskey('frank');
  const { page, context, faults } = await signIn(browser, gate, 'dan', { path: `/people/${gate.person('frank').id}` });
  await page.getByRole('heading', { name: 'What signs them in' }).waitFor();
  await page.getByRole('button', { name: 'Remove the passkey laptop' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Remove', exact: true }).click();
  await page.getByText(/^The passkey “laptop” of .* is removed\.$/).waitFor();
  await page.getByRole('button', { name: 'Remove the passkey laptop' }).waitFor({ state: 'detached' });
  await stolen.page.reload();
  await stolen.page.getByText('You have none yet.', { exact: false }).waitFor();
  assert.deepEqual(faults, []);
  await Promise.all([context.close(), stolen.context.close()]);
});
