/**
 * Streaming AES-GCM without I/O, as XEP-0391 §5 (version 0.1.2) puts it on the wire: one message,
 * ciphertext and then the 16-byte tag, nothing else.
 */
import { createCipheriv, createDecipheriv } from 'node:crypto';
import type { CipherGCM, DecipherGCM } from 'node:crypto';
import type { Cipher } from './cipher.ts';
import type { TransportSecret } from './envelope.ts';
import { fits } from './secret.ts';

/** Why a stream is not the message that was announced. */
export class GcmError extends Error {
  readonly reason: 'secret' | 'too-long' | 'extra-bytes' | 'truncated' | 'tag-mismatch' | 'ended';

  constructor(reason: GcmError['reason'], message: string) {
    super(message);
    this.name = 'GcmError';
    this.reason = reason;
  }
}

function checked(cipher: Cipher, secret: TransportSecret): TransportSecret {
  if (!fits(secret, cipher)) throw new GcmError('secret', 'key or IV has the wrong length');
  return secret;
}

/** Encrypts one message. */
export class Encryptor {
  readonly #gcm: CipherGCM;
  readonly #maxBytes: number;
  #bytes = 0;
  #ended = false;

  /** @throws GcmError `secret` */
  constructor(cipher: Cipher, secret: TransportSecret) {
    const { key, iv } = checked(cipher, secret);
    const options = { authTagLength: cipher.tagLength };
    this.#gcm = createCipheriv(cipher.algorithm, key, iv, options);
    this.#maxBytes = cipher.maxBytes;
  }

  /** Ciphertext of the next plaintext, in a buffer of its own. @throws GcmError `too-long`, `ended` */
  update(plain: Uint8Array): Buffer {
    if (this.#ended) throw new GcmError('ended', 'the message is complete');
    if (this.#bytes + plain.length > this.#maxBytes)
      throw new GcmError('too-long', 'more than one key and IV may encrypt');
    this.#bytes += plain.length;
    return this.#gcm.update(plain);
  }

  /** The tag, which ends the message. @throws GcmError `ended` */
  final(): Buffer {
    if (this.#ended) throw new GcmError('ended', 'the message is complete');
    this.#ended = true;
    this.#gcm.final();
    return this.#gcm.getAuthTag();
  }
}

/** Plaintext that came out before the tag was checked: for a part file, never for the user. */
export interface Unverified {
  readonly verified: false;
  readonly bytes: Buffer;
}

/** The tag was right: all that was released is what the sender encrypted. */
export interface Verified {
  readonly verified: true;
  readonly size: number;
}

/** Decrypts one message of a known size from wire chunks of any split. */
export class Decryptor {
  readonly #gcm: DecipherGCM;
  readonly #tag: Buffer;
  readonly #size: number;
  #plain = 0;
  #tagged = 0;
  #ended = false;

  /** @param size - plaintext bytes announced. @throws GcmError `secret`, `too-long` */
  constructor(cipher: Cipher, secret: TransportSecret, size: number) {
    const { key, iv } = checked(cipher, secret);
    if (!Number.isSafeInteger(size) || size < 0 || size > cipher.maxBytes)
      throw new GcmError('too-long', 'more than one key and IV may encrypt');
    const options = { authTagLength: cipher.tagLength };
    this.#gcm = createDecipheriv(cipher.algorithm, key, iv, options);
    this.#tag = Buffer.alloc(cipher.tagLength);
    this.#size = size;
  }

  /** True when `size` bytes and the tag are there: nothing more may come. */
  get complete(): boolean {
    return this.#plain === this.#size && this.#tagged === this.#tag.length;
  }

  /** Bytes of the wire still to come, tag included. */
  get missing(): number {
    return this.#size - this.#plain + this.#tag.length - this.#tagged;
  }

  /**
   * Takes the next bytes of the wire.
   *
   * @param wire - any split, empty too; large chunks are best cut to 256 KiB by the caller
   * @throws GcmError `extra-bytes` (before anything of the chunk is released), `ended`
   */
  update(wire: Buffer): Unverified {
    if (this.#ended) throw new GcmError('ended', 'the message is complete');
    if (wire.length > this.missing)
      throw new GcmError('extra-bytes', 'more bytes than were announced');
    const body = Math.min(wire.length, this.#size - this.#plain);
    const bytes = body === 0 ? Buffer.alloc(0) : this.#gcm.update(wire.subarray(0, body));
    this.#plain += body;
    this.#tagged += wire.copy(this.#tag, this.#tagged, body);
    return { verified: false, bytes };
  }

  /** Checks the tag. @throws GcmError `truncated`, `tag-mismatch`, `ended` */
  final(): Verified {
    if (this.#ended) throw new GcmError('ended', 'the message is complete');
    this.#ended = true;
    if (!this.complete) throw new GcmError('truncated', 'fewer bytes than were announced');
    this.#gcm.setAuthTag(this.#tag);
    try {
      this.#gcm.final();
    } catch {
      throw new GcmError('tag-mismatch', 'the authentication tag does not fit the bytes');
    }
    return { verified: true, size: this.#size };
  }
}
