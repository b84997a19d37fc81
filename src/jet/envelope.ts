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
   * Encrypts a secret for the trusted devices of `to`, but for those whose key is a jet's: nothing is made
   * for a jet without sealed elements. @throws JetError (exit 6) when there is none.
   */
  seal(secret: TransportSecret, to: Jid): Promise<Element>;
  /**
   * Decrypts; durable before it resolves. `keyLength` in bytes is what the cipher wants.
   *
   * @param from - the bare JID of the stanza's `from`: a device of it must have made the envelope
   * @throws EnvelopeError when anything at all is wrong with it
   */
  open(envelope: Element, from: Jid, keyLength: number): Promise<OpenedEnvelope>;
  /** What sealed elements need of our own device; absent for an envelope that knows no identity keys. */
  identity?(): EnvelopeIdentity;
}

/** Our device as sealed elements know it (docs/sealed.md §5). */
export interface EnvelopeIdentity {
  /** What the disco form names. */
  readonly device: number;
  /** 32 bytes, X25519. */
  readonly key: Buffer;
  /**
   * Encrypts a secret for exactly one device of `to`.
   *
   * @throws JetError (exit 6) when it is not on the list or not trusted
   */
  seal(
    secret: TransportSecret,
    to: Jid,
    device: number,
  ): Promise<{ readonly element: Element; /** Its identity key. */ readonly recipient: Buffer }>;
  /** X25519 with a peer's identity key. @throws EnvelopeError `malformed` for an all-zero result */
  agree(peer: Buffer): Buffer;
  /** Whether an element sealed by this key has ever opened. */
  isJet(peer: Buffer): boolean;
  /** Remembers that one has, and that the key is this account's own: it was used. */
  rememberJet(peer: Buffer, of: Jid): void;
}

/** Why an envelope was refused. `reason` is for the user of this side alone. */
export class EnvelopeError extends Error {
  readonly reason:
    | 'malformed'
    | 'not-for-us'
    | 'no-session'
    | 'untrusted'
    | 'undecryptable'
    | 'replayed'
    | 'key-as-iv';

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
