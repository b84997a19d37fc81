/** What a hostile server makes of accept, checksum, receipt and success between two jets. */
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { randomId } from '../../src/core/bytes.ts';
import { xml, type Element } from '../../src/xmpp/xml.ts';
import {
  all,
  attack,
  copy,
  flipBit,
  inside,
  jingleOf,
  replace,
  setScene,
  strike,
  strikeBack,
  strip,
  together,
  type Attacked,
  type Scene,
} from '../support/hostile.ts';
import { noise } from '../support/pair.ts';
import { hasProsody } from '../support/prosody.ts';
import type { Rewrite } from '../support/rewriting-relay.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const FILE_TRANSFER = 'urn:xmpp:jingle:apps:file-transfer:5';
const HASHES = 'urn:xmpp:hashes:2';
const NO_RECEIPT =
  /the other side is said to have the file, but its sealed receipt is missing: somebody may have forged this/;

/** What the sender tells of a receiver that ended it for security. */
const PEER_REFUSED = /Compare fingerprints/;

describe.skipIf(!(await hasProsody()))('between two jets', () => {
  let scene: Scene;
  /** The sealed elements of an earlier transfer. */
  const recorded = new Map<string, Element>();

  beforeAll(async () => {
    scene = await setScene();
    await attack(scene, (stanza) => {
      for (const sealed of all(stanza, 'sealed'))
        recorded.set(sealed.attrs['label'] ?? '', copy(sealed));
      return stanza;
    });
    expect([...recorded.keys()]).toEqual(['offer', 'accept', 'checksum', 'landed']);
  });
  afterAll(() => scene.close());

  const earlier = (label: string): Element => copy(recorded.get(label) ?? xml('none'));
  const told = ({ sent, received }: Attacked) => sent.stderr + received.stderr;

  /** Neither side says that all is well, and nothing is there: the statuses of both, and what they say. */
  async function failsAtBoth(
    rewrite: Rewrite,
    sender: readonly [exit: number, says: RegExp],
    receiver: readonly [exit: number, says: RegExp],
  ): Promise<Attacked> {
    const attacked = await attack(scene, rewrite);
    const { sent, received, landed } = attacked;
    expect([sent.status, received.exit, landed], told(attacked)).toEqual([
      ...[sender[0], receiver[0], false],
    ]);
    expect(sent.stderr).toMatch(sender[1]);
    expect(received.stderr).toMatch(receiver[1]);
    return attacked;
  }

  async function succeeds(rewrite: Rewrite): Promise<void> {
    const attacked = await attack(scene, rewrite);
    const { sent, received, landed } = attacked;
    expect([sent.status, received.exit, landed], told(attacked)).toEqual([0, 0, true]);
  }

  /** Bob has the file and says so; alice knows only what she can be sure of. */
  async function landsUnproven(rewrite: Rewrite, says: RegExp): Promise<void> {
    const attacked = await attack(scene, rewrite);
    const { sent, received, landed } = attacked;
    expect([sent.status, received.exit, landed], told(attacked)).toEqual([6, 0, true]);
    expect(sent.stderr).toMatch(says);
  }

  const accept = (change: (jingle: Element) => void) => strikeBack('session-accept', change);
  const checksum = (change: (checksum: Element) => unknown) =>
    strike('session-info', (jingle) => change(inside(jingle, 'checksum')));
  /** Both copies of the receipt. */
  const receipts = (change: (received: Element) => void): Rewrite =>
    together(
      strikeBack('session-info', (jingle) => change(inside(jingle, 'received'))),
      strikeBack('session-terminate', (jingle) => change(inside(jingle, 'received'))),
    );

  test.each<[string, () => Rewrite, RegExp]>([
    ['stripped', () => accept((jingle) => strip(jingle, 'sealed')), /sealed accept is missing/],
    [
      'changed',
      () => accept((jingle) => flipBit(inside(jingle, 'sealed'))),
      /sealed accept is not what the peer sealed/,
    ],
    [
      'taken from an earlier session',
      () => accept((jingle) => replace(inside(jingle, 'sealed'), earlier('accept'))),
      /sealed accept is not what the peer sealed/,
    ],
    [
      'called by another name',
      () =>
        accept((jingle) => {
          inside(jingle, 'sealed').attrs['label'] = 'landed';
        }),
      /a sealed element of another kind/,
    ],
  ])('no byte leaves after an accept that is %s', async (_, rewrite, says) => {
    const { sent } = await failsAtBoth(rewrite(), [6, says], [6, PEER_REFUSED]);
    expect(sent.event('start')).toBeUndefined();
    expect(sent.stderr).toMatch(/Nothing of it is kept; try again, and over another server/);
  });

  test('no byte leaves after an accept that the server makes up', async () => {
    const forged: Rewrite = (stanza, { account, direction }) => {
      const jingle = account.startsWith('alice') ? jingleOf(stanza, 'session-initiate') : undefined;
      if (direction !== 'up' || jingle === undefined) return stanza;
      const { to } = stanza.attrs;
      const answer = copy(jingle);
      answer.attrs = {
        xmlns: answer.attrs['xmlns'],
        action: 'session-accept',
        sid: jingle.attrs['sid'],
        responder: to,
      };
      strip(answer, 'security');
      for (const candidate of all(answer, 'candidate')) candidate.attrs['cid'] = randomId();
      const iq = xml('iq', { type: 'set', id: randomId(), from: to }, answer);
      const acknowledged = xml('iq', { type: 'result', id: stanza.attrs['id'], from: to });
      scene.relay.forge('alice0', 'down', acknowledged);
      scene.relay.forge('alice0', 'down', iq);
      return [];
    };
    const { sent, landed } = await attack(scene, forged, { unheard: true });
    expect([sent.status, landed], sent.stderr).toEqual([6, false]);
    expect(sent.stderr).toMatch(/sealed accept is missing/);
    expect(sent.event('start')).toBeUndefined();
  });

  const plainHash = (digest = Buffer.alloc(32)) =>
    xml('hash', { xmlns: HASHES, algo: 'sha-256' }, digest.toString('base64'));

  test.each<[string, () => Rewrite, RegExp]>([
    ['stripped', () => checksum((found) => strip(found, 'sealed')), /sealed checksum is missing/],
    [
      'changed',
      () => checksum((found) => flipBit(inside(found, 'sealed'))),
      /sealed checksum is not what the peer sealed/,
    ],
    [
      'taken from an earlier session',
      () => checksum((found) => replace(inside(found, 'sealed'), earlier('checksum'))),
      /sealed checksum is not what the peer sealed/,
    ],
    [
      'replaced by one in the clear',
      () =>
        checksum((found) => {
          strip(found, 'sealed');
          inside(found, 'file').append(plainHash());
        }),
      /sealed checksum is missing/,
    ],
  ])('nothing lands with a checksum that is %s', async (_, rewrite, says) => {
    await failsAtBoth(rewrite(), [6, PEER_REFUSED], [6, says]);
  });

  test('nothing lands with a plain checksum that comes before the sealed one', async () => {
    const injected = strike('session-info', (jingle, stanza) => {
      const plain = copy(stanza);
      plain.attrs['id'] = randomId();
      strip(plain, 'sealed');
      inside(plain, 'file').append(plainHash());
      return jingle.getChild('checksum', FILE_TRANSFER) ? [plain, stanza] : undefined;
    });
    await failsAtBoth(injected, [6, PEER_REFUSED], [6, /sealed checksum is missing/]);
  });

  test('a hash in the clear beside the sealed checksum counts for nothing', async () => {
    await succeeds(checksum((found) => inside(found, 'file').append(plainHash())));
  });

  test('nothing lands while the checksum is withheld', async () => {
    const withheld = strike('session-info', () => []);
    await failsAtBoth(
      withheld,
      [7, /was not sent to bob0@jet\.test/],
      [7, /nothing came while waiting for the checksum of the file/],
    );
  });

  test.each<[string, () => Rewrite]>([
    ['first', () => strikeBack('session-info', () => [])],
    ['second', () => strikeBack('session-terminate', (jingle) => strip(jingle, 'received'))],
  ])('one receipt is enough: the %s is withheld', async (_, rewrite) => {
    await succeeds(rewrite());
  });

  test.each<[string, () => Rewrite, RegExp]>([
    ['stripped', () => receipts((received) => strip(received, 'sealed')), NO_RECEIPT],
    [
      'changed',
      () => receipts((received) => flipBit(inside(received, 'sealed'))),
      /sealed landed is not what the peer sealed/,
    ],
    [
      'taken from an earlier session',
      () => receipts((received) => replace(inside(received, 'sealed'), earlier('landed'))),
      /sealed landed is not what the peer sealed/,
    ],
    [
      'replaced by the accept',
      () => receipts((received) => replace(inside(received, 'sealed'), earlier('accept'))),
      /a sealed element of another kind/,
    ],
  ])('a success is none with a receipt that is %s', async (_, rewrite, says) => {
    await landsUnproven(rewrite(), says);
  });

  test('a success without any receipt is none', async () => {
    const withheld = together(
      strikeBack('session-info', () => []),
      strikeBack('session-terminate', (jingle) => strip(jingle, 'received')),
    );
    await landsUnproven(withheld, NO_RECEIPT);
  });

  /** The end of a session as the peer would say it. */
  const success = (sid: string, from: string, ...receipt: Element[]) => {
    const reason = xml('reason', {}, xml('success'));
    const attrs = { xmlns: 'urn:xmpp:jingle:1', action: 'session-terminate', sid };
    const jingle = xml('jingle', attrs, reason, ...receipt);
    return xml('iq', { type: 'set', id: randomId(), from }, jingle);
  };

  test.each([
    ['without a receipt', false, NO_RECEIPT],
    ['with the receipt of an earlier session', true, /not what the peer sealed|has no place here/],
  ])('a success forged before the last byte is none, %s', async (_, recordedToo, says) => {
    let forged: Element | undefined;
    const watch: Rewrite = (stanza, { account, direction }) => {
      const own = account.startsWith('alice') && direction === 'up';
      const jingle = own ? jingleOf(stanza, 'session-initiate') : undefined;
      if (!jingle) return stanza;
      const name = inside(jingle, 'content').attrs['name'];
      const received = xml(
        'received',
        { xmlns: FILE_TRANSFER, creator: 'initiator', name },
        earlier('landed'),
      );
      const { sid = '' } = jingle.attrs;
      forged = success(sid, stanza.attrs['to'] ?? '', ...(recordedToo ? [received] : []));
      return stanza;
    };
    const attacked = await attack(scene, watch, {
      content: noise(3_000_000),
      send: ['--limit-rate', '500k'],
      midway: () => scene.relay.forge('alice0', 'down', forged ?? xml('none')),
    });
    const { sent, received, landed } = attacked;
    expect([sent.status, received.exit, landed], told(attacked)).toEqual([6, 7, false]);
    expect(sent.stderr).toMatch(says);
  });

  test('a success forged to the receiver lands nothing; what the sender then goes on with is proven as ever', async () => {
    let forged: Element | undefined;
    const watch: Rewrite = strike('session-initiate', (jingle, stanza) => {
      forged = success(jingle.attrs['sid'] ?? '', stanza.attrs['from'] ?? '');
    });
    const attacked = await attack(scene, watch, {
      content: noise(3_000_000),
      send: ['--limit-rate', '500k'],
      midway: () => scene.relay.forge('bob0', 'down', forged ?? xml('none')),
    });
    const { sent, received, landed } = attacked;
    const ends = received.events.filter(({ event }) => event === 'end');
    expect(ends[0], told(attacked)).toMatchObject({ status: 'failed', exit: 7 });
    expect(received.stderr).toMatch(/ended the transfer before the whole file was through/);
    expect([sent.status, received.exit, landed], told(attacked)).toEqual([0, 0, true]);
  });

  test('every stanza of the session comes twice, and counts once', async () => {
    await succeeds((stanza) => (jingleOf(stanza) ? [stanza, copy(stanza)] : stanza));
  });

  test('every stanza but the checksum comes again as a new one, and nothing changes', async () => {
    await succeeds((stanza) => {
      const jingle = jingleOf(stanza);
      if (!jingle || jingle.getChild('checksum', FILE_TRANSFER)) return stanza;
      const again = copy(stanza);
      again.attrs['id'] = randomId();
      return [stanza, again];
    });
  });

  test('a checksum that comes again as a new one is never a second file, nor a wrong one', async () => {
    const attacked = await attack(
      scene,
      strike('session-info', (_, stanza) => {
        const again = copy(stanza);
        again.attrs['id'] = randomId();
        return [stanza, again];
      }),
    );
    const { sent, received, landed } = attacked;
    const expected = landed ? [0, 0] : [6, 6];
    expect([sent.status, received.exit], told(attacked)).toEqual(expected);
    if (!landed) expect(received.stderr).toMatch(/a second sealed checksum/);
  });
});
