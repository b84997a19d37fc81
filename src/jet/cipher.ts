/** XEP-0391 §5 (version 0.1.2): what the pipeline must know of a cipher, and the registry of ciphers. */

/** An AEAD whose stream is ciphertext followed by its tag. */
export interface Cipher {
  /** URN without a version suffix: the spelling that is sent. */
  readonly urn: string;
  /** Name of the cipher in node:crypto. */
  readonly algorithm: 'aes-128-gcm' | 'aes-256-gcm';
  /** Bytes. */
  readonly keyLength: number;
  /** IV lengths in bytes that are accepted; the first is what a fresh secret gets. */
  readonly ivLengths: readonly [number, ...number[]];
  /** Bytes of the tag behind the ciphertext. */
  readonly tagLength: number;
  /** Most plaintext bytes under one key and IV. */
  readonly maxBytes: number;
  /** True for either spelling of the URN: with and without `:0`. */
  accepts(urn: string): boolean;
}

/** Ciphers in the order of preference. */
export class CipherRegistry {
  readonly #ciphers: Cipher[] = [];

  /** Adds a cipher behind those registered before; replaces one of the same URN. */
  register(cipher: Cipher): void {
    const at = this.#ciphers.findIndex(({ urn }) => urn === cipher.urn);
    if (at < 0) this.#ciphers.push(cipher);
    else this.#ciphers[at] = cipher;
  }

  /** The cipher of a URN in either spelling. */
  get(urn: string): Cipher | undefined {
    return this.#ciphers.find((cipher) => cipher.accepts(urn));
  }

  get all(): readonly Cipher[] {
    return this.#ciphers;
  }
}
