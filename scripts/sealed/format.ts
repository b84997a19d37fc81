/** The form of the files in test/vectors/sealed; test/vectors/sealed/README.md says the same in words. */

/** Why an element is refused (docs/sealed.md §10). */
export type Reason = 'not-authentic' | 'out-of-place' | 'repeated' | 'malformed' | 'missing';

/** One of the two devices; keys are hexadecimal. */
export interface VectorDevice {
  readonly jid: string;
  readonly privateKey: string;
  readonly identityKey: string;
}

/** One element with everything that leads to it; hexadecimal, but for `plaintext` and `sealed`. */
export interface VectorElement {
  readonly label: string;
  readonly from: 'maker' | 'other';
  /** UTF-8. */
  readonly plaintext: string;
  readonly padded: string;
  readonly info: string;
  readonly key: string;
  readonly aad: string;
  readonly nonce: string;
  /** Base64. */
  readonly sealed: string;
}

/** What comes last, and has to be refused. */
export interface Refused {
  readonly by: 'maker' | 'other';
  readonly label: string;
  /** Base64 of an element's bytes … */
  readonly sealed?: string;
  /** … or the XML that it stands in. */
  readonly stanza?: string;
  readonly reason: Reason;
}

/** A file. */
export interface Vector {
  readonly name: string;
  readonly about: string;
  readonly secret: { readonly key: string; readonly iv: string };
  readonly binding: {
    readonly sid: string;
    readonly creator: 'initiator' | 'responder';
    readonly name: string;
    readonly senders: string;
    readonly cipher: string;
    readonly type: string;
  };
  readonly maker: VectorDevice;
  readonly other: VectorDevice;
  readonly agreement: string;
  /** In the order of their time. */
  readonly elements: readonly VectorElement[];
  /** Where first element and accept are there. */
  readonly transferId?: { readonly info: string; readonly id: string };
  /** Base64: what travels, where the offer alone does not say how it is made. */
  readonly stream?: string;
  readonly refused?: Refused;
}
