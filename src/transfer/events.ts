/** What a transfer tells: the only thing that the command line shows. src/cli/json.ts is its JSON form. */
import type { ExitStatus } from '../core/errors.ts';
import type { Route } from '../jingle/transport.ts';

/** Direction as seen from this side. */
export type Direction = 'send' | 'receive';

/** How certain it is that the peer holds the file, or why it does not. */
export type EndStatus =
  'verified' | 'partial' | 'delivered' | 'declined' | 'failed' | 'interrupted';

/** Events of one account's work. `id` is the transfer's, unique in the process; `time` in ms since the epoch. */
export type TransferEvent = { readonly id: string; readonly time: number } & (
  | { readonly event: 'waiting'; readonly what: string; readonly peer?: string }
  | { readonly event: 'notice'; readonly code: string; readonly message: string }
  | {
      readonly event: 'offer';
      readonly direction: Direction;
      readonly peer: string;
      readonly file: string;
      readonly size: number;
      readonly fingerprint: string;
    }
  | {
      readonly event: 'start';
      readonly direction: Direction;
      readonly peer: string;
      readonly file: string;
      readonly size: number;
      readonly route: Route;
      readonly resumed_from: number;
    }
  | { readonly event: 'progress'; readonly bytes: number; readonly size: number }
  | { readonly event: 'finishing'; readonly what: string }
  | {
      readonly event: 'end';
      readonly direction: Direction;
      readonly status: EndStatus;
      readonly peer: string;
      /** The landed path for a receiver, the source's name for a sender. */
      readonly file: string;
      /** For the receiver of a batch: where each of its files lies. */
      readonly files?: readonly string[];
      /** Of a folder or a batch of which some has not landed: how many of its list, and the paths of the first ones. */
      readonly missing?: { readonly count: number; readonly paths: readonly string[] };
      readonly bytes: number;
      /** What was transferred is only a part: of a file of `size` bytes those from `offset` on. */
      readonly part_of?: { readonly offset: number; readonly size: number };
      /** Where it went, by the receipt of a jet, when that is no file of its name. */
      readonly as?: 'range' | 'stdout';
      /** Lower-case hex of the plaintext's SHA-256; absent when it is not known. */
      readonly sha256?: string;
      /** Milliseconds from the first byte to the end of the bytes. */
      readonly elapsed: number;
      readonly exit: ExitStatus;
    }
  | {
      readonly event: 'error';
      readonly code: string;
      readonly message: string;
      readonly exit: ExitStatus;
    }
);
