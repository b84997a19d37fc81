/** The devices of a contact: what its list and bundles say, as far as they are trusted. */
import type { Jid } from '../core/jid.ts';
import { StanzaError } from '../xmpp/connection.ts';
import { readBundle } from './bundle.ts';
import { type Bundle, fingerprint } from './crypto/index.ts';
import { parseDeviceList } from './devicelist.ts';
import { bundleNode, NODE_DEVICES } from './names.ts';
import type { PepPort } from './pep-port.ts';
import type { Sessions } from './sessions.ts';
import type { Trust } from './trust.ts';
import type { Candidate } from './trust-rule.ts';

/** Bundles that are fetched at once. */
const PARALLEL = 8;

interface Found extends Candidate {
  /** Absent where there is a session with a trusted key already. */
  readonly bundle?: Bundle;
}

/** Looks contacts up. */
export class Contacts {
  readonly #pep: PepPort;
  readonly #sessions: Sessions;
  readonly #trust: Trust;
  readonly #ownDevice: () => { readonly account: Jid; readonly id: number | undefined };

  constructor(
    pep: PepPort,
    sessions: Sessions,
    trust: Trust,
    ownDevice: () => { readonly account: Jid; readonly id: number | undefined },
  ) {
    this.#pep = pep;
    this.#sessions = sessions;
    this.#trust = trust;
    this.#ownDevice = ownDevice;
  }

  /** The trusted devices, each with a session that encrypts. `renew`: start new sessions where allowed. */
  async trusted(jid: Jid, renew = false): Promise<Candidate[]> {
    const trusted: Candidate[] = [];
    for (const found of await this.#look(jid, renew)) {
      if (!(await this.#trust.allows(found))) continue;
      if (found.bundle && (renew || this.#sessions.encryptsTo(found) !== found.fingerprint)) {
        if (renew && !this.#sessions.mayRebuild(found)) continue;
        this.#sessions.start(found, found.bundle);
      }
      trusted.push({ jid: found.jid, device: found.device, fingerprint: found.fingerprint });
    }
    return trusted;
  }

  /** Whether a device that wrote to us is trusted; at first contact its account's list is pinned before. */
  async admits(jid: Jid, candidate: Candidate): Promise<boolean> {
    if (this.#trust.isFirstContact(candidate.jid)) await this.#look(jid, false);
    return this.#trust.allows(candidate);
  }

  /** The key that a device's bundle shows at this moment; undefined when it cannot be had. Pins nothing. */
  async shownKey(jid: Jid, device: number): Promise<string | undefined> {
    return (await this.#bundleOf(jid.bare, device))?.fingerprint;
  }

  async #look(jid: Jid, renew: boolean): Promise<Found[]> {
    const own = this.#ownDevice();
    const bare = jid.bare.toString();
    const listed = parseDeviceList(await this.#pep.fetch(jid.bare, NODE_DEVICES));
    const ids = listed.filter((id) => id !== own.id || !jid.sameBare(own.account));
    const first = this.#trust.isFirstContact(bare);
    const found: Found[] = [];
    for (let at = 0; at < ids.length; at += PARALLEL) {
      const some = ids.slice(at, at + PARALLEL);
      const looked = await Promise.all(
        some.map((id) => this.#lookAt(jid.bare, id, first || renew)),
      );
      for (const device of looked) if (device) found.push(device);
    }
    if (first) this.#trust.firstContact(bare, found);
    return found;
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
