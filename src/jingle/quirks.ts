/**
 * What single clients need or do beyond XEP-0166, 0234, 0391 and 0396: one table, chosen by what a client's
 * disco#info shows. Each line says why; test/unit/jingle/quirks.test.ts and test/interop/ hold it.
 */

/** How a client has to be treated. */
export interface Quirks {
  /**
   * The OMEMO message that comes before Jingle. `empty` is the key transport of XEP-0384 0.3 §4.6;
   * `unreadable` has a payload, too, that nobody can read, so that no text is shown.
   */
  readonly greeting: 'none' | 'empty' | 'unreadable';
  /** Greet before each offer, not only where there was no session. */
  readonly greetAlways: boolean;
  /** A greeting that begins an OMEMO session is answered by an empty message, which is worth waiting for. */
  readonly answers: boolean;
  /** Milliseconds that the client needs to take a greeting in before an offer may follow. */
  readonly settle: number;
  /** `<key/>` holds key ‖ tag and a payload belongs to it. */
  readonly tagged: boolean;
  /** How digests are written to it. */
  readonly hashForm: 'raw' | 'hex';
}

/** What is read of a client's disco#info. */
export interface Shown {
  /** The name of its `client` identity. */
  readonly software?: string | undefined;
  readonly features: ReadonlySet<string>;
}

/** A client that is like the specifications. */
export const PLAIN: Quirks = {
  greeting: 'none',
  greetAlways: false,
  answers: false,
  settle: 0,
  tagged: false,
  hashForm: 'raw',
};

const TABLE: readonly { readonly is: (shown: Shown) => boolean; readonly quirks: Quirks }[] = [
  {
    // Dino 0.4.2. It ignores an offer of somebody with whom it has no conversation, and offers without keys
    // where it has no Signal session: any message makes the one, and a key exchange the other. It looks at no
    // message without a payload, and drops one whose payload does not decrypt.
    is: ({ software }) => software === 'Dino',
    quirks: { ...PLAIN, greeting: 'unreadable', settle: 1000 },
  },
  {
    // Libervia 0.9. While it has no encrypted chat open with us it ignores `<security/>`, saves the ciphertext
    // and says success; an OMEMO message opens one. It may have been closed since, and nothing shows that, so
    // each offer is preceded by one. It reads a key only with the tag of the payload behind it, and digests
    // only as base64 of their hexadecimal text.
    is: ({ software }) => software === 'Libervia',
    quirks: {
      ...PLAIN,
      greeting: 'empty',
      greetAlways: true,
      answers: true,
      settle: 1000,
      tagged: true,
      hashForm: 'hex',
    },
  },
];

/** How to treat a client that shows this. */
export function quirksOf(shown: Shown): Quirks {
  return TABLE.find(({ is }) => is(shown))?.quirks ?? PLAIN;
}

/** What the digests of a `<checksum/>` are of: the file, or ciphertext and tag as they went over the wire. */
export type Covered = 'file' | 'wire';

/**
 * Conversations (since 2.13) hashes what it sends after encryption. Nobody else leaves out the `creator` that
 * the schema of XEP-0234 demands, and nothing else tells that a checksum is of this kind. It says no more
 * than the tag does; but one that does not hold was changed on the way.
 */
export function checksumCovers({ creator }: { readonly creator?: unknown }): Covered {
  return creator === undefined ? 'wire' : 'file';
}
