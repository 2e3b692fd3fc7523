// Builds the portal into `dist`, puts into the page what it begins with, compresses all of it, and fails when its first load outgrows the budget.
import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig, type Plugin } from 'vite';
import { brotliCompressSync, constants, gzipSync } from 'node:zlib';
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The first load, compressed, in bytes: the page, and what it loads before it can be used. */
const BUDGET = 150 * 1024;

/** Writes `.gz` and `.br` beside each file that gets smaller by it, and weighs the first load. */
function compressed(): Plugin {
  let out = 'dist';
  return {
    name: 'compressed',
    apply: 'build',
    configResolved: (config) => {
      out = config.build.outDir;
    },
    closeBundle() {
      const weight = new Map<string, number>();
      const files = readdirSync(out, { recursive: true, withFileTypes: true }).filter((f) => f.isFile() && !f.name.startsWith('.'));
      for (const file of files) {
        const path = join(file.parentPath, file.name);
        const content = readFileSync(path);
        const brotli = brotliCompressSync(content, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } });
        const gzip = gzipSync(content, { level: 9 });
        if (brotli.length < content.length) writeFileSync(`${path}.br`, brotli);
        if (gzip.length < content.length) writeFileSync(`${path}.gz`, gzip);
        weight.set(path.slice(out.length + 1), Math.min(content.length, gzip.length));
      }
      const page = readFileSync(join(out, 'index.html'), 'utf8');
      const first = ['index.html', ...[...page.matchAll(/(?:src|href)="\/([^"]+)"/g)].map((m) => m[1] ?? '')];
      const bytes = first.reduce((sum, path) => sum + (weight.get(path) ?? 0), 0);
      console.log(`first load: ${(bytes / 1024).toFixed(1)} KiB gzip of at most ${BUDGET / 1024} KiB (${first.length} files)`);
      if (bytes > BUDGET) throw new Error(`the first load of the portal weighs ${bytes} bytes, more than ${BUDGET}`);
    },
  };
}

/**
 * Puts into the page what it begins with: its looks, the theme, and what is asked of the gate first. Each would be one more wait where
 * waiting is what takes long. The gate names what stands there by its digest, and lets in nothing else that does. What nobody loads then
 * is not built: the theme alone has a file as well, for pages that the gate writes itself.
 */
function inlined(): Plugin {
  let out = 'dist';
  const inside = (element: string, text: string) => {
    if (text.includes('</')) throw new Error(`what goes into <${element}> would end it`);
    return `<${element}>${text.trim()}</${element}>`;
  };
  return {
    name: 'inlined',
    apply: 'build',
    configResolved: (config) => {
      out = config.build.outDir;
    },
    transformIndexHtml: {
      order: 'post',
      handler: (page, { bundle }) => {
        const looks = Object.values(bundle ?? {}).find((file) => file.fileName.endsWith('.css'));
        if (looks?.type !== 'asset') throw new Error('the build has no styles');
        const style = typeof looks.source === 'string' ? looks.source : new TextDecoder().decode(looks.source);
        const put = (text: string, wanted: RegExp, instead: string) => {
          if (!wanted.test(text)) throw new Error(`the page has no ${wanted.source}`);
          return text.replace(wanted, () => instead);
        };
        const script = (name: string) => inside('script', readFileSync(join('public', name), 'utf8').replace(/^ *\/\/.*\n/gm, ''));
        const themed = put(page, /<script src="\/theme\.js"><\/script>/, script('theme.js'));
        const asked = put(themed, /<script async src="\/first\.js"><\/script>/, script('first.js'));
        if (bundle) delete bundle[looks.fileName];
        return put(asked, /<link rel="stylesheet"[^>]*>/, inside('style', style));
      },
    },
    closeBundle: () => rmSync(join(out, 'first.js'), { force: true }),
  };
}

const gate = process.env['TIDEGATE_URL'] ?? 'http://127.0.0.1:8443';

export default defineConfig({
  plugins: [svelte(), inlined(), compressed()],
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    sourcemap: false,
    // All styles in one piece, which goes into the page, and what many pages share in another file: each file of the first load is a connection
    // of its own where HTTP/1.1 is spoken, and each beside a page one more wait.
    cssCodeSplit: false,
    rolldownOptions: { output: { codeSplitting: { groups: [{ name: 'shared', test: /node_modules\/(?!@xterm)|src\/(?!pages)/, minShareCount: 8 }] } } },
  },
  server: { proxy: { '/api': { target: gate, changeOrigin: false } } },
});
