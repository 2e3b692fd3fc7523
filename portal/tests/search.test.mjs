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
test('Eve finds who ran what, page by page, and keeps her filters', { timeout: 300_000 }, async () => {
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
  // They are kept at the gate: another browser of hers has them, and nobody else.
  const kept = await eventually('they are kept', async () => (await gate.api('eve', 'GET', '/api/v1/me/searches')).items[0]);
  assert.deepEqual([kept.name, kept.filters], ['needles <b>', { text: 'needle', person: gate.person('ana').id }]);
  assert.deepEqual((await gate.api('carla', 'GET', '/api/v1/me/searches')).items, []);
  const elsewhere = await signIn(browser, gate, 'eve', { path: '/search' });
  await elsewhere.page.getByRole('button', { name: 'needles <b>', exact: true }).click();
  await elsewhere.page.getByRole('list', { name: 'Found' }).getByText('needle').first().waitFor();
  assert.equal(await elsewhere.page.getByLabel('Who', { exact: true }).inputValue(), 'ana');
  await elsewhere.context.close();
  await page.reload();
  await found.getByText('needle').first().waitFor();
  await page.getByLabel(/^What was run/).fill('nowhere to be found');
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  await page.getByText('Nothing like that').waitFor();
  await page.getByRole('button', { name: 'needles <b>', exact: true }).click();
  await found.getByText('needle').first().waitFor();
  await page.getByRole('button', { name: 'Forget needles <b>' }).click();
  await page.getByRole('button', { name: 'needles <b>', exact: true }).waitFor({ state: 'detached' });
  assert.deepEqual((await gate.api('eve', 'GET', '/api/v1/me/searches')).items, []);
  await found.getByRole('link').first().click();
  await page.waitForURL(/\/sessions\/ses_/);
  assert.deepEqual(faults, []);
  await context.close();

  // Who may not read a recording finds nothing in it.
  const frank = await signIn(browser, gate, 'frank', { path: '/search?text=needle' });
  await frank.page.getByText('Nothing like that').waitFor();
  await frank.context.close();
});

// covers: GRANT-9 (portal)
test('Dan reads and saves what to do in an emergency, as the policy in force has it; Ana may not', { timeout: 300_000 }, async () => {
  const { page, context, faults } = await signIn(browser, gate, 'dan');
  await page.getByRole('link', { name: 'Policy', exact: true }).click();
  await page.getByRole('link', { name: 'Emergencies', exact: true }).click();
  await page.getByRole('heading', { name: 'Emergencies' }).waitFor();
  const article = page.locator('article');
  await article.getByRole('heading', { name: 'How', exact: true }).waitFor();
  const headers = { authorization: `Bearer ${gate.person('dan').token}` };
  const text = await (await fetch(`${gate.facts.api}/api/v1/policy/playbook`, { headers })).text();
  // Each part and each way in stands on the page, and no mark of how it is written.
  const titles = [...text.matchAll(/^## (.*)$/gm)].map((found) => found[1]);
  assert.deepEqual(await article.getByRole('heading').allInnerTexts(), titles);
  const rows = [...text.matchAll(/^\| (?!where)(.*) \|$/gm)].map((found) => found[1].replaceAll('`', '').split(' | '));
  assert.ok(rows.length > 0);
  const shown = [];
  for (const row of await article.locator('tbody tr').all()) shown.push(await row.locator('td').allInnerTexts());
  assert.deepEqual(shown, rows);
  assert.doesNotMatch(await article.locator('p, li, h2, td').allInnerTexts().then((all) => all.join(' ')), /`|\*\*/);
  const [saved] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Download' }).click()]);
  assert.equal(saved.suggestedFilename(), 'emergencies.md');
  assert.deepEqual(faults, []);
  await context.close();

  const ana = await signIn(browser, gate, 'ana', { path: '/policy' });
  await ana.page.getByRole('heading', { name: 'Policy', exact: true }).waitFor();
  assert.equal(await ana.page.getByRole('link', { name: 'Emergencies' }).count(), 0);
  await ana.page.goto('/policy/playbook');
  await ana.page.getByText('You may not see the playbook.').waitFor();
  await ana.context.close();
});

test('what stands at the end of a long list is found and asked for like the first', { timeout: 300_000 }, async () => {
  const one = (n) => `[[resource]]\nname = "zz-${n}"\nkind = "ssh"\naddress = "10.99.0.1:22"\ntier = "non-prod"\nenvironment = "build"\ntags = ["ci"]\nowner = "platform"\ndefault_role = "shell"\n`;
  const long = await startGate({ settings: '# as it is', policy: { 'resources.toml': Array.from({ length: 520 }, (_, n) => one(n + 1)).join('\n') } });
  try {
    const { page, context, faults } = await signIn(browser, long, 'ana', { path: '/ask?resource=zz-520&role=shell&reason=far+down' });
    await page.getByRole('button', { name: 'Open it' }).click();
    await page.getByText('It is open to you.').waitFor();
    // By name it stands behind everything else, on the second page of the list.
    await page.goto('/');
    await page.getByText('zz-99', { exact: true }).first().waitFor({ timeout: 60_000 });
    assert.deepEqual(faults, []);
    await context.close();

    // So is who came last, by what is typed and by name.
    for (let n = 1; n <= 120; n += 1) await long.api('dan', 'POST', '/api/v1/users', { username: `walker-${n}` });
    const dan = await signIn(browser, long, 'dan', { path: '/resources' });
    await dan.page.getByLabel('Filter resources').fill('zz-520');
    await dan.page.getByRole('link', { name: /zz-520/ }).waitFor();
    await dan.page.getByRole('link', { name: 'People', exact: true }).click();
    const filter = dan.page.getByLabel('Filter people');
    await filter.waitFor();
    for (const name of ['ana', 'walker-1', 'walker-120']) {
      await filter.fill(name);
      await dan.page.getByRole('link', { name: new RegExp(`${name}$|${name} `) }).first().waitFor();
    }
    await filter.fill('no walker');
    await dan.page.getByText('Nobody matches “no walker”.').waitFor();
    await dan.page.getByRole('button', { name: 'Add a machine' }).click();
    await dan.page.getByLabel('User name', { exact: true }).fill('night-runner');
    const answers = dan.page.getByLabel('Who answers for it');
    await answers.fill('walker-121');
    await dan.page.getByRole('button', { name: 'Add', exact: true }).click();
    await dan.page.getByText('Nobody is called that.').waitFor();
    await answers.fill('walker-120');
    await dan.page.getByRole('button', { name: 'Add', exact: true }).click();
    await answers.waitFor({ state: 'detached' });
    const [added] = (await long.api('dan', 'GET', '/api/v1/users?username=night-runner')).items;
    assert.equal(added.owner.username, 'walker-120');
    assert.deepEqual(dan.faults, []);
    await dan.context.close();
  } finally {
    await long.stop();
  }
});
