/** The rule of trust as a pure function: first contact pins, after that only the user adds. */
import type { Refusal } from './events.ts';

/** What is known of an identity key under one JID. */
export interface Pin {
  /** Bare JID that shows the key. */
  readonly jid: string;
  /** Device id it was seen under; undefined before it was seen. */
  readonly device: number | undefined;
  /** 64 lower-case hex digits. */
  readonly fingerprint: string;
  readonly state: 'pinned' | 'verified' | 'distrusted';
  /** Something that this key made was decrypted as coming from the JID. */
  readonly proven: boolean;
}

/** A device as a bundle, a session or a key exchange shows it. */
export interface Candidate {
  readonly jid: string;
  readonly device: number;
  readonly fingerprint: string;
}

/** `bind`: trusted before it was seen, its device id is known from now on. */
export type Verdict =
  | { readonly kind: 'accept' }
  | { readonly kind: 'bind' }
  | { readonly kind: 'pin' }
  | { readonly kind: 'ask' }
  | {
      readonly kind: 'refuse';
      readonly why: Refusal;
      /** The JID that the key is bound to, where that is the reason. */
      readonly owner?: string;
    };

/**
 * Whether a key is bound to the JID of this pin, so that no other JID may have it. Bundles are public:
 * whoever publishes a copy of one could otherwise lock its owner out by being met first. So a key is
 * bound by the user's word or by use, which takes the private key, and never by being shown.
 */
export function isBound(pin: Pin): boolean {
  return pin.state === 'verified' || (pin.state === 'pinned' && pin.proven);
}

/** The JID other than `jid` that a key is bound to, among the key's pins. */
export function boundElsewhere(pins: readonly Pin[], jid: string): string | undefined {
  return pins.find((pin) => pin.jid !== jid && isBound(pin))?.jid;
}

/**
 * The rule.
 *
 * @param pins - every pin of the candidate's JID, and those of its key under whatever JID
 * @param first - whether this is the first contact with the JID
 */
export function assess(
  pins: readonly Pin[],
  candidate: Candidate,
  context: { readonly first: boolean; readonly verifiedOnly: boolean },
): Verdict {
  const ofKey = pins.filter((pin) => pin.fingerprint === candidate.fingerprint);
  const own = ofKey.find((pin) => pin.jid === candidate.jid);
  if (own?.state === 'distrusted') return { kind: 'refuse', why: 'distrusted' };
  const owner = boundElsewhere(ofKey, candidate.jid);
  if (owner !== undefined) return { kind: 'refuse', why: 'other-jid', owner };
  if (own) {
    if (context.verifiedOnly && own.state !== 'verified') {
      return { kind: 'refuse', why: 'not-verified' };
    }
    return own.device === undefined ? { kind: 'bind' } : { kind: 'accept' };
  }
  const same = (pin: Pin) => pin.jid === candidate.jid && pin.device === candidate.device;
  if (pins.some(same)) return { kind: 'refuse', why: 'other-key' };
  if (context.verifiedOnly) return { kind: 'refuse', why: 'not-verified' };
  return { kind: context.first ? 'pin' : 'ask' };
}
