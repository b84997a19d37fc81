/** The digests that a sender gave of a file (XEP-0234 §5 and §8.1, XEP-0300), against what has come. */
import { Exit, JetError } from '../core/errors.ts';
import type { FileDescription } from '../jingle/file-description.ts';
import type { Covered } from '../jingle/quirks.ts';
import { isStrong, sameHash, type Algorithm, type Hash } from '../jingle/hashes.ts';

/** True when a `<range/>` speaks of the whole file, as one does that is empty. */
export function isWhole({ range }: Pick<FileDescription, 'range'>, size?: number): boolean {
  return range === undefined || (range.offset === 0 && (range.length ?? size) === size);
}

/** What has to be right before a file lands: every digest of a strong function. SHA-1 proves nothing. */
export class Proof {
  /** The functions to compute while the bytes come: SHA-256 always, and what the offer named. */
  readonly functions: readonly Algorithm[];
  readonly #size: number;
  readonly #promised: boolean;
  readonly #claims: Hash[] = [];
  /** Of what went over the wire. */
  readonly #wireClaims: Hash[] = [];

  /** @param file - what is said of the `size` bytes that are to come: of a whole file or of a part of one */
  constructor(file: FileDescription, size: number) {
    const used = file.hashUsed.filter(isStrong);
    const given = strong(file, size);
    const functions = [...used, ...given.map(({ algorithm }) => algorithm)];
    this.functions = [...new Set<Algorithm>(['sha-256', ...functions])];
    this.#size = size;
    this.#promised = used.length > 0;
    this.#claims.push(...given);
  }

  /** True while a digest was promised and none has come. */
  get due(): boolean {
    return this.#promised && this.#claims.length === 0;
  }

  /**
   * Takes a later `<checksum/>`; true when it holds a digest to compare.
   *
   * @param covers - what it is about, see `checksumCovers`
   */
  add(file: Pick<FileDescription, 'hashes' | 'range'>, covers: Covered = 'file'): boolean {
    if (covers === 'wire') {
      // No function can have been named for that beforehand: SHA-256 alone was computed.
      const claims = file.hashes.filter(({ algorithm }) => algorithm === 'sha-256');
      this.#wireClaims.push(...claims);
      return claims.length > 0;
    }
    // A function that was not named beforehand was not computed: the tag has proven the bytes already.
    const claims = strong(file, this.#size).filter(({ algorithm }) =>
      this.functions.includes(algorithm),
    );
    this.#claims.push(...claims);
    return claims.length > 0;
  }

  /**
   * Compares.
   *
   * @param digests - what was computed, one for each of the functions
   * @param wire - SHA-256 of ciphertext and tag
   * @throws JetError (exit 6) `hash-mismatch`
   */
  check(digests: readonly Hash[], wire?: Buffer): void {
    const ofWire = wire === undefined ? [] : [{ algorithm: 'sha-256' as const, digest: wire }];
    const held = (claims: readonly Hash[], own: readonly Hash[]) =>
      claims.every((claim) => own.some((digest) => sameHash(claim, digest)));
    if (held(this.#claims, digests) && held(this.#wireClaims, ofWire)) return;
    throw new JetError(
      Exit.security,
      'hash-mismatch',
      'its hash is not the one that was given. Nothing was kept; ask for it again',
    );
  }
}

/** The digests of the whole file whose functions prove something. */
function strong(file: Pick<FileDescription, 'hashes' | 'range'>, size: number): Hash[] {
  const ofRange = isWhole(file, size) ? (file.range?.hashes ?? []) : [];
  return [...file.hashes, ...ofRange].filter(({ algorithm }) => isStrong(algorithm));
}
