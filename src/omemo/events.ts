/** What OMEMO says to the user: every change of a device or of trust. */

/** Why a device is neither encrypted to nor taken from. */
export type Refusal =
  | 'distrusted'
  | 'not-verified'
  /** Beside pinned keys of the same JID a new one appeared. */
  | 'not-pinned'
  /** Another key under a (JID, device id) that is known. */
  | 'other-key'
  /** The key is bound to another JID. */
  | 'other-jid';

/** Fingerprints are 64 lower-case hex digits. */
export type OmemoEvent =
  | { readonly event: 'device-made'; readonly device: number; readonly fingerprint: string }
  | { readonly event: 'device-restored'; readonly device: number }
  | { readonly event: 'device-removed'; readonly device: number }
  | { readonly event: 'publish-failed'; readonly reason: string }
  | {
      readonly event: 'pinned';
      readonly jid: string;
      readonly device: number | undefined;
      readonly fingerprint: string;
      /** First contact, an answer at the terminal, or `jet trust`. */
      readonly by: 'first-contact' | 'answer' | 'user';
      readonly verified: boolean;
    }
  | { readonly event: 'distrusted'; readonly jid: string; readonly fingerprint: string }
  | {
      readonly event: 'refused';
      readonly jid: string;
      readonly device: number;
      readonly fingerprint: string;
      readonly why: Refusal;
    };
