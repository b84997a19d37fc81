/**
 * Keeps a state that is not the newest one (restored from a backup, or copied and used in two places)
 * from repeating a ratchet step: the server remembers a mark that every step replaces. Why it holds is
 * in docs/protocol.md, "A state that was restored or copied".
 */
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import type { Clock } from '../core/clock.ts';
import { Exit, JetError } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { type Lock, withLock } from '../store/locks.ts';
import type { Store } from '../store/store.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { Allowance } from './allowance.ts';
import type { OwnDevice } from './device.ts';
import type { OmemoEvent } from './events.ts';
import { readMark, writeMark } from './mark.ts';
import { claimNode, ITEM_ID, markNode } from './names.ts';
import type { PepPort } from './pep-port.ts';
import type { Sessions } from './sessions.ts';

/** Forty processes at once queue up here, a round trip each. */
const WAIT_MS = 120_000;
/** So often an hour everything is begun anew: two copies in use, or a hostile server, must not go on for ever. */
const RENEWALS_AN_HOUR = 10;

/** Where the server stood when we moved our mark on. */
interface Move {
  /** Our state is the one that the server saw last, and nobody else goes on from it. */
  readonly ours: boolean;
  /** What the server holds now. */
  readonly mark: string;
}

/** The continuity of one account's state. */
export class Continuity {
  readonly #pep: PepPort;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: string;
  readonly #own: OwnDevice;
  readonly #sessions: Sessions;
  readonly #allowance: Allowance;
  readonly #say: (event: OmemoEvent) => void;

  constructor(options: {
    readonly pep: PepPort;
    readonly store: Store;
    readonly clock: Clock;
    readonly account: Jid;
    readonly own: OwnDevice;
    readonly sessions: Sessions;
    readonly say: (event: OmemoEvent) => void;
  }) {
    this.#pep = options.pep;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#account = options.account.bare.toString();
    this.#own = options.own;
    this.#sessions = options.sessions;
    this.#say = options.say;
    this.#allowance = new Allowance(this.#store, this.#clock, this.#account);
  }

  /**
   * At the start of a run: an older state is renewed here, before contacts use keys that it has lost.
   *
   * @throws JetError (exit 6, `copied-home`) when that has happened too often; StanzaError
   */
  async check(): Promise<void> {
    const device = this.#own.load();
    if (!device) return;
    const there = readMark(await this.#pep.fetch(null, markNode(device.id)));
    // Another process may be about to move on at this moment; a step looks under the lock.
    if (there !== this.#own.mark()) await this.step(() => undefined);
  }

  /**
   * Moves the mark on and runs `body`, which takes ratchet steps, in the transaction that stores the
   * new mark: whatever older state is ever used again is at a mark that the server no longer has.
   *
   * @returns undefined, and `body` has not run, when our state was the older one and was renewed
   * @throws JetError (exit 6, `copied-home`; exit 1, `no-device`), StanzaError
   */
  step<T>(body: () => T): Promise<{ readonly value: T } | undefined> {
    const name = `omemo-mark ${this.#account}`;
    return withLock(this.#store, this.#clock, name, (lock) => this.#step(lock, body), {
      wait: WAIT_MS,
    });
  }

  async #step<T>(lock: Lock, body: () => T): Promise<{ readonly value: T } | undefined> {
    const device = this.#own.load();
    if (!device) throw new JetError(Exit.internal, 'no-device', 'There is no OMEMO device yet.');
    const from = this.#own.mark();
    const { ours, mark } = await this.#move(device.id, from);
    const result = this.#store.transaction(() => {
      // This process may have been suspended for so long that another one took the lock.
      if (!lock.held() || this.#own.mark() !== from) throw busy();
      if (!ours && !this.#allowance.take('renewed', 1, RENEWALS_AN_HOUR)) throw copied();
      this.#own.setMark(mark);
      if (ours) return { value: body() };
      this.#sessions.forget();
      this.#own.renewKeys();
      return undefined;
    });
    if (!ours) this.#say({ event: 'state-renewed', device: device.id });
    if (from !== undefined) {
      // Nobody can use it any more, for the server's mark is another one.
      this.#pep.deleteNode(claimNode(device.id, from)).catch(() => undefined);
    }
    return result;
  }

  /** One round trip: the server handles the requests of one stream in their order (RFC 6120 §10.1). */
  async #move(device: number, from: string | undefined): Promise<Move> {
    const node = markNode(device);
    const mark = randomBytes(16).toString('hex');
    const [claimed, there] = await Promise.all([
      from === undefined ? true : this.#claim(claimNode(device, from)),
      this.#pep.fetch(null, node),
      this.#pep.publish(node, ITEM_ID, writeMark(mark, this.#clock.now()), 'whitelist'),
    ]);
    return { ours: claimed && readMark(there) === from, mark };
  }

  /** Where nodes cannot be made, two copies are told apart unless they move on at the same moment. */
  async #claim(node: string): Promise<boolean> {
    try {
      return await this.#pep.create(node);
    } catch (error) {
      const lost = ['disconnect', 'remote-server-timeout'];
      if (!(error instanceof StanzaError) || lost.includes(error.condition)) throw error;
      return true;
    }
  }

  /** The second line, which needs no server: in a file that is a copy no sending chain is gone on with. */
  checkPlace(): void {
    const device = this.#own.load()?.id;
    if (device === undefined) return;
    const place = String(statSync(this.#store.file).ino);
    // Mostly it is where it was, and nobody has to be kept from writing for that.
    if (this.#own.place() === place) return;
    const moved = this.#store.transaction(() => {
      const before = this.#own.place();
      if (before === place) return false;
      this.#own.setPlace(place);
      return before !== undefined && this.#sessions.retire();
    });
    if (moved) this.#say({ event: 'state-moved', device });
  }
}

function busy(): JetError {
  return new JetError(
    Exit.internal,
    'state-busy',
    'Another jet process went on with the keys of this account at the same moment. Try again.',
  );
}

function copied(): JetError {
  return new JetError(
    Exit.security,
    'copied-home',
    'The keys of this account are used in another place as well, again and again: a copy of this JET_HOME is at work, or the server misleads. Nothing was encrypted. Give each place a JET_HOME of its own, then try again in an hour.',
  );
}
