/** The vectors of test/vectors/jet, read by `jet` and by an independent reader. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { vectors } from '../../../scripts/jet-vectors.ts';
import { OUTCOMES, type JetVector } from '../../../scripts/jet/format.ts';
import { fileText } from '../../../scripts/vectors/files.ts';
import { bytesOf, readVector, WAYS, type Way } from '../../support/vector-reader.ts';

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

describe.each(WAYS)('%s', (way) => {
  test.each(stored)('%s', async (_, vector) => {
    expect(await complaint(vector, way)).toBeUndefined();
  });
});
