/** What the tests ask of another project's client, whichever it is. */
import type { Prosody } from '../../../scripts/prosody.ts';

/** How offers are answered from now on. */
export type Answer = 'accept' | 'decline' | 'ignore';

/** How a transfer ended, as the client itself says. */
export interface ClientEnd {
  readonly ok: boolean;
  /** Its own words. */
  readonly words: string;
}

/** An account of a client that runs without anybody looking at it. */
export interface Client {
  readonly kind: 'dino' | 'libervia';
  readonly name: string;
  /** Bare address. */
  readonly jid: string;
  /** Starts it, online when it resolves; again after `stop` or `kill` with what it had stored. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** As a crash does. */
  kill(): Promise<void>;
  answer(how: Answer): Promise<void>;
  /** Resolves when it has an OMEMO session with an account, so that a person's file would be encrypted. */
  acquainted(jid: string): Promise<void>;
  /** Offers a file, encrypted; resolves once it is on its way to the peer. */
  send(path: string, to: string): Promise<void>;
  /** Breaks off the file that is coming; rejects where the client has no way to do that. */
  cancel(): Promise<void>;
  /** How the transfer of a file ends that has not ended before `mark`. */
  ended(mark: number, file: string): Promise<ClientEnd>;
  /** Now, for `ended` and `messages`. */
  mark(): number;
  /** Where the file of this name is that it received. */
  received(file: string): Promise<string | undefined>;
  /** Bodies of messages that a person would have seen. */
  messages(mark: number): readonly string[];
  /** Stops it and removes what it stored. */
  remove(): Promise<void>;
  /** Everything it logged. */
  logFiles(): readonly string[];
}

/** Where a client gets its account. */
export interface ClientOptions {
  readonly server: Prosody;
  readonly name: string;
  readonly password: string;
}
