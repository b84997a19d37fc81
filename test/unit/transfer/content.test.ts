import { expect, test } from 'vitest';
import { Jid } from '../../../src/core/jid.ts';
import { CipherRegistry } from '../../../src/jet/cipher.ts';
import { aesGcm } from '../../../src/jet/ciphers.ts';
import { EnvelopeRegistry } from '../../../src/jet/envelope.ts';
import { stubEnvelope } from '../../../src/jet/stub-envelope.ts';
import type { Content } from '../../../src/jingle/stanza.ts';
import { offerContent, protect } from '../../../src/transfer/content.ts';
import { openOffer, readIncoming } from '../../../src/transfer/incoming.ts';
import { xml } from '../../../src/xmpp/xml.ts';

const ciphers = new CipherRegistry();
ciphers.register(aesGcm(128, 1000));
const envelopes = new EnvelopeRegistry();
envelopes.register(stubEnvelope);
const peer = Jid.parse('romeo@montague.example/orchard') as Jid;
const self = Jid.parse('juliet@capulet.example/balcony') as Jid;
const session = { sid: 'a-session', peer };

const open = async (content: Content) =>
  openOffer(readIncoming([content]), self, session, { ciphers, envelopes });

async function offer(size: number, name = 'a-file') {
  const shield = await protect(name, peer, stubEnvelope, ciphers, Math.min(size, 1000));
  const content: Content = {
    creator: 'initiator',
    name: 'a-file',
    senders: 'initiator',
    transport: xml('transport', { xmlns: 'urn:xmpp:jingle:transports:ibb:1' }),
    ...offerContent(
      shield,
      { name: 'a-file', self, session },
      { name: 'report.pdf', size, hashes: [], hashUsed: [] },
    ),
  };
  return { shield, content };
}

test('what one side protects the other opens', async () => {
  const { shield, content } = await offer(1000);
  const opened = await open(content);
  expect(opened.secret.key.equals(shield.secret.key)).toBe(true);
});

test('a file that the cipher cannot carry is neither offered nor taken', async () => {
  await expect(protect('a', peer, stubEnvelope, ciphers, 1001)).rejects.toMatchObject({
    code: 'file-too-large',
    exit: 8,
  });
  const { content } = await offer(1001);
  await expect(open(content)).rejects.toMatchObject({
    name: 'Unacceptable',
    reason: 'media-error',
  });
});

test('an offer in the clear, or protected for another content, ends as a security error', async () => {
  const { content } = await offer(10, 'another');
  const plain = { ...content };
  delete plain.security;
  for (const one of [content, plain])
    await expect(open(one)).rejects.toMatchObject({
      name: 'Unacceptable',
      reason: 'security-error',
    });
});
