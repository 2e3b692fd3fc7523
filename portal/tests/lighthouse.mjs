// Lighthouse on home, inbox and replay, five times each: the medians, as they are. Nothing is asserted here: speed depends on the machine.
//   node tests/lighthouse.mjs [FILE]     writes them there too
import { chromium } from 'playwright-core';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { startScene } from './pages.mjs';

const RUNS = Number(process.env.TIDEGATE_LIGHTHOUSE_RUNS ?? 5);
const home = new URL('../../.cache/lighthouse/', import.meta.url).pathname;
const { default: lighthouse } = await import(pathToFileURL(join(home, 'node_modules/lighthouse/core/index.js')));

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
const free = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

const scene = await startScene();
const { gate } = scene;
const profile = mkdtempSync(join(tmpdir(), 'tidegate-lighthouse-'));
const results = {};
let context;
try {
  const port = await free();
  context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    headless: false,
    baseURL: gate.portal,
    args: ['--headless', '--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', `--remote-debugging-port=${port}`],
  });
  const signIn = async (name) => {
    await context.clearCookies();
    const page = await context.newPage();
    await page.goto('/');
    await page.getByLabel('Token').fill(gate.person(name).token);
    await page.getByRole('button', { name: 'Sign in', exact: true }).click();
    await page.getByRole('navigation', { name: 'Portal' }).waitFor();
    await page.close();
  };
  for (const [what, who, path] of [['home', 'ana', '/'], ['inbox', 'ben', '/inbox'], ['replay', 'carla', `/sessions/${scene.ended}`]]) {
    await signIn(who);
    const runs = [];
    for (let run = 0; run < RUNS; run += 1) {
      // A phone on Lighthouse's simulated slow 4G, with an empty cache; the cookie stays.
      const { lhr } = await lighthouse(gate.portal + path, { port, output: 'json', logLevel: 'error', disableStorageReset: false, clearStorageTypes: ['cache_storage'], onlyCategories: ['performance', 'accessibility', 'best-practices'] });
      if (lhr.runtimeError) throw new Error(`${what}: ${lhr.runtimeError.message}`);
      if (!lhr.finalDisplayedUrl.endsWith(path)) throw new Error(`${what}: led to ${lhr.finalDisplayedUrl}`);
      runs.push(lhr);
    }
    const score = (category) => Math.round(median(runs.map((lhr) => lhr.categories[category].score * 100)));
    const time = (audit) => Math.round(median(runs.map((lhr) => lhr.audits[audit].numericValue)));
    results[what] = {
      performance: score('performance'),
      accessibility: score('accessibility'),
      best_practices: score('best-practices'),
      interactive_ms: time('interactive'),
      first_contentful_paint_ms: time('first-contentful-paint'),
      largest_contentful_paint_ms: time('largest-contentful-paint'),
      bytes: time('total-byte-weight'),
      runs: runs.length,
    };
    const short = runs.flatMap((lhr) => Object.values(lhr.categories).flatMap((category) => category.auditRefs).filter((ref) => ref.weight > 0).map((ref) => lhr.audits[ref.id]).filter((audit) => audit.score !== null && audit.score < 0.9).map((audit) => audit.id));
    results[what].below = [...new Set(short)];
    console.log(what, JSON.stringify(results[what]));
  }
} finally {
  await context?.close();
  await scene.stop();
  rmSync(profile, { recursive: true, force: true });
}
if (process.argv[2]) writeFileSync(process.argv[2], `${JSON.stringify(results, null, 2)}\n`);
