/** What a user gets: the package's files, what a start loads, and commands that are as the docs print them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const program = join(root, 'bin/jet');

function jet(...args: string[]): string {
  return execFileSync(process.execPath, [program, ...args], { encoding: 'utf8' });
}

test('the package holds the program, its licence and what a user reads, and no sources or tests', () => {
  const told = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    ...{ cwd: root, encoding: 'utf8' as const, stdio: ['ignore', 'pipe', 'ignore'] },
  });
  const [pack] = JSON.parse(told) as [{ files: { path: string }[] }];
  const paths = pack.files.map(({ path }) => path);
  const built = paths.filter((path) => path.startsWith('dist/'));
  expect(built).toContain('dist/cli/main.js');
  expect(built.filter((path) => !/^dist\/(?:cli|chunks)\/[\w.-]+\.js$/.test(path))).toEqual([
    'dist/LICENSES.txt',
  ]);
  // Of every package that is bundled its licence goes along.
  const licences = readFileSync(join(root, 'dist/LICENSES.txt'), 'utf8');
  const bundled = built.flatMap((path) => sourcesIn(join(root, path))).flatMap(packageOf);
  expect(new Set(bundled).size).toBeGreaterThan(20);
  expect(bundled.filter((name) => !licences.includes(`${name} `))).toEqual([]);
  expect(paths.filter((path) => !/^(?:dist|docs)\//.test(path)).sort()).toEqual(
    ['CHANGELOG.md', 'LICENSE', 'README.md', 'bin/jet', 'package.json'].sort(),
  );
  // What the README leads to is there, too.
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const links = [...readme.matchAll(/\]\((?!https?:)([^)#]+)/g)].map(([, link]) => link);
  expect(links.length).toBeGreaterThan(5);
  expect(links.filter((link) => !paths.includes(link ?? ''))).toEqual([]);
});

/** The modules that a file of the build is made of, below the project. */
function sourcesIn(path: string): string[] {
  const text = readFileSync(path, 'utf8');
  return [...text.matchAll(/^\/\/ ((?:src|node_modules)\/\S+)$/gm)].map(([, name = '']) => name);
}

function packageOf(path: string): string[] {
  const name = /^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(path)?.[1];
  return name === undefined ? [] : [name];
}

/** The files that a run loads, below the project. */
function loaded(...args: string[]): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'jet-loaded-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  execFileSync(process.execPath, [program, ...args], {
    stdio: 'ignore',
    env: { PATH: process.env['PATH'], NODE_V8_COVERAGE: folder },
  });
  return readdirSync(folder).flatMap((name) => {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as {
      result: { url: string }[];
    };
    return result
      .filter(({ url }) => url.startsWith('file:'))
      .map(({ url }) => fileURLToPath(url).slice(root.length));
  });
}

test('--version and --help load nothing that they do not need', () => {
  expect(loaded('--version')).toEqual(['bin/jet']);
  for (const help of [['--help'], ['send', '--help']]) {
    const files = loaded(...help);
    expect(files).toEqual(expect.arrayContaining(['bin/jet', 'dist/cli/main.js']));
    expect(files.filter((path) => !/^(?:bin|dist)\//.test(path))).toEqual([]);
    const modules = new Set(files.flatMap((path) => sourcesIn(join(root, path))));
    const others = [...modules].filter((path) => !path.startsWith('node_modules/commander/'));
    expect(others).toEqual(['src/cli/main.ts']);
  }
});

/** Lines of the code blocks that call `jet`, from `jet` to what is no more of it. */
function commandsIn(doc: string): string[] {
  const text = readFileSync(join(root, doc), 'utf8');
  const blocks = text.matchAll(/^```[a-z]*\n([^]*?)^```$|((?:^ {4}.*\n)+)/gm);
  return [...blocks].flatMap(([, fenced, indented]) =>
    (fenced ?? indented ?? '')
      .split('\n')
      .flatMap((line) => /(?:^|\$ |\| |^ {4})(jet [a-z].*)$/.exec(line)?.[1] ?? [])
      // A comment, another command of the pipe, what is explained in a second column.
      .map((line) => line.split(/ +#| \| | {2,}/)[0] ?? ''),
  );
}

test('every command and flag that the docs print is there', () => {
  const lines = ['README.md', 'docs/commands.md'].flatMap(commandsIn);
  const words = (line: string) => line.split(' ');
  const named = new Set(lines.map((line) => words(line)[1] ?? ''));
  // The tour shows them.
  expect([...named]).toEqual(expect.arrayContaining(['send', 'receive', 'fetch', 'resume']));
  const global = jet('--help');
  const help = new Map([...named].map((name) => [name, jet('help', name)]));
  for (const line of lines) {
    const own = help.get(words(line)[1] ?? '') ?? '';
    expect(own, line).toContain(`Usage: jet ${words(line)[1] ?? ''}`);
    for (const flag of words(line).filter((word) => /^--?[a-z]/.test(word)))
      expect(own + global, line).toMatch(new RegExp(`(?:^|[ ,])${flag}(?:[ ,]|$)`, 'm'));
  }
});

test('docs/commands.md names every command and every flag that there is', () => {
  const text = readFileSync(join(root, 'docs/commands.md'), 'utf8');
  const [, list = ''] = jet('--help').split('\nCommands:\n');
  const commands = [...list.matchAll(/^ {2}([a-z]+) /gm)].map(([, name]) => name ?? '');
  expect(commands.length).toBeGreaterThan(12);
  const missing: string[] = [];
  for (const name of commands.filter((command) => command !== 'help')) {
    if (!text.includes(`jet ${name}`)) missing.push(name);
    for (const [flag] of jet('help', name).matchAll(/(?<=^ {2,6}(?:-[a-z], )?)--[a-z-]+/gm))
      if (flag !== '--help' && !text.includes(flag)) missing.push(`${name} ${flag}`);
  }
  expect(missing).toEqual([]);
});
