/** What OMEMO says to the user: every change of a device or of trust. */
import { shellCommand } from '../core/shell.ts';
import { groupFingerprint } from './uri.ts';

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
  /** Our state was older than what the server saw last: all sessions and prekeys are new. */
  | { readonly event: 'state-renewed'; readonly device: number }
  /** The store lies in another file than before: no sending chain is gone on with. */
  | { readonly event: 'state-moved'; readonly device: number }
  /** Other clients took our device off the list more often than we put it back. */
  | { readonly event: 'device-dropped'; readonly device: number }
  /** An envelope of ours was refused: new key exchanges, a fresh secret. */
  | { readonly event: 'sessions-renewed'; readonly jid: string }
  | { readonly event: 'publish-failed'; readonly reason: string }
  | {
      readonly event: 'pinned';
      readonly jid: string;
      readonly device: number | undefined;
      readonly fingerprint: string;
      /** First contact, an answer at the terminal, an address written with its keys, or `jet trust`. */
      readonly by: 'first-contact' | 'answer' | 'address' | 'user';
      readonly verified: boolean;
    }
  | { readonly event: 'distrusted'; readonly jid: string; readonly fingerprint: string }
  /** The key was used by `jid`, so that `other`, who shows it as well, has it no longer. */
  | {
      readonly event: 'bound';
      readonly jid: string;
      readonly fingerprint: string;
      readonly other: string;
    }
  | {
      readonly event: 'jet-forgotten' | 'no-jet';
      readonly jid: string;
      readonly fingerprint: string;
    }
  | {
      readonly event: 'refused';
      readonly jid: string;
      readonly device: number;
      readonly fingerprint: string;
      readonly why: Refusal;
      /** Whose the key is, with `other-jid`. */
      readonly owner?: string;
    };

/** An event as it is said. */
export interface Said {
  /** A stable word for `--json`. */
  readonly code: string;
  /** A sentence, or a few. */
  readonly message: string;
  /** It is about whom to trust: said with `--quiet`, too. */
  readonly trust: boolean;
}

const OF_DEVICES: readonly string[] = [
  'device-made',
  'device-restored',
  'device-removed',
  'publish-failed',
];

/** An event in words. */
export function describeEvent(event: OmemoEvent): Said {
  return { ...sentenceOf(event), trust: !OF_DEVICES.includes(event.event) };
}

function sentenceOf(event: OmemoEvent): Omit<Said, 'trust'> {
  const code = `omemo-${event.event}`;
  switch (event.event) {
    case 'device-made':
      return {
        code,
        message: `Made the OMEMO device ${event.device} of this account, fingerprint ${groupFingerprint(event.fingerprint)}.`,
      };
    case 'device-restored':
      return {
        code,
        message: `Another client had taken this device (${event.device}) off the account's list; it is back.`,
      };
    case 'device-removed':
      return { code, message: `Took the device ${event.device} off the account's list.` };
    case 'state-renewed':
      return {
        code,
        message: `The keys of this device (${event.device}) were older than the server knows it: they come from a backup, or a copy of them is used elsewhere. All encrypted sessions and prekeys are made anew. Give each place a JET_HOME of its own.`,
      };
    case 'state-moved':
      return {
        code,
        message: `The database of this device (${event.device}) was moved or copied: new encrypted sessions are begun. Use only one of the copies.`,
      };
    case 'device-dropped':
      return {
        code,
        message: `Another client takes this device (${event.device}) off the account's list again and again: it is put back in an hour. Until then contacts may not encrypt to it.`,
      };
    case 'sessions-renewed':
      return {
        code,
        message: `${event.jid} could not decrypt what was sent: new encrypted sessions are begun, and the file is offered once more.`,
      };
    case 'publish-failed':
      return {
        code,
        message: `Could not publish this account's keys (${event.reason}): contacts may not be able to encrypt to it. Try again later.`,
      };
    case 'pinned':
      return { code, message: pinnedSentence(event) };
    case 'distrusted':
      return {
        code,
        message: `The key ${groupFingerprint(event.fingerprint)} of ${event.jid} is distrusted from now on.`,
      };
    case 'bound':
      return {
        code,
        message: `The key ${groupFingerprint(event.fingerprint)} is bound to ${event.jid}, who used it. It is not trusted any more as one of ${event.other}, who showed it, too.`,
      };
    case 'no-jet':
      return {
        code,
        message: `The key ${groupFingerprint(event.fingerprint)} of ${event.jid} was not known as a jet's: it may transfer without sealed elements anyhow.`,
      };
    case 'jet-forgotten':
      return {
        code,
        message: `The key ${groupFingerprint(event.fingerprint)} of ${event.jid} may transfer without sealed elements again: servers can see and change names, sizes and receipts of what it sends and gets.`,
      };
    case 'refused':
      return { code, message: refusedSentence(event) };
  }
}

function pinnedSentence(event: OmemoEvent & { event: 'pinned' }): string {
  const key = `${groupFingerprint(event.fingerprint)} of ${event.jid}`;
  switch (event.by) {
    case 'first-contact':
      return `First contact with ${event.jid}: the key ${groupFingerprint(event.fingerprint)} is trusted from now on. To be sure, compare it with \`jet devices\` on the other side.`;
    case 'answer':
      return `The key ${key} is trusted from now on.`;
    case 'address':
      return `The key ${key} was written with the address: it is trusted and counts as compared.`;
    case 'user':
      return `The key ${key} is trusted and counts as compared.`;
  }
}

const WHY: Record<Refusal, string> = {
  distrusted: 'it was distrusted',
  'not-verified': 'its fingerprint was not compared yet, and only compared ones are allowed',
  'not-pinned': 'it is new beside the keys that are known',
  'other-key': 'that device was known with another key',
  'other-jid': 'the key belongs to another address already',
};

function refusedSentence({
  jid,
  device,
  fingerprint,
  why,
  owner,
}: OmemoEvent & { event: 'refused' }): string {
  const refused = `The device ${device} of ${jid} is not trusted: ${WHY[why]}. Its key is ${groupFingerprint(fingerprint)}.`;
  // The commands come last and alone, to be copied.
  return owner === undefined
    ? `${refused} If its owner confirms that, allow it by: ${shellCommand('jet trust', jid, fingerprint)}`
    : `${refused} It is a key of ${owner}; if it never was, give it up by: ${shellCommand('jet distrust', owner, fingerprint)}`;
}
