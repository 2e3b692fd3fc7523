// Every control on every page does something: each is used, and one after which nothing is different fails.
//
// Calls that would change the gate are answered with a refusal here, so that each control finds the same page; what they change is
// for the journey to show. A control that is the place one is at already, or is disabled, has nothing to do.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, settled, signIn, startBrowser, visit } from './gate.mjs';
import { pagesOf, startScene } from './pages.mjs';

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

const CONTROLS = 'a[href], button, summary, select, input[type=checkbox], input[type=radio], input[type=range], [role=option]';
const REFUSED = JSON.stringify({ type: 'urn:tidegate:problem:not_allowed', title: 'The test lets nothing change.', status: 403, code: 'not_allowed', hint: 'None.', request_id: '0' });

/** What the page is now, without what changes by itself: times, and what is left. */
const SIGNATURE = () => {
  const copy = document.documentElement.cloneNode(true);
  copy.querySelectorAll('time, .left, .bar, .xterm, [role=status]:empty').forEach((element) => element.remove());
  const fields = [...document.querySelectorAll('input, select, textarea')].map((field) => `${field.value}|${field.checked}`);
  const open = [...document.querySelectorAll('dialog, details')].map((element) => element.open);
  const marked = String(getSelection());
  return JSON.stringify([location.href, copy.innerHTML, fields, open, marked, document.activeElement?.id, document.documentElement.dataset.theme]);
};

/** Numbers the controls one can see; in an open dialog, those of the dialog alone. */
const NUMBERED = (selector) => {
  const within = document.querySelector('dialog[open]') ?? document;
  let count = 0;
  const rows = new Map();
  document.querySelectorAll('[data-nth]').forEach((element) => element.removeAttribute('data-nth'));
  for (const element of within.querySelectorAll(selector)) {
    const box = element.getBoundingClientRect();
    const chosen = element.type === 'radio' && element.checked;
    const here = element.getAttribute('aria-current') === 'page';
    const skip = element.classList.contains('skip') || element.closest('.xterm');
    if (box.width === 0 || box.height === 0 || !element.checkVisibility() || element.disabled || chosen || here || skip) continue;
    // Of rows that are alike, three are enough.
    const list = element.closest('.list, tbody, .resources, .roles');
    if (list) {
      const kind = `${element.tagName} ${element.className} ${element.parentElement.className}`;
      const alike = (rows.get(list) ?? new Map()).set(kind, (rows.get(list)?.get(kind) ?? 0) + 1);
      rows.set(list, alike);
      if (alike.get(kind) > 3) continue;
    }
    element.setAttribute('data-nth', String(count));
    count += 1;
  }
  return [...within.querySelectorAll('[data-nth]')].map((element) => ({
    name: `${element.tagName.toLowerCase()} “${(element.getAttribute('aria-label') ?? element.textContent ?? '').trim().replace(/\s+/g, ' ').slice(0, 60) || element.value}”`,
    framed: element.closest('nav[aria-label=Portal]') !== null,
    opens: element.tagName === 'BUTTON',
    tag: element.tagName,
    type: element.type,
  }));
};

async function use(page, nth, control) {
  const element = page.locator(`[data-nth="${nth}"]`);
  if (control.tag === 'SELECT') {
    const values = await element.locator('option:not([disabled])').evaluateAll((all) => all.map((one) => one.value));
    const now = await element.inputValue();
    const other = values.find((value) => value !== now);
    if (other === undefined) return false;
    await element.selectOption(other);
  } else if (control.type === 'range') {
    const [now, max] = [await element.inputValue(), await element.getAttribute('max')];
    await element.fill(now === max ? '0' : max);
  } else {
    // As a person would: what covers it is in the way.
    await element.click({ timeout: 4000 });
  }
  return true;
}

/** Something that a field that has to be filled in takes. */
async function fill(field) {
  const [type, min] = [await field.getAttribute('type'), await field.getAttribute('min')];
  if (type === 'file') await field.setInputFiles({ name: 'config', mimeType: 'text/plain', buffer: Buffer.from('Host a\n  HostName a.internal\n') });
  else if (type === 'date') await field.fill(min);
  else await field.fill(type === 'number' ? '7' : 'ana');
}

async function changed(page, before, happened) {
  return eventually('something changes', async () => happened.length > 0 || (await page.evaluate(SIGNATURE).catch(() => 'gone')) !== before, 1500).then(
    () => true,
    () => false,
  );
}

test('every control on every page does something', { timeout: 1_800_000 }, async () => {
  const idle = [];
  let used = 0;
  let frames = false;
  for (const [name, paths] of Object.entries(pagesOf(scene))) {
    const { page, context, faults } = await signIn(browser, gate, name);
    await context.grantPermissions(['clipboard-read', 'clipboard-write']);
    const happened = [];
    page.on('download', () => happened.push('download'));
    await page.route('**/api/v1/**', (route) => {
      const request = route.request();
      const asks = ['GET', 'HEAD'].includes(request.method()) || /\/(preview|explain|replay|export|asking)$/.test(new URL(request.url()).pathname);
      return asks ? route.continue() : route.fulfill({ status: 403, contentType: 'application/problem+json', body: REFUSED });
    });
    const open = async ({ path, show }) => {
      await visit(page, path);
      await settled(page);
      await show?.(page);
      // What is folded away has controls too; of each fold on a page, the first.
      await page.evaluate(() => document.querySelector('main details')?.setAttribute('open', ''));
      return page.evaluate(NUMBERED, CONTROLS);
    };
    for (const at of paths) {
      const controls = await open(at);
      for (let nth = 0; nth < controls.length; nth += 1) {
        const control = controls[nth];
        if (control.framed && frames) continue;
        if (nth > 0) await open(at);
        happened.length = 0;
        const before = await page.evaluate(SIGNATURE);
        let done;
        try {
          done = await use(page, nth, control);
        } catch (error) {
          idle.push(`${name} ${at.path}: ${control.name} cannot be used: ${String(error).split('\n')[0]}`);
          continue;
        }
        if (!done) continue;
        used += 1;
        if (!(await changed(page, before, happened))) {
          idle.push(`${name} ${at.path}: ${control.name}`);
          continue;
        }
        // What it opened has controls of its own.
        if (control.opens && (await page.locator('dialog[open]').count()) > 0) {
          const inside = await page.evaluate(NUMBERED, CONTROLS);
          for (let inner = 0; inner < inside.length; inner += 1) {
            if (inner > 0) {
              await open(at);
              await use(page, nth, control);
              await page.locator('dialog[open]').waitFor();
              await page.evaluate(NUMBERED, CONTROLS);
            }
            for (const field of await page.locator('dialog[open] :is(input, textarea)[required]').all()) await fill(field);
            happened.length = 0;
            const shown = await page.evaluate(SIGNATURE);
            if (!(await use(page, inner, inside[inner]))) continue;
            used += 1;
            if (!(await changed(page, shown, happened))) idle.push(`${name} ${at.path}: ${control.name}: ${inside[inner].name}`);
          }
        }
      }
      frames = true;
    }
    for (const fault of faults) idle.push(`${name}: ${fault}`);
    await context.close();
  }
  assert.deepEqual(idle, []);
  assert.ok(used > 300, `only ${used} controls were found`);
  console.log(`${used} controls used`);
});
