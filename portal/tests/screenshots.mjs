// A picture of every page: light, dark, and on a phone, into `portal/screenshots`.
import { mkdirSync, rmSync } from 'node:fs';
import { settled, signIn, startBrowser, visit, visitor } from './gate.mjs';
import { pagesOf, startScene } from './pages.mjs';

const out = new URL('../screenshots/', import.meta.url).pathname;
const wanted = process.argv.slice(2);
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
const [scene, browser] = await Promise.all([startScene(), startBrowser()]);
const { gate } = scene;
const faces = [
  ['light', { colorScheme: 'light' }],
  ['dark', { colorScheme: 'dark' }],
  ['phone', { colorScheme: 'light', viewport: { width: 360, height: 740 }, deviceScaleFactor: 2, isMobile: true, hasTouch: true }],
];
try {
  for (const [face, options] of faces) {
    const stranger = await visitor(browser, gate, options);
    await stranger.page.goto('/');
    await stranger.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    await stranger.page.screenshot({ path: `${out}sign-in.${face}.png` });
    await stranger.context.close();
    for (const [name, paths] of Object.entries(pagesOf(scene))) {
      const { page, context, faults } = await signIn(browser, gate, name, options);
      for (const { name: what, path, show } of paths) {
        if (wanted.length > 0 && !wanted.includes(what)) continue;
        await visit(page, path);
        await settled(page);
        await show?.(page);
        await page.waitForTimeout(250);
        await page.screenshot({ path: `${out}${what}.${face}.png`, fullPage: true });
      }
      for (const fault of faults) console.error(`${name} (${face}): ${fault}`);
      await context.close();
    }
    if (wanted.length === 0) {
      const { page, context } = await signIn(browser, gate, 'ana', options);
      await settled(page);
      await page.keyboard.press('Control+k');
      await page.getByRole('option').nth(8).waitFor();
      await page.screenshot({ path: `${out}palette.${face}.png` });
      await context.close();
    }
  }
} finally {
  await browser.close();
  await scene.stop();
}
console.log(`pictures are in ${out}`);
