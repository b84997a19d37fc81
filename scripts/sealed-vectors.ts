/** Writes test/vectors/sealed: the test vectors of docs/sealed.md, by an implementation of their own. */
import { mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { changedElements, elementsOfOthers } from './sealed/changed.ts';
import { positive } from './sealed/courses.ts';
import type { Vector } from './sealed/format.ts';
import { malformedElements, misplacedElements } from './sealed/misplaced.ts';
import { wrongStanzas } from './sealed/stanzas.ts';

/** Every vector, by its file name. */
export function vectors(): Map<string, Vector> {
  const all = [
    ...positive(),
    ...[...changedElements(), ...elementsOfOthers()],
    ...[...misplacedElements(), ...malformedElements()],
    ...wrongStanzas(),
  ];
  return new Map(all.map((one) => [`${one.name}.json`, one]));
}

/** The text of a file. */
export function fileText(one: Vector): string {
  return `${JSON.stringify(one, null, 2)}\n`;
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const folder = new URL('../test/vectors/sealed/', import.meta.url);
  mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(folder)) if (name.endsWith('.json')) rmSync(new URL(name, folder));
  for (const [name, one] of vectors()) writeFileSync(new URL(name, folder), fileText(one));
}
