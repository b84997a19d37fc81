/**
 * The stub of XEP-0391's examples (version 0.1.2): a secret in the clear. For test vectors alone: it
 * protects nothing and no program registers it.
 */
import { xml } from '@xmpp/xml';
import { fromBase64, toBase64 } from '../core/bytes.ts';
import { type Envelope, EnvelopeError } from './envelope.ts';

export const NS_STUB = 'urn:xmpp:encryption:stub:0';

/** An envelope whose payload is base64 of key followed by IV. */
export const stubEnvelope: Envelope = {
  type: NS_STUB,
  feature: 'urn:xmpp:jingle:jet-stub:0',
  ciphers: ['urn:xmpp:ciphers:aes-128-gcm-nopadding', 'urn:xmpp:ciphers:aes-256-gcm-nopadding'],
  seal({ key, iv }) {
    const payload = toBase64(Buffer.concat([key, iv]));
    return Promise.resolve(xml('encrypted', { xmlns: NS_STUB }, xml('payload', {}, payload)));
  },
  open(envelope, from, keyLength) {
    const text = envelope.is('encrypted', NS_STUB) ? envelope.getChildText('payload') : null;
    const bytes = fromBase64(text ?? '');
    if (bytes === undefined || (bytes.length !== keyLength + 12 && bytes.length !== keyLength + 16))
      return Promise.reject(new EnvelopeError('malformed', 'no secret in the envelope'));
    const secret = { key: bytes.subarray(0, keyLength), iv: bytes.subarray(keyLength) };
    const sender = { jid: from, device: 0, identityKey: Buffer.alloc(32) };
    return Promise.resolve({ secret, sender });
  },
};
