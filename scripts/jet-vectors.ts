/** Writes test/vectors/jet: test vectors of XEP-0391 and XEP-0396, by an implementation of their own. */
import {
  foreignEnvelopes,
  malformedEnvelopes,
  reusedKeys,
  wrongSecurity,
} from './jet/cases-envelopes.ts';
import { ciphers, envelopes, sizes } from './jet/cases-offers.ts';
import { hashes, requests, resumed, several } from './jet/cases-parts.ts';
import { tags, wrongFiles, wrongHashes, wrongRanges, wrongSizes } from './jet/cases-streams.ts';
import type { JetVector } from './jet/format.ts';
import { byFile, writeVectors } from './vectors/files.ts';

/** Every vector, by its file name. */
export function vectors(): Map<string, JetVector> {
  return byFile([
    ...[...ciphers(), ...sizes(), ...envelopes()],
    ...[...requests(), ...resumed(), ...hashes(), ...several()],
    ...[...tags(), ...wrongSizes(), ...wrongHashes(), ...wrongFiles(), ...wrongRanges()],
    ...[...wrongSecurity(), ...malformedEnvelopes(), ...foreignEnvelopes(), ...reusedKeys()],
  ]);
}

if (process.argv[1] === new URL(import.meta.url).pathname)
  writeVectors(new URL('../test/vectors/jet/', import.meta.url), vectors());
