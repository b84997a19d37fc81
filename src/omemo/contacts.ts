/** The devices of a contact: what its list and bundles say, as far as they are trusted. */
import type { Clock } from '../core/clock.ts';
import type { Jid } from '../core/jid.ts';
import { EnvelopeError } from '../jet/envelope.ts';
import { StanzaError } from '../xmpp/connection.ts';
import type { Element } from '../xmpp/xml.ts';
import { readBundle } from './bundle.ts';
import { type Bundle, CryptoError, fingerprint } from './crypto/index.ts';
import { parseDeviceList } from './devicelist.ts';
import { bundleNode, NODE_DEVICES } from './names.ts';
import type { PepPort } from './pep-port.ts';
import type { Sessions } from './sessions.ts';
import type { Trust } from './trust.ts';
import type { Candidate } from './trust-rule.ts';

/** Bundles that are fetched at once. */
const PARALLEL = 8;
/** Milliseconds for the bundles that decide who is trusted: the pinned ones', or all at first contact. */
const NEEDED_MS = 20_000;
/** Milliseconds for those of new devices beside pinned ones, which are looked at to be named only. */
const NEW_MS = 5_000;
/** Milliseconds that a list which was asked for early counts as the present one. */
const FORESEEN_MS = 5_000;

interface Found extends Candidate {
  /** Absent where there is a session with a trusted key already. */
  readonly bundle?: Bundle;
}

/** Looks contacts up. */
export class Contacts {
  readonly #pep: PepPort;
  readonly #clock: Clock;
  readonly #sessions: Sessions;
  readonly #trust: Trust;
  readonly #ownDevice: () => { readonly account: Jid; readonly id: number | undefined };
  /** A list that was asked for before it is needed; used once. */
  #foreseen:
    | { readonly of: string; readonly at: number; readonly list: Promise<Element | undefined> }
    | undefined;

  constructor(
    pep: PepPort,
    clock: Clock,
    sessions: Sessions,
    trust: Trust,
    ownDevice: () => { readonly account: Jid; readonly id: number | undefined },
  ) {
    this.#pep = pep;
    this.#clock = clock;
    this.#sessions = sessions;
    this.#trust = trust;
    this.#ownDevice = ownDevice;
  }

  /** Asks for the list of an account that something will be encrypted to in a moment; forgets an earlier one. */
  foresee(jid: Jid | undefined): void {
    this.#foreseen = undefined;
    if (jid === undefined) return;
    const list = this.#pep.fetch(jid.bare, NODE_DEVICES);
    list.catch(() => undefined);
    this.#foreseen = { of: jid.bare.toString(), at: this.#clock.monotonic(), list };
  }

  /** The list of an account, asked for now or a moment ago. @throws StanzaError */
  #list(jid: Jid): Promise<Element | undefined> {
    const foreseen = this.#foreseen;
    this.#foreseen = undefined;
    const fresh = foreseen !== undefined && this.#clock.monotonic() - foreseen.at < FORESEEN_MS;
    const ask = () => this.#pep.fetch(jid.bare, NODE_DEVICES);
    return fresh && foreseen.of === jid.bare.toString() ? foreseen.list.catch(ask) : ask();
  }

  /** The trusted devices, each with a session that encrypts. `renew`: start new sessions where allowed. */
  async trusted(jid: Jid, renew = false): Promise<Candidate[]> {
    const trusted: Candidate[] = [];
    for (const found of await this.#look(jid, renew)) {
      if (!(await this.#trust.allows(found))) continue;
      if (found.bundle && (renew || this.#sessions.encryptsTo(found) !== found.fingerprint)) {
        if (renew && !this.#sessions.mayRebuild(found)) continue;
        if (!this.#start(found, found.bundle)) continue;
      }
      trusted.push({ jid: found.jid, device: found.device, fingerprint: found.fingerprint });
    }
    return trusted;
  }

  /** False when the bundle is of no use: one-time prekeys are unsigned, so a server can spoil them. */
  #start(device: Candidate, bundle: Bundle): boolean {
    try {
      this.#sessions.start(device, bundle);
      return true;
    } catch (error) {
      if (error instanceof CryptoError) return false;
      throw error;
    }
  }

  /**
   * Whether a device that wrote to us is trusted; at first contact its account's list is pinned before.
   *
   * @throws EnvelopeError when the list cannot be had: for the peer that is like any other refusal
   */
  async admits(jid: Jid, candidate: Candidate): Promise<boolean> {
    try {
      if (this.#trust.isFirstContact(candidate.jid)) await this.#look(jid, false);
    } catch (error) {
      if (!(error instanceof StanzaError) || error.condition === 'disconnect') throw error;
      throw new EnvelopeError(
        'untrusted',
        `The device ${candidate.device} of ${candidate.jid} is not trusted: the list of its devices cannot be read (${error.condition}).`,
        { cause: error },
      );
    }
    return this.#trust.allows(candidate);
  }

  /** The key that a device's bundle shows at this moment; undefined when it cannot be had. Pins nothing. */
  async shownKey(jid: Jid, device: number): Promise<string | undefined> {
    return (await this.#bundleOf(jid.bare, device))?.fingerprint;
  }

  /**
   * What the list shows. Devices that are pinned come first, however long the list is; the others are
   * bounded in number and time, so that made-up ones keep nobody from the real ones.
   */
  async #look(jid: Jid, renew: boolean): Promise<Found[]> {
    const own = this.#ownDevice();
    const bare = jid.bare.toString();
    const pinned = new Set<number>();
    for (const { device, state } of this.#trust.pins(bare)) {
      if (device !== undefined && state !== 'distrusted') pinned.add(device);
    }
    const listed = parseDeviceList(await this.#list(jid), pinned);
    const ids = listed.filter((id) => id !== own.id || !jid.sameBare(own.account));
    const first = this.#trust.isFirstContact(bare);
    const known = await this.#lookAtAll(
      jid.bare,
      ids.filter((id) => pinned.has(id)),
      first || renew,
      NEEDED_MS,
    );
    const others = await this.#lookAtAll(
      jid.bare,
      ids.filter((id) => !pinned.has(id)),
      first || renew,
      known.length > 0 ? NEW_MS : NEEDED_MS,
    );
    const found = [...known, ...others];
    if (first) this.#trust.firstContact(bare, found);
    return found;
  }

  /** Those that answered in time, in the order of the ids. */
  async #lookAtAll(jid: Jid, ids: readonly number[], fresh: boolean, ms: number): Promise<Found[]> {
    const found = new Map<number, Found>();
    let over = false;
    const next = ids.values();
    const work = async () => {
      for (const id of next) {
        if (over) return;
        const device = await this.#lookAt(jid, id, fresh);
        if (device) found.set(id, device);
      }
    };
    const workers = Array.from({ length: Math.min(PARALLEL, ids.length) }, work);
    let cancel = (): void => undefined;
    const late = new Promise<void>((resolve) => {
      cancel = this.#clock.after(ms, resolve);
    });
    try {
      await Promise.race([Promise.all(workers), late]);
    } finally {
      over = true;
      cancel();
    }
    return ids.flatMap((id) => found.get(id) ?? []);
  }

  /** The key that the session proves, if it is trusted; else the one that the bundle shows. */
  async #lookAt(jid: Jid, device: number, fresh: boolean): Promise<Found | undefined> {
    const address = { jid: jid.toString(), device };
    const known = this.#sessions.encryptsTo(address);
    if (!fresh && known !== undefined) {
      const candidate = { ...address, fingerprint: known };
      if (this.#trust.accepts(candidate)) return candidate;
    }
    return this.#bundleOf(jid, device);
  }

  async #bundleOf(jid: Jid, device: number): Promise<Found | undefined> {
    const address = { jid: jid.toString(), device };
    try {
      const bundle = readBundle(await this.#pep.fetch(jid, bundleNode(device)));
      return bundle && { ...address, fingerprint: fingerprint(bundle.identityKey), bundle };
    } catch (error) {
      // A stale entry of a list, or its bundle is closed to us: the other devices count.
      if (error instanceof StanzaError && error.condition !== 'disconnect') return undefined;
      throw error;
    }
  }
}
