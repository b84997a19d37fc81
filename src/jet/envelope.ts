/** XEP-0391 §3 (version 0.1.2): the envelope that carries a transport secret, and the registry of envelope types. */
import type { Element } from '@xmpp/xml';
import type { Jid } from '../core/jid.ts';

/** Key and IV of one content (XEP-0391 §2 "transport secret"). Wiped when its session ends; never on disk. */
export interface TransportSecret {
  readonly key: Buffer;
  readonly iv: Buffer;
}

/** Whose device made an envelope, as proven by decrypting it. */
export interface EnvelopeSender {
  readonly jid: Jid;
  readonly device: number;
  /** 32 bytes, Curve25519, no type prefix. */
  readonly identityKey: Buffer;
}

/** An envelope that decrypted. */
export interface OpenedEnvelope {
  readonly secret: TransportSecret;
  readonly sender: EnvelopeSender;
}

/** A type of envelope: JET-OMEMO (XEP-0396) or the stub of the specification's examples. */
export interface Envelope {
  /** Value of `security@type`. */
  readonly type: string;
  /** What disco#info advertises for it. */
  readonly feature: string;
  /** Cipher URNs (without version suffix) that it can carry. */
  readonly ciphers: readonly string[];
  /**
   * Encrypts a secret for the devices of `to` that are trusted (all of them: a peer without our own
   * form names no device). @throws JetError (exit 6) when there is none.
   */
  seal(secret: TransportSecret, to: Jid): Promise<Element>;
  /**
   * Decrypts; durable before it resolves. `keyLength` in bytes is what the cipher wants.
   *
   * @param from - the bare JID of the stanza's `from`: a device of it must have made the envelope
   * @throws EnvelopeError when anything at all is wrong with it
   */
  open(envelope: Element, from: Jid, keyLength: number): Promise<OpenedEnvelope>;
}

/** Why an envelope was refused. `reason` is for the user of this side alone. */
export class EnvelopeError extends Error {
  readonly reason:
    'malformed' | 'not-for-us' | 'no-session' | 'untrusted' | 'undecryptable' | 'replayed';

  constructor(reason: EnvelopeError['reason'], message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'EnvelopeError';
    this.reason = reason;
  }
}

/** Envelope types by their `security@type`. */
export class EnvelopeRegistry {
  readonly #envelopes = new Map<string, Envelope>();

  register(envelope: Envelope): void {
    this.#envelopes.set(envelope.type, envelope);
  }

  get(type: string): Envelope | undefined {
    return this.#envelopes.get(type);
  }

  get all(): Envelope[] {
    return [...this.#envelopes.values()];
  }
}
