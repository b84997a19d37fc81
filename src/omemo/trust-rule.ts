/** The rule of trust as a pure function: first contact pins, after that only the user adds. */
import type { Refusal } from './events.ts';

/** What is known of an identity key. */
export interface Pin {
  /** Bare JID that the key is bound to. */
  readonly jid: string;
  /** Device id it was seen under; undefined before it was seen. */
  readonly device: number | undefined;
  /** 64 lower-case hex digits. */
  readonly fingerprint: string;
  readonly state: 'pinned' | 'verified' | 'distrusted';
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
  | { readonly kind: 'refuse'; readonly why: Refusal };

/**
 * The rule.
 *
 * @param pins - every pin of the candidate's JID, and the one of its key under whatever JID
 * @param first - whether this is the first contact with the JID
 */
export function assess(
  pins: readonly Pin[],
  candidate: Candidate,
  context: { readonly first: boolean; readonly verifiedOnly: boolean },
): Verdict {
  const own = pins.find((pin) => pin.fingerprint === candidate.fingerprint);
  if (own) {
    if (own.jid !== candidate.jid) return { kind: 'refuse', why: 'other-jid' };
    if (own.state === 'distrusted') return { kind: 'refuse', why: 'distrusted' };
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
