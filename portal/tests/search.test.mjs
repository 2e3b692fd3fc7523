// Search over what was done: found, linked, kept; hostile text is shown and does nothing.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, signIn, startBrowser, startGate } from './gate.mjs';

let gate;
let browser;
before(async () => ([gate, browser] = await Promise.all([startGate(), startBrowser()])));
after(async () => {
  await browser?.close();
  await gate?.stop();
});

// covers: EV-5 (portal), G4 (portal)
test('Eve finds who ran what, page by page, and keeps her filters', { timeout: 180_000 }, async () => {
  await gate.grant('ana', 'build-1', 'shell', '1h');
  const hostile = `echo '<img src=x onerror=alert(1)>' needle \u202eevil`;
  await gate.ssh('ana', 'build-1+shell', hostile);
  await gate.ssh('ana', 'build-1+shell', 'uname -s');
  await eventually('both have ended', async () => (await gate.api('ana', 'GET', '/api/v1/sessions?state=ended')).items.length === 2);
  const { page, context, faults } = await signIn(browser, gate, 'eve');
  await page.getByRole('link', { name: 'Search', exact: true }).click();
  await page.getByLabel(/^What was run/).fill('needle');
  await page.getByLabel('Who', { exact: true }).fill('ana');
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  const found = page.getByRole('list', { name: 'Found' });
  await found.getByText('<img src=x onerror=alert(1)>').waitFor();
  await found.getByText('\\u{202e}evil').waitFor();
  assert.equal(await found.locator('> li').count(), 1);
  assert.equal(await page.locator('main img').count(), 0);
  // The address is the search: it can be sent to somebody, and come back to.
  assert.match(page.url(), /text=needle/);
  await page.getByLabel('Keep these filters as').fill('needles <b>');
  await page.getByRole('button', { name: 'Keep', exact: true }).click();
  await page.reload();
  await found.getByText('needle').first().waitFor();
  await page.getByLabel(/^What was run/).fill('nowhere to be found');
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  await page.getByText('Nothing like that').waitFor();
  await page.getByRole('button', { name: 'needles <b>', exact: true }).click();
  await found.getByText('needle').first().waitFor();
  await page.getByRole('button', { name: 'Forget needles <b>' }).click();
  assert.equal(await page.getByRole('button', { name: 'needles <b>', exact: true }).count(), 0);
  await found.getByRole('link').first().click();
  await page.waitForURL(/\/sessions\/ses_/);
  assert.deepEqual(faults, []);
  await context.close();

  // Who may not read a recording finds nothing in it.
  const frank = await signIn(browser, gate, 'frank', { path: '/search?text=needle' });
  await frank.page.getByText('Nothing like that').waitFor();
  await frank.context.close();
});
