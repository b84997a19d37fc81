/** What servers see of a file: nothing between two jets, and what the XEPs say, no more and no less, otherwise. */
import { createHash } from 'node:crypto';
import { utimes } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { NS_JET } from '../../src/jet/security.ts';
import { FILE_TRANSFER } from '../../src/jingle/file-description.ts';
import { JINGLE } from '../../src/jingle/stanza.ts';
import type { Element } from '../../src/xmpp/xml.ts';
import { all, honest, jingleOf, setScene, type Scene } from '../support/hostile.ts';
import { readings } from '../support/key-hunt.ts';
import { otherClient } from '../support/other-client.ts';
import { ended, makePair, noise } from '../support/pair.ts';
import { hasProsody } from '../support/prosody.ts';
import type { Rewrite } from '../support/rewriting-relay.ts';

// Many processes start here one after another: a guard for machines that are slow.
vi.setConfig({ testTimeout: 400_000, hookTimeout: 400_000 });

const JET = 'urn:xmpp:jet-transfer:0';
const NAME = 'Figures-that-nobody-may-see.xlsx';
const SIZE = 1_357_913;
const content = noise(SIZE);
const sha256 = createHash('sha256').update(content).digest();

/** Everything about the file that stanzas could show, and how to find it. */
const FACTS: readonly [string, (seen: string) => boolean][] = [
  ['the name', (seen) => readings(Buffer.from(seen)).some((bytes) => bytes.includes('Figures'))],
  ['the size', (seen) => seen.includes(String(SIZE))],
  ['the date', (seen) => seen.includes('2001-02-03')],
  ['the media type', (seen) => seen.includes('octet-stream')],
  ['the hash', (seen) => readings(Buffer.from(seen)).some((bytes) => bytes.includes(sha256))],
];

const shown = (seen: string) => FACTS.filter(([, find]) => find(seen)).map(([what]) => what);

/** Names, attributes and nesting; of candidates and keys, of which there may be any number, one. */
function shape(element: Element): string {
  const attrs = Object.keys(element.attrs).sort().join(' ');
  const inner = [...new Set(element.getChildElements().map(shape))].join(' ');
  const name = element.getName();
  return `${name}${attrs === '' ? '' : `(${attrs})`}${inner === '' ? '' : `[${inner}]`}`;
}

/** Makes jets take one another for other clients. */
const plain: Rewrite = (stanza) => {
  for (const feature of all(stanza, 'feature'))
    if (feature.attrs['var'] === JET) feature.attrs['var'] = 'urn:example:something';
  return stanza;
};

/** The shapes of the requests of a session, and whether our namespace is in any of them. */
function watch(shapes: Map<string, string>, rewrite: Rewrite): Rewrite {
  return (stanza, way) => {
    const jingle = way.direction === 'up' ? jingleOf(stanza) : undefined;
    if (jingle) {
      expect(jingle.toString()).not.toContain('jet-transfer');
      const payload = jingle.getChildElements().at(0)?.getName() ?? '';
      const action = `${way.account.replace(/\d+/, '')} ${jingle.attrs['action']} ${payload}`;
      if (!action.includes('transport')) shapes.set(action, shape(jingle));
    }
    return rewrite(stanza, way);
  };
}

const TRANSPORT = 'transport(dstaddr mode sid xmlns)[candidate(cid host jid port priority type)]';
const OFFER =
  'jingle(action initiator sid xmlns)[content(creator name senders)[' +
  'description(xmlns)[file(xmlns)[name size media-type desc date hash-used(algo xmlns)]] ' +
  `${TRANSPORT} security(cipher name type xmlns)[encrypted(xmlns)[header(sid)[KEY iv] payload]]]]`;
const PLAIN: readonly [string, string][] = [
  ['alice session-initiate content', OFFER],
  [
    'bob session-accept content',
    'jingle(action responder sid xmlns)[content(creator name senders)[' +
      `description(xmlns)[file(xmlns)[name size desc hash-used(algo xmlns)]] ${TRANSPORT}]]`,
  ],
  [
    'alice session-info checksum',
    'jingle(action sid xmlns)[checksum(creator name xmlns)[file(xmlns)[hash(algo xmlns)]]]',
  ],
  ['bob session-terminate reason', 'jingle(action sid xmlns)[reason[success]]'],
];

describe.skipIf(!(await hasProsody()))('what a server sees of a file', () => {
  let scene: Scene;
  beforeAll(async () => {
    scene = await setScene({}, false);
  });
  afterAll(() => scene.close());

  async function send(rewrite: Rewrite, ...args: string[]): Promise<unknown> {
    const { relay, pair, receiver } = scene;
    const file = await pair.file(NAME, content);
    await utimes(file, new Date('2001-02-03T04:05:06Z'), new Date('2001-02-03T04:05:06Z'));
    relay.reset();
    relay.rewrite = rewrite;
    const before = receiver.stdout.length;
    const sent = await ended(pair.send(file, args));
    expect(sent.status, sent.stderr).toBe(0);
    await receiver.until(() => receiver.stdout.slice(before).includes('"event":"end"'));
    relay.rewrite = honest;
    return sent.event('end')?.['status'];
  }

  // First, for two that know each other as jets do not go back to this.
  test('plain JET shows all of it, and is what the XEPs say to the last attribute', async () => {
    const shapes = new Map<string, string>();
    expect(await send(watch(shapes, plain))).toBe('delivered');
    expect(shown(scene.relay.seen)).toEqual(FACTS.map(([what]) => what));
    expect(
      [...shapes].map(([what, found]) => [what, found.replace(/key\([^)]*\)/, 'KEY')]),
    ).toEqual(PLAIN);
  });

  test.each(['direct', 'ibb'])('between two jets nothing of it shows: %s', async (route) => {
    expect(await send(honest, '--route', route)).toBe('verified');
    expect(scene.relay.seen).toContain('session-initiate');
    expect(shown(scene.relay.seen)).toEqual([]);
  });

  test('an offer to another client holds nothing of ours', async () => {
    const { server, relay } = scene;
    const pair = await makePair(server, relay.at);
    await pair.bob.run(['devices']);
    const end = await otherClient({
      ...{ server, name: pair.bob.jid.split('@')[0] ?? '', password: 'secret-b' },
      software: 'Another client',
      features: [JINGLE, FILE_TRANSFER, NS_JET, 'urn:xmpp:jingle:jet-omemo:0'],
    });
    relay.reset();
    let offered = '';
    let ours = 0;
    relay.rewrite = (stanza, { account, direction }) => {
      if (direction !== 'up' || !pair.alice.jid.startsWith(`${account}@`)) return stanza;
      const his = stanza.attrs['to']?.startsWith(pair.bob.jid) === true;
      if (his && stanza.toString().includes('jet-transfer:')) ours++;
      const jingle = jingleOf(stanza, 'session-initiate');
      if (jingle) offered = shape(jingle).replace(/key\([^)]*\)/, 'KEY');
      return stanza;
    };
    const sent = await ended(pair.send(await pair.file('a.bin', noise(10))));
    expect(sent.status, sent.stderr).not.toBe(0);
    expect(offered).toBe(OFFER);
    expect(ours).toBe(0);
    await end();
    await pair.remove();
  });
});
