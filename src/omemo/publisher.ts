/** XEP-0384 0.3 §4.2 to §4.4: keeps our device on the list and its bundle on the server, one process at a time. */
import { type Cancel, type Clock, sleep } from '../core/clock.ts';
import { Exit, JetError, messageOf } from '../core/errors.ts';
import type { Jid } from '../core/jid.ts';
import { withLock } from '../store/locks.ts';
import type { Store } from '../store/store.ts';
import { Allowance } from './allowance.ts';
import { readBundle, writeBundle } from './bundle.ts';
import type { Device, OwnDevice } from './device.ts';
import { parseDeviceList, publishDeviceList } from './devicelist.ts';
import type { OmemoEvent } from './events.ts';
import { bundleNode, ITEM_ID, markNode, NODE_DEVICES } from './names.ts';
import type { PepPort } from './pep-port.ts';

/** Twenty first runs at once queue up here. */
const WAIT_MS = 120_000;
/** Used prekeys are replaced together, this long after the first. */
const REFILL_MS = 500;
/** The list is put back after 1, 2, 4 … seconds, and five times an hour at most. */
const BACK_OFF_MS = 1000;
const MAX_BACK_OFF_MS = 60_000;
const PUT_BACKS_AN_HOUR = 5;

/** Publishes for one account. */
export class Publisher {
  readonly #pep: PepPort;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #account: Jid;
  readonly #own: OwnDevice;
  readonly #allowance: Allowance;
  readonly #say: (event: OmemoEvent) => void;
  #timer: Cancel | undefined;
  #putBacks = 0;
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

  /**
   * Makes our device on the first run, publishes what is missing or out of date.
   *
   * @throws JetError (exit 3) when the server does not keep it; StanzaError as it comes
   */
  async ensure(): Promise<Device> {
    return this.#alone(async () => {
      const taken = parseDeviceList(await this.#pep.fetch(null, NODE_DEVICES));
      const { device, made } = this.#own.make(new Set(taken));
      if (made) {
        this.#say({ event: 'device-made', device: device.id, fingerprint: device.fingerprint });
      }
      this.#own.maintain();
      await this.#publishBundle(device);
      await publishDeviceList(this.#pep, this.#clock, { add: device.id });
      return device;
    });
  }

  /** Takes devices of our account off the list and deletes their bundles. */
  async withdraw(devices: ReadonlySet<number>): Promise<void> {
    await this.#alone(async () => {
      await publishDeviceList(this.#pep, this.#clock, { remove: devices });
      for (const id of devices) {
        await this.#pep.deleteNode(bundleNode(id));
        await this.#pep.deleteNode(markNode(id));
      }
    });
  }

  /** Publishes the refilled bundle soon. */
  refill(): void {
    this.#later(REFILL_MS, () => this.ensure());
  }

  /** Stops watching and publishing. */
  stop(): void {
    this.#stopped = true;
    this.#timer?.();
    this.#unlisten();
  }

  async #publishBundle(device: Device): Promise<void> {
    const node = bundleNode(device.id);
    const staleness = this.#own.staleness();
    const bundle = this.#own.bundle();
    for (let attempt = 0; attempt < 3; attempt++) {
      const there = readBundle(await this.#pep.fetch(null, node));
      const same =
        there?.identityKey.equals(bundle.identityKey) &&
        there.signedPreKey.equals(bundle.signedPreKey);
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
    if (!this.#allowance.take('put-back', 1, PUT_BACKS_AN_HOUR)) return;
    const pause = Math.min(BACK_OFF_MS * 2 ** this.#putBacks++, MAX_BACK_OFF_MS);
    this.#later(pause, async () => {
      const written = await this.#alone(() =>
        publishDeviceList(this.#pep, this.#clock, { add: device.id }),
      );
      if (written) this.#say({ event: 'device-restored', device: device.id });
    });
  }

  #later(ms: number, action: () => Promise<unknown>): void {
    if (this.#timer || this.#stopped) return;
    this.#timer = this.#clock.after(ms, () => {
      this.#timer = undefined;
      action().catch((error: unknown) => {
        // Nothing is lost: the next run publishes it.
        if (!this.#stopped) this.#say({ event: 'publish-failed', reason: messageOf(error) });
      });
    });
  }

  #alone<T>(body: () => Promise<T>): Promise<T> {
    const name = `omemo-publish ${this.#account.toString()}`;
    return withLock(this.#store, this.#clock, name, body, { wait: WAIT_MS });
  }
}
