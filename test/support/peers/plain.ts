/**
 * Clients whose file transfer knows no JET-OMEMO, as their source has them offer a file; the facts are in
 * docs/interop-sources.md.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Jid } from '../../../src/core/jid.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import {
  FILE_TRANSFER,
  JET,
  JINGLE,
  OMEMO,
  reasonOf,
  type ScriptedClient,
  type Shown,
} from './client.ts';
import { S5B } from './sockets.ts';

const IBB = 'urn:xmpp:jingle:transports:ibb:1';
const HASHES = 'urn:xmpp:hashes:2';

/** A client, and what it puts into an offer. */
export interface PlainClient extends Shown {
  /** Children of `<file/>` beside name and size. */
  readonly file: readonly Element[];
  /** What it protects a content with. */
  readonly security: (
    client: ScriptedClient,
    content: string,
    to: Jid,
  ) => Promise<Element | undefined>;
}

const hash = (algo: string, size: number) =>
  xml('hash', { xmlns: HASHES, algo }, randomBytes(size).toString('base64'));

/** Psi with Iris. */
export const psi: PlainClient = {
  software: 'Psi',
  features: [JINGLE, FILE_TRANSFER, S5B, IBB, 'urn:xmpp:jingle:transports:ice:0'],
  file: [xml('date', {}, '2026-01-02T03:04:05Z'), hash('sha-1', 20)],
  security: () => Promise.resolve(undefined),
};

/** Gajim 1.4.1. */
export const gajim: PlainClient = {
  software: 'Gajim',
  features: [JINGLE, FILE_TRANSFER, S5B, IBB, 'urn:xmpp:jingle:security:xtls:0'],
  file: [xml('date', {}, '2026-01-02T03:04:05Z'), xml('desc', {}, 'a file'), hash('sha-256', 32)],
  security: () => {
    const fingerprint = xml('fingerprint', { algo: 'sha-256' }, randomBytes(32).toString('hex'));
    const xtls = { xmlns: 'urn:xmpp:jingle:security:xtls:0' };
    return Promise.resolve(xml('security', xtls, fingerprint, xml('method', { name: 'x509' })));
  },
};

/** aTalk 6.4.0: rows T1, T2 and T7. */
export const atalk: PlainClient = {
  software: 'aTalk',
  features: [JINGLE, FILE_TRANSFER, S5B, IBB, JET],
  file: [
    xml('date', {}, '2026-01-02T03:04:05.000+00:00'),
    xml('media-type', {}, 'application/octet-stream'),
    xml('range', { offset: '0', length: '1000' }),
    hash('sha3-256', 32),
  ],
  security: async ({ device }, name, to) => {
    // The text of a message stands where XEP-0396 has no payload at all.
    const secret = { key: randomBytes(16), iv: randomBytes(12) };
    const message = await device.omemo.envelope().seal(secret, to.bare);
    const cipher = 'urn:xmpp:ciphers:aes-256-gcm-nopadding:0';
    return xml('security', { xmlns: JET, name, cipher, type: OMEMO }, message);
  },
};

/** Offers a file of 1,000 bytes; gives the condition with which the session ended. */
export async function offer(client: ScriptedClient, manner: PlainClient, to: Jid): Promise<string> {
  const dialogue = client.dialogue(to, randomUUID());
  const name = 'cont-1';
  const parts = [xml('name', {}, 'plain.txt'), xml('size', {}, '1000'), ...manner.file];
  const description = xml('description', { xmlns: FILE_TRANSFER }, xml('file', {}, ...parts));
  const transport = xml('transport', { xmlns: IBB, sid: randomUUID(), 'block-size': '4096' });
  const security = await manner.security(client, name, to);
  const attrs = { creator: 'initiator', name, senders: 'initiator' };
  const content = xml('content', attrs, description, transport, security);
  const initiator = client.jid.toString();
  await dialogue.sendWith({ initiator }, 'session-initiate', content);
  return reasonOf(await dialogue.next('session-terminate')).condition;
}
