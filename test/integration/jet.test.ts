/** XEP-0391 §6 and §7 as a whole session shows them: a real `jet receive`, and a client that cheats. */
import { readdir } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { randomId } from '../../src/core/bytes.ts';
import { Sessions } from '../../src/jingle/sessions.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { End } from '../../src/jingle/handler.ts';
import type { Content } from '../../src/jingle/stanza.ts';
import { encodeDescription } from '../../src/jingle/file-description.ts';
import { xml, type Element } from '../../src/xmpp/xml.ts';
import { jetHome, type JetHome, type JetProcess } from '../support/jet.ts';
import { address } from '../support/address.ts';
import { Client, PASSWORD, receive, terminate } from '../support/people.ts';
import { hasProsody, startProsody, type Prosody } from '../support/prosody.ts';

const present = await hasProsody();
const JET = 'urn:xmpp:jingle:jet:0';
const OMEMO = 'eu.siacs.conversations.axolotl';
const STUB = 'urn:xmpp:encryption:stub:0';
const CIPHER = 'urn:xmpp:ciphers:aes-128-gcm-nopadding';

describe.skipIf(!present)('a waiting jet', () => {
  let server: Prosody;
  let bob: JetHome;
  let alice: Client;
  let receiving: JetProcess;
  let target: string;

  beforeAll(async () => {
    server = await startProsody();
    for (const name of ['alice', 'bob']) await server.addAccount(name, PASSWORD);
    await server.befriend('alice', 'bob');
    bob = await jetHome(server, 'bob', PASSWORD);
    alice = await Client.open(server, 'alice');
    receiving = await receive(bob, '--yes');
    target = await alice.jet(bob.jid);
  });
  afterAll(async () => {
    expect(await terminate(receiving)).toBe(0);
    await alice.connection.close();
    await bob.remove();
    await server.stop();
  });

  test('§6 advertises JET and its envelope, and never the stub', async () => {
    const query = xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' });
    const info = await alice.connection.iq(address(target), 'get', query);
    const features =
      info?.getChildren('feature').map((feature) => feature.attrs['var'] ?? '') ?? [];
    expect(features).toContain(JET);
    expect(features).toContain('urn:xmpp:jingle:jet-omemo:0');
    expect(features.filter((feature) => feature.includes('stub'))).toEqual([]);
    // Nor anything that could carry a file in the clear.
    expect(features).not.toContain('http://jabber.org/protocol/si');
  });

  const key = xml('key', { rid: '1' }, 'AAAA');
  const header = xml('header', { sid: '1' }, key, xml('iv', {}, 'AAAAAAAAAAAAAAAA'));
  const envelope = xml('encrypted', { xmlns: OMEMO }, header);
  const security = (attrs: Record<string, string>, ...inside: Element[]) =>
    xml('security', { xmlns: JET, ...attrs }, ...inside);
  const name = 'the-content';

  test.each<[string, Element | undefined]>([
    ['no security element at all', undefined],
    ['an unknown cipher', security({ name, cipher: 'urn:example:rot13', type: OMEMO }, envelope)],
    [
      'the stub envelope of the examples',
      security({ name, cipher: CIPHER, type: STUB }, xml('envelope', { xmlns: STUB })),
    ],
    ['an envelope of another type than said', security({ name, cipher: CIPHER, type: OMEMO })],
    ['another content in its name', security({ name: 'x', cipher: CIPHER, type: OMEMO }, envelope)],
    [
      'an envelope that is not for this device',
      security({ name, cipher: CIPHER, type: OMEMO }, envelope),
    ],
  ])(
    '§7 ends a session with %s by security-error, tells its user and lands nothing',
    async (_, given) => {
      const before = receiving.stderr.length;
      const end = await offer(alice, target, given);
      expect(end).toMatchObject({ by: 'peer', reason: 'security-error' });
      const refused = /Refused an offer of alice@jet\.test: .+\./;
      await receiving.until(() => refused.test(receiving.stderr.slice(before)), 'the refusal');
      expect((await readdir(bob.home)).filter((file) => file.startsWith('plain'))).toEqual([]);
    },
  );

  /** Offers a file with this for security; gives how the session ended. */
  async function offer(client: Client, to: string, given: Element | undefined): Promise<End> {
    const { connection } = client;
    connection.audience = () => true;
    const sessions = new Sessions({ connection, clock: systemClock, log: () => undefined });
    const content: Content = {
      creator: 'initiator',
      name,
      senders: 'initiator',
      description: encodeDescription({ name: 'plain.txt', size: 5, hashes: [], hashUsed: [] }),
      transport: xml('transport', {
        xmlns: 'urn:xmpp:jingle:transports:ibb:1',
        sid: randomId(),
        'block-size': '4096',
      }),
      ...(given && { security: given }),
    };
    const nothing = () => undefined;
    const session = await sessions.initiate(address(to), () => [content], {
      accepted: nothing,
      transportInfo: nothing,
      transportReplace: nothing,
      transportAccepted: nothing,
      transportRejected: nothing,
      info: nothing,
      ended: nothing,
    });
    const end = await session.ended;
    await sessions.close();
    return end;
  }
});
