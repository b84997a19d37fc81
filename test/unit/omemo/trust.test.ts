import { describe, expect, it } from 'vitest';
import { assess, type Pin } from '../../../src/omemo/trust-rule.ts';
import { groupFingerprint } from '../../../src/omemo/uri.ts';

const bob = 'bob@b.example';
const pin = (fingerprint: string, state: Pin['state'] = 'pinned', device?: number): Pin => ({
  jid: bob,
  device,
  fingerprint,
  state,
  proven: false,
});
const elsewhere = (state: Pin['state'], proven = false): Pin => ({
  jid: 'eve@e.example',
  device: 9,
  fingerprint: 'K',
  state,
  proven,
});

describe('the trust rule', () => {
  it.each<[string, readonly Pin[], { first?: boolean; verifiedOnly?: boolean }, string]>([
    ['first contact pins', [], { first: true }, 'pin'],
    ['a later key is asked about', [pin('A', 'pinned', 2)], {}, 'ask'],
    ['a later key beside distrusted ones only, too', [pin('A', 'distrusted', 2)], {}, 'ask'],
    [
      'a key distrusted before contact does not stop it',
      [pin('A', 'distrusted')],
      { first: true },
      'pin',
    ],
    ['a pinned key is accepted', [pin('K', 'pinned', 1)], {}, 'accept'],
    ['a verified key is accepted', [pin('K', 'verified', 1)], {}, 'accept'],
    ['a pinned key under another device id is the same key', [pin('K', 'pinned', 7)], {}, 'accept'],
    ['a key trusted before it was seen is bound', [pin('K', 'verified')], {}, 'bind'],
    ['a distrusted key is refused', [pin('K', 'distrusted', 1)], {}, 'distrusted'],
    [
      'a distrusted key is refused at first contact',
      [pin('K', 'distrusted')],
      { first: true },
      'distrusted',
    ],
    ['another key under a known device is refused', [pin('A', 'pinned', 1)], {}, 'other-key'],
    [
      'another key under a distrusted device is refused',
      [pin('A', 'distrusted', 1)],
      {},
      'other-key',
    ],
    ['a key that another JID has used is refused', [elsewhere('pinned', true)], {}, 'other-jid'],
    [
      'a key that was verified for another JID is refused',
      [elsewhere('verified')],
      {},
      'other-jid',
    ],
    [
      'a key of another JID is refused at first contact',
      [elsewhere('pinned', true)],
      { first: true },
      'other-jid',
    ],
    [
      'a pin of its own does not help a key that another JID has used',
      [pin('K', 'pinned', 1), elsewhere('pinned', true)],
      {},
      'other-jid',
    ],
    ['a key that another JID only showed is free', [elsewhere('pinned')], { first: true }, 'pin'],
    [
      'a key that another JID only showed keeps its pin',
      [pin('K', 'pinned', 1), elsewhere('pinned')],
      {},
      'accept',
    ],
    [
      'a key that was distrusted for another JID is free, however it was used',
      [elsewhere('distrusted', true)],
      { first: true },
      'pin',
    ],
    [
      'verified only: first contact pins nothing',
      [],
      { first: true, verifiedOnly: true },
      'not-verified',
    ],
    [
      'verified only: a pinned key is refused',
      [pin('K', 'pinned', 1)],
      { verifiedOnly: true },
      'not-verified',
    ],
    [
      'verified only: a verified key is accepted',
      [pin('K', 'verified', 1)],
      { verifiedOnly: true },
      'accept',
    ],
    [
      'verified only: a new key is not asked about',
      [pin('A', 'pinned', 2)],
      { verifiedOnly: true },
      'not-verified',
    ],
  ])('%s', (_name, pins, { first = false, verifiedOnly = false }, expected) => {
    const verdict = assess(
      pins,
      { jid: bob, device: 1, fingerprint: 'K' },
      { first, verifiedOnly },
    );
    expect(verdict.kind === 'refuse' ? verdict.why : verdict.kind).toBe(expected);
  });

  it('shows fingerprints in groups of eight', () => {
    expect(groupFingerprint('0123456789abcdef')).toBe('01234567 89abcdef');
  });
});
