#!/usr/bin/env node
/**
 * Bundles src/ with what it imports into dist/, for the npm package: it starts several times faster than hundreds of
 * modules, and runs the versions of package-lock.json. What has binaries stays outside.
 *
 *     node scripts/build.mjs [OUT [CHECKOUT [MAIN]]]
 *
 * MAIN, a path in the checkout, stands in for src/cli/main.ts.
 */
import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const [out = join(root, 'dist'), checkout = root, main = 'src/cli/main.ts'] = process.argv.slice(2);
const outdir = resolve(out);
rmSync(outdir, { recursive: true, force: true });

const { metafile } = await build({
  absWorkingDir: resolve(checkout),
  entryPoints: [{ in: main, out: 'cli/main' }],
  outdir,
  chunkNames: 'chunks/[name]-[hash]',
  // Those of another checkout are not installed there.
  nodePaths: [join(root, 'node_modules')],
  external: ['libsql', '@napi-rs/keyring'],
  bundle: true,
  splitting: true,
  format: 'esm',
  platform: 'node',
  target: 'node20.19',
  metafile: true,
  logLevel: 'warning',
  // Bundled CommonJS asks for the modules of Node by it.
  banner: {
    js: `import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`,
  },
});

writeFileSync(join(outdir, 'LICENSES.txt'), licences(Object.keys(metafile.inputs)));

/** The licence of every package that is in the bundle, as these licences ask for. */
function licences(files) {
  const folders = files.flatMap(
    (file) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file)?.[1] ?? [],
  );
  return [...new Set(folders)]
    .sort()
    .map((folder) => {
      const path = resolve(checkout, folder);
      const { name, version, license } = JSON.parse(
        readFileSync(join(path, 'package.json'), 'utf8'),
      );
      const file = readdirSync(path).find((entry) => /^licen[cs]e/i.test(entry));
      const text =
        file === undefined ? `License: ${license}` : readFileSync(join(path, file), 'utf8').trim();
      return `${name} ${version}\n\n${text}\n`;
    })
    .join(`\n${'-'.repeat(80)}\n\n`);
}
