// Every page, in both themes and on a phone: nothing that axe-core objects to, nothing that scrolls sideways, no fault.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { pagesOf, startScene } from './pages.mjs';
import { eventually, settled, signIn, startBrowser, visit, visitor } from './gate.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let gate;
let browser;
let scene;
before(async () => {
  [scene, browser] = await Promise.all([startScene(), startBrowser()]);
  ({ gate } = scene);
});
after(async () => {
  await browser?.close();
  await scene?.stop();
});

async function objections(page) {
  // The page lets no script in but its own; a test may put one beside it.
  const session = await page.context().newCDPSession(page);
  await session.send('Page.setBypassCSP', { enabled: false });
  const { frameTree } = await session.send('Page.getFrameTree');
  const { executionContextId } = await session.send('Page.createIsolatedWorld', { frameId: frameTree.frame.id, worldName: 'axe' });
  await session.send('Runtime.evaluate', { expression: axe, contextId: executionContextId });
  const { result, exceptionDetails } = await session.send('Runtime.evaluate', {
    expression: `axe.run(document, { resultTypes: ['violations'], runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
      .then((found) => JSON.stringify(found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.target.join(' ') + ' ' + (n.failureSummary ?? '').split('\\n')[1]).join(' | '))))`,
    contextId: executionContextId,
    awaitPromise: true,
    returnByValue: true,
  });
  await session.detach();
  if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
  return JSON.parse(result.value);
}

/** Everything to object to on the page that is shown: in both themes, and on a phone of 360 pixels. */
async function faults(page, where) {
  const found = [];
  for (const colorScheme of ['light', 'dark']) {
    await page.emulateMedia({ colorScheme });
    for (const objection of await objections(page)) found.push(`${where} (${colorScheme}): ${objection}`);
  }
  const size = page.viewportSize();
  await page.setViewportSize({ width: 360, height: 740 });
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  if (width > 360) found.push(`${where}: scrolls sideways on a phone, ${width} pixels`);
  await page.setViewportSize(size);
  return found;
}

test('nobody is kept out by how a page is made, and nothing scrolls sideways on a phone', { timeout: 480_000 }, async () => {
  const found = [];
  const stranger = await visitor(browser, gate);
  await stranger.page.goto('/');
  await stranger.page.getByRole('heading', { name: 'Sign in' }).waitFor();
  found.push(...(await faults(stranger.page, 'sign-in')), ...stranger.faults);
  // Where a provider is not there the gate itself says so, in the portal's looks.
  const turnedAway = await visitor(browser, gate);
  await turnedAway.page.goto('/api/v1/sign-in/oidc/nowhere');
  await turnedAway.page.getByText('there is no identity provider by this name').waitFor();
  assert.equal(await turnedAway.page.evaluate(() => getComputedStyle(document.querySelector('main')).maxWidth), '460px');
  found.push(...(await faults(turnedAway.page, 'a sign-in that is refused')));
  await turnedAway.context.close();
  for (const [name, paths] of Object.entries(pagesOf(scene))) {
    const { page, context, faults: heard } = await signIn(browser, gate, name);
    for (const { path, show } of paths) {
      await visit(page, path);
      await settled(page);
      await show?.(page);
      found.push(...(await faults(page, `${name} ${path}`)));
    }
    found.push(...heard.map((fault) => `${name}: ${fault}`));
    await context.close();
  }
  assert.deepEqual(found, []);
});

test('the keyboard alone goes everywhere', async () => {
  const ana = await signIn(browser, gate, 'ana');
  await settled(ana.page);
  await ana.page.keyboard.press('Control+k');
  await ana.page.getByRole('combobox', { name: 'Go to' }).fill('ledger');
  await ana.page.getByRole('option', { name: /ledger-1 as/ }).first().waitFor();
  await ana.page.keyboard.press('Enter');
  await ana.page.getByRole('heading', { name: 'Ask for access' }).waitFor();
  // After a move, reading and tabbing begin at the title.
  await eventually('the title has the focus', () => ana.page.evaluate(() => document.activeElement?.tagName === 'H1'));
  await ana.page.keyboard.press('Tab');
  const outline = await ana.page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
  assert.equal(outline, 'solid', 'the focus is seen');
  await ana.page.keyboard.press('Control+k');
  await ana.page.keyboard.press('Escape');
  assert.equal(await ana.page.getByRole('dialog').count(), 0);
  assert.deepEqual(ana.faults, []);
});
