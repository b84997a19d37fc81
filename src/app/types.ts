/**
 * What the commands need from the application: the seam between src/cli and src/app.ts, so that a
 * command is tested without a server and the application knows nothing of terminals.
 */
import type { ExitStatus } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import type { Hash } from '../jingle/hashes.ts';
import type { Route } from '../jingle/transport.ts';
import type { WrittenKey } from '../omemo/uri.ts';
import type { Catalogue } from '../transfer/catalogue.ts';
import type { TransferEvent } from '../transfer/events.ts';
import type { TransferRow } from '../transfer/journal/journal-row.ts';
import type { AskedRange } from '../transfer/selector.ts';
import type { Gathered } from '../transfer/items.ts';
import type { Listed } from '../transfer/listing.ts';

/** A server given by hand instead of a look-up; the certificate must match the JID's domain all the same. */
export interface ServerAddress {
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
  /** True for TLS from the first byte (XEP-0368), false for STARTTLS. */
  readonly directTls: boolean;
}

/** A SOCKS5 proxy for every outgoing connection; it implies `direct: false` and no local look-ups. */
export interface ProxyAddress {
  readonly host: string;
  /** 1 to 65,535. */
  readonly port: number;
  readonly user?: string;
  readonly password?: string;
}

/** The folders of one `JET_HOME`, or the system's; made with mode 0700 before the account is opened. */
export interface HomeFolders {
  readonly config: string;
  readonly data: string;
}

/** How the processes of an account share its connections. */
export interface SlotSettings {
  /** Connections at once, 1 to 64. */
  readonly most: number;
  /** Ours may be held for ever: where there are several, one is kept from such commands. */
  readonly lasting: boolean;
  /** Milliseconds to wait while nothing moves; Infinity for ever. */
  readonly wait: number;
  /** Told once what is being waited for. */
  readonly say: (what: string) => void;
}

/** Everything needed to open an account. */
export interface AccountSettings {
  /** A bare address. */
  readonly jid: Jid;
  /** Asked once a connection; throws JetError (exit 3) when there is none. */
  readonly password: () => Promise<string>;
  readonly server?: ServerAddress;
  /** A PEM file that replaces the system's roots. */
  readonly caFile?: string;
  readonly proxy?: ProxyAddress;
  readonly home: HomeFolders;
  readonly slots: SlotSettings;
  /** Take the OMEMO device off the list when the account is closed. */
  readonly ephemeral: boolean;
  /** Of tests: bytes that one encrypted message carries, below what its cipher allows. */
  readonly mostBytes?: number;
  /** Lines about the stream, secrets struck out already; absent without --verbose. */
  readonly log?: (line: string) => void;
}

/** What a file offered looks like to the one who decides. Names are as the peer wrote them: escape them. */
export interface OfferQuestion {
  readonly peer: Jid;
  readonly name: string;
  /** How many files, of a folder or a batch. */
  readonly files?: number;
  /** They are in no folder of their own: `name` is that of the first. */
  readonly batch?: boolean;
  /** Bytes. */
  readonly size: number;
  /** 64 lower-case hex digits of the peer device's identity key. */
  readonly fingerprint: string;
}

/** A key that is new beside the pinned ones of a contact. */
export interface TrustQuestion {
  readonly peer: Jid;
  readonly deviceId: number;
  /** 64 lower-case hex digits. */
  readonly fingerprint: string;
}

/** What the application asks of and tells to the person, outside of any transfer. */
export interface Ui {
  /** False off a terminal: nothing can be asked there, and what would be asked is refused. */
  readonly interactive: boolean;
  /** Rejects with the signal's reason when it aborts while the question stands. */
  confirmOffer(offer: OfferQuestion, signal?: AbortSignal): Promise<boolean>;
  confirmTrust(question: TrustQuestion, signal?: AbortSignal): Promise<boolean>;
  /**
   * Something to be known: a device made, keys pinned. `code` is a kebab-case word for --json.
   *
   * @param trust - it is about whom to trust: told with --quiet, too
   */
  notice(code: string, message: string, trust?: boolean): void;
}

/** Ports of 1 to 65,535, both ends included. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** How a transfer may travel, on either side. */
export interface RouteOptions {
  /** The only kind of route that this side offers and tries; absent for all. */
  readonly route?: Route['kind'];
  /** False keeps our addresses to ourselves: no listener, no candidates of our own. */
  readonly direct: boolean;
  /** Where direct connections of the peer are listened for; absent for any free port. */
  readonly ports?: PortRange;
  /** Offer the addresses of container bridges, too. */
  readonly allInterfaces: boolean;
  /** Bytes a second, at least 1; absent for no limit. */
  readonly limitRate?: number;
  /** Only devices whose fingerprint was compared. */
  readonly verifiedOnly: boolean;
  /** Milliseconds to wait for the peer (and, with `once`, for a resume); Infinity for ever. */
  readonly wait: number;
}

export type SendOptions = RouteOptions;

/** What happens when the target's name is taken. */
export type OnConflict = 'rename' | 'overwrite' | 'skip' | 'fail';

export interface ReceiveOptions extends RouteOptions {
  /** Accept without asking, from the JIDs named or from every contact, as far as trust allows. */
  readonly yes: boolean;
  /** End after the first accepted transfer has ended. */
  readonly once: boolean;
  /** An absolute path of a folder that is there. */
  readonly out: string;
  /** The one file that is taken goes to standard output, and `out` means nothing. */
  readonly stdout: boolean;
  readonly onConflict: OnConflict;
  /** Larger offers are declined unasked; bytes. */
  readonly maxSize?: number;
}

/** How files are pulled. */
export interface FetchOptions extends RouteOptions {
  /** An absolute path: of a folder that is there, or of the file to be. */
  readonly out: string;
  /** Only data goes to standard output, and `out` means nothing. */
  readonly stdout: boolean;
  /** Default: rename in a folder, fail for a file that was named. */
  readonly onConflict?: OnConflict;
  /** The only bytes that are wanted; without a length up to the end. */
  readonly range?: AskedRange;
}

/** What is shared with whom, and for how long. */
export interface ShareOptions extends RouteOptions {
  /** Who may fetch. */
  readonly to: readonly Jid[];
  /** All contacts may. */
  readonly contacts: boolean;
  /** Who may ask without sealed elements: programs that are no jet. */
  readonly plain: readonly Jid[];
  /** Milliseconds since the epoch when sharing ends. */
  readonly until?: number;
  /** Sharing ends after so many files were taken. */
  readonly count?: number;
  readonly links: boolean;
  readonly exclude: readonly string[];
}

/** A file that is shared, for the line with which the other side fetches it. */
export interface SharedFile {
  readonly path: string;
  readonly name: string;
  readonly size: number;
  /** 64 lower-case hex digits. */
  readonly sha256: string;
}

/** An entry of the roster (RFC 6121 §2). */
export interface Contact {
  readonly jid: Jid;
  readonly name?: string;
  readonly subscription: 'none' | 'to' | 'from' | 'both';
  /** True while our request to see their presence is unanswered. */
  readonly pending: boolean;
}

/** `pinned`: at first contact; `trusted`: by the user; `verified`: fingerprint compared. */
export type TrustState = 'pinned' | 'trusted' | 'verified' | 'distrusted' | 'undecided';

/** An OMEMO device, our own or a contact's. */
export interface Device {
  readonly id: number;
  /** 64 lower-case hex digits; absent when its bundle could not be had. */
  readonly fingerprint?: string;
  /** Absent for this device itself. */
  readonly trust?: TrustState;
  readonly own: boolean;
  /** False for one that we remember and that is on the list no longer. */
  readonly listed: boolean;
}

/** A device of our own account that is of no use any more. */
export interface StaleDevice {
  readonly id: number;
  /** `no-bundle`: nobody can encrypt to it; `silent`: a jet that was not used for 90 days. */
  readonly why: 'no-bundle' | 'silent';
}

/** Is told of files that can be fetched, some at once, and of our device; the next are told when it resolves. */
export type OnShared = (
  files: readonly SharedFile[],
  own: Pick<Device, 'id' | 'fingerprint'> | undefined,
) => Promise<void>;

/** A catalogue of what is shared, which is being filled. */
export interface Filling {
  /** Rejects with JetError (exit 8) when there is nothing to share, or with the reason for which it was ended. */
  readonly catalogue: Promise<Catalogue>;
  /** Ends it where it still goes on; never rejects. */
  stop(): Promise<void>;
}

export type OnEvent = (event: TransferEvent) => void;

/** An account that is online. */
export interface OpenAccount {
  /** Our full address. */
  readonly jid: Jid;
  /**
   * Offers files and sends them; every way it ends is told as an `end` or `error` event and as the status.
   * Aborting ends the session cleanly, tells the peer, and resolves.
   */
  send(
    what: Gathered,
    to: Jid,
    options: SendOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus>;
  /** Waits for offers, from these only when any is named. Ends as `send` does; idle and aborted is 0. */
  receive(
    from: readonly Jid[],
    options: ReceiveOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus>;
  /** Pulls files by their hashes, one after another. Ends as `send` does. */
  fetch(
    hashes: readonly Hash[],
    from: Jid,
    options: FetchOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus>;
  /** What a contact lets us fetch; the status when it could not be had, which was told as an event. */
  list(
    from: Jid,
    options: RouteOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<readonly Listed[] | ExitStatus>;
  /** Serves files until it is ended. `ready` is told them once they can be fetched. Rejects with what filling did. */
  share(
    filling: Filling,
    options: ShareOptions,
    ready: OnShared,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus>;
  /**
   * Goes on with transfers that were interrupted, whichever side they were begun on; by their ids, or all
   * of this account. Ends as `send` does.
   */
  resume(
    ids: readonly string[],
    options: RouteOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus>;
  contacts(): Promise<readonly Contact[]>;
  /** Adds to the roster and asks to see their presence. */
  addContact(jid: Jid): Promise<void>;
  /** False when it was none. */
  removeContact(jid: Jid): Promise<boolean>;
  /** Those of a contact, or our own. */
  devices(jid?: Jid): Promise<readonly Device[]>;
  /** Devices of our own account that may be taken off the list; never this one. */
  staleDevices(): Promise<readonly StaleDevice[]>;
  /** Takes devices of our own account off the list. Throws JetError (exit 2) for this one and unlisted ones. */
  removeDevices(ids: readonly number[]): Promise<void>;
  /** The keys that an address was written with: verified from now on. Throws JetError (exit 6) when they cannot be. */
  pin(jid: Jid, keys: readonly WrittenKey[]): Promise<void>;
  /** The check of `pin` without its change. */
  checkKeys(jid: Jid, keys: readonly WrittenKey[]): Promise<void>;
  /** Marks as trusted and compared. Throws JetError (exit 6) when the key is another's. */
  trust(jid: Jid, fingerprint: string, device?: number): Promise<void>;
  /** Forgets that a key is a jet's. Throws JetError (exit 6) when the key is another's. */
  forgetJet(jid: Jid, fingerprint: string): Promise<void>;
  distrust(jid: Jid, fingerprint: string): Promise<void>;
  /** Takes our device off the list and deletes its bundle and its local state. */
  removeDevice(): Promise<void>;
  /** Never rejects; bounded in time. */
  close(): Promise<void>;
}

/** The journal, for which no account has to be online. */
export interface OpenJournal {
  /** The newest first. */
  list(): readonly TransferRow[];
  /** Those that `resume` goes on with unasked. */
  resumable(): readonly TransferRow[];
  /** Removes rows with the parts that they speak of. Throws JetError (exit 2, 8). */
  forget(ids: readonly string[]): Promise<void>;
  /** Removes the rows of what has ended for good, expired, or cannot be gone on with, with their parts; gives how many. */
  clean(): Promise<number>;
  close(): void;
}

/**
 * What src/app.ts exports: the functions of this interface.
 *
 * @remarks `openAccount` rejects with JetError (exit 3) when the account cannot be opened.
 * Aborted by the signal, it rejects with the signal's reason.
 */
export interface Application {
  openAccount(settings: AccountSettings, ui: Ui, signal: AbortSignal): Promise<OpenAccount>;
  /** Only authenticates and closes: nothing is published and no device is made. */
  checkAccount(settings: AccountSettings, signal: AbortSignal): Promise<void>;
  openJournal(home: HomeFolders): OpenJournal;
  /** Begins to find and hash what `share` serves; no account has to be online. */
  fillCatalogue(
    home: HomeFolders,
    paths: readonly string[],
    options: Pick<ShareOptions, 'links' | 'exclude'>,
    ui: Pick<Ui, 'notice'>,
    on: OnEvent,
    signal: AbortSignal,
  ): Filling;
  /** Makes an account at the JID's server (XEP-0077) with the password of the settings. */
  registerAccount(settings: AccountSettings, signal: AbortSignal): Promise<void>;
}
