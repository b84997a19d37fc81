/** The vectors of test/vectors/jet, read by `jet` and by an independent reader. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { vectors } from '../../../scripts/jet-vectors.ts';
import { OUTCOMES, type JetVector } from '../../../scripts/jet/format.ts';
import { fileText } from '../../../scripts/vectors/files.ts';
import { altered, PLACES } from '../../support/vector-alterations.ts';
import { readVector } from '../../support/vector-reader.ts';
import { bytesOf, pieces, WAYS, type Way } from '../../support/vector-streams.ts';

const folder = new URL('../../vectors/jet/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
const stored = files.map((name): [string, JetVector] => [
  name,
  JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as JetVector,
]);

/** What is wrong with a vector, as far as `jet` can say; undefined: nothing. */
async function complaint(vector: JetVector, way: Way): Promise<string | undefined> {
  const found = await readVector(vector, way);
  const wrong: string[] = [];
  for (const [
    i,
    { outcome, stoppingEarly, secret, plaintext, wire },
  ] of vector.contents.entries()) {
    const got = found[i];
    // Whether bytes behind the tag are seen depends on the pieces in which they come.
    const allowed = way === 'whole' ? [outcome] : [outcome, stoppingEarly];
    if (!allowed.includes(got?.outcome)) wrong.push(`${outcome} is ${String(got?.outcome)}`);
    const ofStream = outcome === 'hash mismatch' ? 'success' : outcome;
    if (got?.stream !== undefined && got.stream !== ofStream)
      wrong.push(`the stream alone: ${outcome} is ${got.stream}`);
    if (outcome !== 'success' || got?.outcome !== 'success') continue;
    if (JSON.stringify(got.secret) !== JSON.stringify(secret)) wrong.push('another secret');
    if (!got.plaintext?.equals(bytesOf(plaintext))) wrong.push('another plaintext');
    if ('base64' in wire && got.wire?.toString('base64') !== wire.base64)
      wrong.push('the plaintext does not become the wire');
  }
  const first = vector.contents.find(({ outcome }) => outcome !== 'success');
  if ((first?.outcome ?? 'success') !== vector.outcome)
    wrong.push('the header has another outcome');
  return wrong.length > 0 ? wrong.join('; ') : undefined;
}

test('the files are what `npx tsx scripts/jet-vectors.ts` writes', () => {
  const made = vectors();
  expect([...made.keys()].sort()).toEqual([...files].sort());
  for (const [name, vector] of made)
    expect(readFileSync(new URL(name, folder), 'utf8'), name).toBe(fileText(vector));
});

test('every outcome of the list has a vector, and no other is there', () => {
  expect(new Set(stored.map(([, { outcome }]) => outcome))).toEqual(new Set(OUTCOMES));
});

test('the README explains the same outcomes, and names every group of files', () => {
  const page = readFileSync(new URL('README.md', folder), 'utf8');
  const section = page.slice(page.indexOf('## Outcomes'), page.indexOf('## Which files'));
  const rows = [...section.matchAll(/^\| `([^`]+)`/gm)].map(([, outcome]) => outcome);
  expect(rows).toEqual([...OUTCOMES]);
  const patterns = [...page.slice(page.indexOf('## Which files')).matchAll(/`([a-z-]+)-\*`/g)];
  const groups = patterns.map(([, group]) => `${String(group)}-`);
  for (const name of files)
    expect(
      groups.some((group) => name.startsWith(group)),
      name,
    ).toBe(true);
});

test('the bytes reach the program in the pieces that are meant', async () => {
  const [, vector] = stored.find(([name]) => name === 'size-omemo-4097.json') ?? [];
  if (vector === undefined) throw new Error('the vector is missing');
  const writes = async (way: Way) => (await readVector(vector, way))[0]?.writes;
  expect(await writes('whole')).toBe(1);
  expect(await writes('streamed')).toBe(pieces(Buffer.alloc(4097), 'streamed').length);
  expect(await writes('byte by byte')).toBe(4097);
});

describe.each(WAYS)('%s', (way) => {
  test.each(stored)('%s', async (_, vector) => {
    expect(await complaint(vector, way)).toBeUndefined();
  });
});

const good = stored.filter(([, { outcome }]) => outcome === 'success');
/** Each vector spoilt in one place, the good ones in all places by turns. */
const spoilt = [
  ...good.map(([name, vector], i): [string, JetVector] => {
    const place = PLACES[i % PLACES.length] ?? 'wire';
    return [`${place}-${name}`, altered(vector, place)];
  }),
  ...stored
    .filter(([, { outcome }]) => outcome !== 'success')
    .map(([name, vector]): [string, JetVector] => [`header-${name}`, altered(vector, 'header')]),
];
/** One bit of the stream turned in every good one. */
const turned = good.map(([name, vector]): [string, JetVector] => [name, altered(vector, 'wire')]);

describe('a vector that is not right is found out', () => {
  const undetected = async (vectors: readonly [string, JetVector][]) => {
    const unseen: string[] = [];
    for (const [name, vector] of vectors) {
      const wrong = await complaint(vector, 'whole').catch(String);
      if (wrong === undefined) unseen.push(name);
    }
    return unseen;
  };

  test('by jet, wherever it was spoilt', async () => {
    expect(await undetected(spoilt)).toEqual([]);
  });

  test('by jet, when one bit of the stream was turned', async () => {
    expect(await undetected(turned)).toEqual([]);
  });
});

const PYTHON = '/usr/bin/python3';
const present = spawnSync(PYTHON, ['-c', 'import cryptography, oldmemo']).status === 0;

describe.skipIf(!present)('the independent reader in Python', () => {
  const script = fileURLToPath(new URL('../../../scripts/read_jet_vectors.py', import.meta.url));

  interface Report {
    readonly files: number;
    readonly outcomes: Readonly<Record<string, number>>;
    readonly failures: readonly string[];
  }

  const run = (path: string): Report => {
    const { stdout, stderr } = spawnSync(PYTHON, [script, path], { encoding: 'utf8' });
    expect(stderr).toBe('');
    return JSON.parse(stdout) as Report;
  };
  const runOn = (vectors: readonly [string, JetVector][]): Report => {
    const path = mkdtempSync(join(tmpdir(), 'jet-vectors-'));
    try {
      for (const [name, vector] of vectors) writeFileSync(join(path, name), fileText(vector));
      return run(path);
    } finally {
      rmSync(path, { recursive: true });
    }
  };

  test('comes to what the headers say', () => {
    const outcomes: Record<string, number> = {};
    for (const [, { outcome }] of stored) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    expect(run(fileURLToPath(folder))).toEqual({ files: stored.length, outcomes, failures: [] });
  });

  test.each([
    ['wherever a vector was spoilt', spoilt],
    ['when one bit of the stream was turned', turned],
  ])('complains %s', (_, vectors) => {
    const { files: read, failures } = runOn(vectors);
    const complained = failures.map((failure) => failure.split(':')[0]);
    expect(read).toBe(vectors.length);
    expect(complained.sort()).toEqual(vectors.map(([name]) => name).sort());
  });
});
