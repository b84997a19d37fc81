/** Writes test/vectors/sealed: the test vectors of docs/sealed.md, by an implementation of their own. */
import { changedElements, elementsOfOthers } from './sealed/changed.ts';
import { positive } from './sealed/courses.ts';
import type { Vector } from './sealed/format.ts';
import { hashLists, wrongHashLists } from './sealed/hash-lists.ts';
import { manyFiles, wrongManyFiles } from './sealed/many-files.ts';
import { malformedElements, misplacedElements } from './sealed/misplaced.ts';
import { wrongStanzas } from './sealed/stanzas.ts';
import { byFile, writeVectors } from './vectors/files.ts';

/** Every vector, by its file name. */
export function vectors(): Map<string, Vector> {
  return byFile([
    ...[...positive(), ...hashLists(), ...manyFiles()],
    ...[...changedElements(), ...elementsOfOthers()],
    ...[...misplacedElements(), ...malformedElements()],
    ...[...wrongStanzas(), ...wrongHashLists(), ...wrongManyFiles()],
  ]);
}

if (process.argv[1] === new URL(import.meta.url).pathname)
  writeVectors(new URL('../test/vectors/sealed/', import.meta.url), vectors());
