import fc from 'fast-check';
import { expect, test } from 'vitest';
import { makeRoom } from '../../../src/core/bounded.ts';

test('the oldest goes, of a set as of a map', () => {
  const set = new Set(['a', 'b']);
  const map = new Map([...set].map((key) => [key, 1]));
  for (const kept of [set, map]) makeRoom(kept, 'c', 2);
  expect([...set, ...map.keys()]).toEqual(['b', 'b']);
});

test('nothing goes for one that is in already, or while there is room', () => {
  const kept = new Set(['a', 'b']);
  makeRoom(kept, 'a', 2);
  makeRoom(kept, 'c', 3);
  expect([...kept]).toEqual(['a', 'b']);
});

test('whatever comes, the newest are kept and never more than the bound', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20)), fc.integer({ min: 1, max: 8 }), (keys, most) => {
      const kept = new Set<number>();
      let model: number[] = [];
      for (const key of keys) {
        makeRoom(kept, key, most);
        kept.add(key);
        if (!model.includes(key)) model = [...model, key].slice(-most);
        expect([...kept]).toEqual(model);
      }
    }),
  );
});
