/** XEP-0384 0.3 §4.2 to §4.4: keeps our device on the list and its bundle on the server, one process at a time. */
import { randomInt } from '../core/bytes.ts';
import { type Cancel, type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError, messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { withLock } from '../store/locks.ts';
import type { Store } from '../store/store.ts';
import { Allowance } from './allowance.ts';
import { readBundle, writeBundle } from './bundle.ts';
import type { Bundle } from './crypto/index.ts';
import type { Device, OwnDevice } from './device.ts';
import { isListed, parseDeviceList, publishDeviceList } from './devicelist.ts';
import type { OmemoEvent } from './events.ts';
import { bundleNode, ITEM_ID, markNode, NODE_DEVICES } from './names.ts';
import type { PepPort } from './pep-port.ts';

/** Twenty first runs at once queue up here. */
const WAIT_MS = 120_000;
/** Used prekeys are replaced together, this long after the first. */
const REFILL_MS = 500;
/** A list just written is looked at again: who wrote at the same moment had not seen our entry. */
const LOOK_AGAIN_MS = 1500;
/** The list is put back after 1, 2, 4 … seconds (and up to half as much more), five times an hour at most. */
const BACK_OFF_MS = 1000;
const MAX_BACK_OFF_MS = 60_000;
const PUT_BACKS_AN_HOUR = 5;
const HOUR = 3_600_000;

/** What was seen of our device on the server. */
export interface Published {
  readonly id: number;
  readonly listed: boolean;
  readonly bundle: Bundle | undefined;
}

/** Publishes for one account. */
export class Publisher {
  readonly #pep: PepPort;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: Jid;
  readonly #own: OwnDevice;
  readonly #allowance: Allowance;
  readonly #say: (event: OmemoEvent) => void;
  readonly #timers = new Map<'refill' | 'list', Cancel>();
  #putBacks = 0;
  #saidDropped = false;
  #stopped = false;
  readonly #unlisten: () => void;

  constructor(options: {
    readonly pep: PepPort;
    readonly store: Store;
    readonly clock: Clock;
    readonly account: Jid;
    readonly own: OwnDevice;
    readonly say: (event: OmemoEvent) => void;
  }) {
    this.#pep = options.pep;
    this.#store = options.store;
    this.#clock = options.clock;
    this.#account = options.account.bare;
    this.#own = options.own;
    this.#say = options.say;
    this.#allowance = new Allowance(options.store, options.clock, this.#account.toString());
    this.#unlisten = this.#pep.onItem(NODE_DEVICES, (list, from) => {
      if (from.sameBare(this.#account)) this.#listChanged(parseDeviceList(list));
    });
  }

  /** What the server holds of our device, in one round trip; undefined before there is one. @throws StanzaError */
  async look(): Promise<Published | undefined> {
    const id = this.#own.load()?.id;
    if (id === undefined) return undefined;
    const [list, bundle] = await Promise.all([
      this.#pep.fetch(null, NODE_DEVICES),
      this.#pep.fetch(null, bundleNode(id)),
    ]);
    return { id, listed: isListed(list, id), bundle: readBundle(bundle) };
  }

  /**
   * Makes our device on the first run, publishes what is missing or out of date.
   *
   * @param seen - what was there a moment ago: where nothing is to be written it is enough
   * @throws JetError (exit 3) when the server does not keep it; StanzaError as it comes
   */
  async ensure(seen?: Published): Promise<Device> {
    const current = this.#current(seen);
    if (current !== undefined) return current;
    return this.#alone(async () => {
      const taken = parseDeviceList(await this.#pep.fetch(null, NODE_DEVICES));
      const { device, made } = this.#own.make(new Set(taken));
      if (made) {
        this.#say({ event: 'device-made', device: device.id, fingerprint: device.fingerprint });
      }
      this.#own.maintain();
      await this.#publishBundle(device);
      const written = await publishDeviceList(this.#pep, this.#clock, { add: device.id });
      if (written) this.#lookIn(LOOK_AGAIN_MS);
      return device;
    });
  }

  /**
   * Takes devices of our account off the list and deletes what they published.
   *
   * @param after - done before any other process of ours can publish again
   */
  async withdraw(devices: ReadonlySet<number>, after?: () => void): Promise<void> {
    await this.#alone(async () => {
      await publishDeviceList(this.#pep, this.#clock, { remove: devices });
      for (const id of devices) {
        await this.#pep.deleteNode(bundleNode(id));
        await this.#pep.deleteNode(markNode(id));
      }
      after?.();
    });
  }

  /** Our device, when all of it is as it was seen. */
  #current(seen: Published | undefined): Device | undefined {
    const device = this.#own.load();
    if (device === undefined || seen?.id !== device.id || !seen.listed) return undefined;
    this.#own.maintain();
    const same = sameKeys(seen.bundle, this.#own.bundle());
    return same && this.#own.staleness() === 0 ? device : undefined;
  }

  /** Publishes the refilled bundle soon. */
  refill(): void {
    this.#later('refill', REFILL_MS, () => this.ensure());
  }

  /** Stops watching and publishing. */
  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#timers.values()) cancel();
    this.#timers.clear();
    this.#unlisten();
  }

  async #publishBundle(device: Device): Promise<void> {
    const node = bundleNode(device.id);
    const staleness = this.#own.staleness();
    const bundle = this.#own.bundle();
    for (let attempt = 0; attempt < 3; attempt++) {
      const there = readBundle(await this.#pep.fetch(null, node));
      const same = sameKeys(there, bundle);
      if (same && (staleness === 0 || attempt > 0)) {
        this.#own.published(staleness);
        return;
      }
      if (attempt > 0) await sleep(this.#clock, 250 * 2 ** attempt);
      await this.#pep.publish(node, ITEM_ID, writeBundle(bundle));
    }
    const there = readBundle(await this.#pep.fetch(null, node));
    if (there?.identityKey.equals(bundle.identityKey)) {
      this.#own.published(staleness);
      return;
    }
    throw new JetError(
      Exit.account,
      'bundle',
      'The server does not keep the keys of this device. Ask its operator whether personal eventing (PEP) is enabled.',
    );
  }

  #listChanged(ids: readonly number[]): void {
    const device = this.#own.load();
    if (!device || ids.includes(device.id)) return;
    const pause = Math.min(BACK_OFF_MS * 2 ** this.#putBacks, MAX_BACK_OFF_MS);
    // Two that put themselves back in step would overwrite each other for ever.
    this.#lookIn(pause + randomInt(0, pause / 2));
  }

  /** Looks at the list after a while, and puts our device back where it is missing. */
  #lookIn(ms: number): void {
    this.#later('list', ms, async () => {
      const found = await this.#alone(() => this.#putBack());
      const device = this.#own.load()?.id;
      if (device === undefined || found === 'there') return;
      if (found === 'put-back') {
        this.#say({ event: 'device-restored', device });
        return;
      }
      if (!this.#saidDropped) this.#say({ event: 'device-dropped', device });
      this.#saidDropped = true;
      this.#lookIn(HOUR);
    });
  }

  async #putBack(): Promise<'there' | 'put-back' | 'too-often'> {
    const device = this.#own.load();
    const list = await this.#pep.fetch(null, NODE_DEVICES);
    if (!device || isListed(list, device.id)) return 'there';
    if (!this.#allowance.take('put-back', 1, PUT_BACKS_AN_HOUR)) return 'too-often';
    this.#putBacks++;
    await publishDeviceList(this.#pep, this.#clock, { add: device.id });
    return 'put-back';
  }

  #later(what: 'refill' | 'list', ms: number, action: () => Promise<unknown>): void {
    if (this.#timers.has(what) || this.#stopped) return;
    const cancel = this.#clock.after(ms, () => {
      this.#timers.delete(what);
      action().catch((error: unknown) => {
        // Nothing is lost: the next run publishes it.
        if (!this.#stopped) this.#say({ event: 'publish-failed', reason: messageOf(error) });
      });
    });
    this.#timers.set(what, cancel);
  }

  #alone<T>(body: () => Promise<T>): Promise<T> {
    const name = `omemo-publish ${this.#account.toString()}`;
    return withLock(this.#store, this.#clock, name, body, { wait: WAIT_MS });
  }
}

function sameKeys(one: Bundle | undefined, other: Bundle): boolean {
  return (
    one !== undefined &&
    one.identityKey.equals(other.identityKey) &&
    one.signedPreKey.equals(other.signedPreKey)
  );
}
