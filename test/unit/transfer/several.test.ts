/** Several offers of one send, as the receiver counts them (docs/sealed.md §4.3). */
import { describe, expect, test } from 'vitest';
import { Exit, type ExitStatus } from '../../../src/core/errors.ts';
import { SealedError } from '../../../src/jet/sealed.ts';
import {
  decodeMembership,
  encodeMembership,
  overall,
  Sends,
  type EndedOffer,
} from '../../../src/transfer/several.ts';
import { xml } from '../../../src/xmpp/xml.ts';

const SEND = '0123456789abcdef'.repeat(2);

function offer(index: number, exit: ExitStatus, more: Partial<EndedOffer> = {}): EndedOffer {
  const of = { send: SEND, index, count: 3 };
  return { peer: 'a@x/1', fingerprint: 'aa', of, accepted: exit === Exit.done, exit, ...more };
}

describe('which of several offers one is', () => {
  test.each([{}, { joint: true }])('survives the way through XML (%j)', (more) => {
    const of = { send: SEND, index: 2, count: 3, ...more };
    expect(decodeMembership(encodeMembership(of))).toEqual(of);
  });
  test.each([
    [{ send: SEND, index: '3', count: '3' }],
    [{ send: SEND, index: '0', count: '0' }],
    [{ send: SEND, index: '-1', count: '3' }],
    [{ send: SEND, index: '0', count: '1000001' }],
    [{ send: 'x'.repeat(32), index: '0', count: '3' }],
    [{ index: '0', count: '3' }],
    [{ send: SEND, index: '0', count: '3', joint: 'perhaps' }],
  ])('is refused as %j', (attrs) => {
    expect(() => decodeMembership(xml('of', attrs))).toThrow(SealedError);
  });
});

test('several statuses come to one', () => {
  expect(overall([])).toBe(0);
  expect(overall([Exit.done, Exit.done])).toBe(0);
  expect(overall([Exit.security])).toBe(6);
  expect(overall([Exit.done, Exit.security])).toBe(10);
  expect(overall([Exit.declined, Exit.declined])).toBe(10);
});

describe('a send', () => {
  test('of one file, or of another program, is over with it', () => {
    const sends = new Sends();
    expect(sends.ended({ peer: 'a@x/1', fingerprint: 'aa', accepted: true, exit: 0 })).toBe(0);
    expect(
      sends.ended(offer(0, 6, { of: { send: SEND, index: 0, count: 1 }, accepted: true })),
    ).toBe(6);
    expect(
      sends.ended({ peer: 'a@x/1', fingerprint: 'aa', accepted: false, exit: 5 }),
    ).toBeUndefined();
  });
  test('of several is over with the last, in whatever order', () => {
    const sends = new Sends();
    expect(sends.ended(offer(2, 0))).toBeUndefined();
    expect(sends.ended(offer(0, 0))).toBeUndefined();
    expect(sends.ended(offer(0, 0))).toBeUndefined();
    expect(sends.unfinished).toBe(true);
    expect(sends.ended(offer(1, 5))).toBe(10);
    expect(sends.unfinished).toBe(false);
  });
  test('of which nothing was taken does not count', () => {
    const sends = new Sends();
    for (const index of [0, 1, 2]) expect(sends.ended(offer(index, 5))).toBeUndefined();
    expect(sends.abandon()).toBeUndefined();
  });
  test('of another device with the same id is another', () => {
    const sends = new Sends();
    sends.ended(offer(0, 0));
    sends.ended(offer(1, 0));
    expect(sends.ended(offer(2, 0, { fingerprint: 'bb' }))).toBeUndefined();
    expect(sends.ended(offer(2, 0))).toBe(0);
  });
  test('whose sender goes away fails for what is missing', () => {
    const sends = new Sends();
    sends.ended(offer(0, 0));
    expect(sends.abandon('b@x/1')).toBeUndefined();
    expect(sends.abandon('a@x/1')).toEqual({ missing: 2, status: 10 });
    expect(sends.abandon('a@x/1')).toBeUndefined();
    expect(sends.unfinished).toBe(false);
    sends.ended(offer(0, 7, { accepted: true }));
    expect(sends.abandon()).toEqual({ missing: 2, status: 7 });
  });
  test('is forgotten when too many are open', () => {
    const sends = new Sends();
    const of = (n: number) => ({ send: n.toString(16).padStart(32, '0'), index: 0, count: 2 });
    for (let n = 0; n <= 100; n++) sends.ended(offer(0, 0, { of: of(n) }));
    expect(sends.ended(offer(1, 0, { of: { ...of(0), index: 1 } }))).toBeUndefined();
    expect(sends.ended(offer(1, 0, { of: { ...of(100), index: 1 } }))).toBe(0);
  });
});
