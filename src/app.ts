/** The one place that composes: opens the account, registers envelopes, ciphers and transports. */
import { X509Certificate } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type {
  AccountSettings,
  Contact,
  Device,
  OnEvent,
  OpenAccount,
  ReceiveOptions,
  RouteOptions,
  SendOptions,
  Ui,
} from './app-types.ts';
import { randomId } from './core/bytes.ts';
import { systemClock, type Clock } from './core/clock.ts';
import { Exit, JetError, messageOf, type ExitStatus } from './core/errors.ts';
import { Jid } from './core/jid.ts';
import { warmUp } from './files/memory.ts';
import { FileSource } from './files/source.ts';
import { defaultCiphers } from './jet/ciphers.ts';
import { EnvelopeRegistry } from './jet/envelope.ts';
import { jetFeatures } from './jet/features.ts';
import { NS_JET } from './jet/security.ts';
import { FILE_TRANSFER } from './jingle/file-description.ts';
import { jingleFeatures, Sessions } from './jingle/sessions.ts';
import { JINGLE } from './jingle/stanza.ts';
import { TransportRegistry, type RoutePolicy } from './jingle/transport.ts';
import { parseDeviceList } from './omemo/devicelist.ts';
import { describeEvent } from './omemo/events.ts';
import { NODE_DEVICES } from './omemo/names.ts';
import { Omemo } from './omemo/omemo.ts';
import type { PepPort } from './omemo/pep-port.ts';
import { omemoSchema } from './omemo/schema.ts';
import { locksSchema } from './store/locks.ts';
import { openStore, type Store } from './store/store.ts';
import { Receiver, type Offer } from './transfer/receive.ts';
import { sendFile } from './transfer/send.ts';
import type { Surroundings } from './transfer/transfer.ts';
import { ibb } from './transport/ibb/index.ts';
import { s5b } from './transport/s5b/index.ts';
import { CapsCache } from './xmpp/caps.ts';
import { connect, type ConnectOptions } from './xmpp/connect.ts';
import { StanzaError, type Connection } from './xmpp/connection.ts';
import { Disco } from './xmpp/disco.ts';
import { announce, findPeer, WAITING_JET } from './xmpp/find.ts';
import { Pep } from './xmpp/pep.ts';
import { answerPings, PING } from './xmpp/ping.ts';
import { Presence } from './xmpp/presence.ts';
import { register } from './xmpp/register.ts';
import { Roster } from './xmpp/roster.ts';

/** Milliseconds that a person has, at the least, to answer an offer. */
const ANSWER_MS = 120_000;

const CERTIFICATE = /-----BEGIN (?:TRUSTED )?CERTIFICATE-----[^-]*-----END [A-Z ]*-----/g;

/** @see Application.openAccount */
export async function openAccount(
  settings: AccountSettings,
  ui: Ui,
  signal: AbortSignal,
): Promise<OpenAccount> {
  const store = openStore(join(settings.home.data, 'jet.db'), [locksSchema, omemoSchema]);
  try {
    const connection = await connect(await connectOptions(settings, signal));
    return await Account.open(settings, ui, store, connection);
  } catch (error) {
    store.close();
    throw error;
  }
}

/** A request that the server did not grant, as an error for the user; anything else as it is. */
export function explain(error: unknown): unknown {
  if (!(error instanceof StanzaError)) return error;
  if (error.condition === 'disconnect') return connectionLost('it broke off');
  return new JetError(
    Exit.account,
    'server-refused',
    `The server did not do what was asked of it (${error.message}). Try again, or ask who runs the server.`,
    { cause: error },
  );
}

/** @see Application.checkAccount */
export async function checkAccount(settings: AccountSettings, signal: AbortSignal): Promise<void> {
  const connection = await connect(await connectOptions(settings, signal));
  await connection.close();
}

/** @see Application.registerAccount */
export async function registerAccount(
  settings: AccountSettings,
  signal: AbortSignal,
): Promise<void> {
  await register(await connectOptions(settings, signal));
}

async function connectOptions(
  settings: AccountSettings,
  signal: AbortSignal,
): Promise<ConnectOptions> {
  const { jid, password, server, caFile, log } = settings;
  const socks = socksOf(settings);
  return {
    jid,
    password,
    clock: systemClock,
    signal,
    ...(server && { server: { host: server.host, port: server.port, tls: server.directTls } }),
    ...(caFile !== undefined && { ca: await readCa(caFile) }),
    ...(socks && { socks }),
    ...(log && { log }),
  };
}

async function readCa(file: string): Promise<Buffer> {
  try {
    const pem = await readFile(file);
    // TLS would pass over what is no certificate, and the server's would be called untrusted.
    const found = pem.toString('latin1').match(CERTIFICATE) ?? [];
    if (found.length === 0) throw new Error('there is none in PEM');
    for (const certificate of found) new X509Certificate(certificate);
    return pem;
  } catch (error) {
    throw new JetError(
      Exit.usage,
      'ca-file-unreadable',
      `Cannot read the certificates in ${file}: ${messageOf(error)}. Check --ca-file or JET_CA_FILE.`,
      { cause: error },
    );
  }
}

function socksOf({ proxy }: AccountSettings): RoutePolicy['socks'] {
  if (proxy === undefined) return undefined;
  const { host, port, user, password } = proxy;
  return {
    host,
    port,
    ...(user !== undefined && { username: user }),
    ...(password !== undefined && { password }),
  };
}

/** Fits src/xmpp/pep.ts to what OMEMO asks for. */
function pepPort(pep: Pep, own: Jid): PepPort {
  return {
    publish: (node, id, payload) => pep.publish(node, id, payload),
    fetch: (jid, node) => pep.latest(jid ?? own, node),
    deleteNode: (node) => pep.deleteNode(node),
    onItem: (node, listener) => pep.onItem(node, (from, item) => listener(item, from)),
  };
}

class Account implements OpenAccount {
  readonly #settings: AccountSettings;
  readonly #ui: Ui;
  readonly #clock: Clock = systemClock;
  readonly #store: Store;
  readonly #connection: Connection;
  readonly #disco: Disco;
  readonly #presence: Presence;
  readonly #roster: Roster;
  readonly #pep: PepPort;
  readonly #envelopes = new EnvelopeRegistry();
  readonly #ciphers = defaultCiphers();
  readonly #transports = new TransportRegistry();
  readonly #sessions: Sessions;
  #omemo: Omemo | undefined;

  private constructor(settings: AccountSettings, ui: Ui, store: Store, connection: Connection) {
    this.#settings = settings;
    this.#ui = ui;
    this.#store = store;
    this.#connection = connection;
    this.#disco = new Disco(connection);
    this.#presence = new Presence(connection, this.#disco, this.#clock);
    this.#roster = new Roster(connection);
    this.#pep = pepPort(new Pep(connection, this.#disco), connection.jid.bare);
    this.#transports.register(s5b());
    this.#transports.register(ibb());
    this.#sessions = new Sessions({ connection, clock: this.#clock, log: this.#log });
    answerPings(connection);
  }

  static async open(
    settings: AccountSettings,
    ui: Ui,
    store: Store,
    connection: Connection,
  ): Promise<Account> {
    const account = new Account(settings, ui, store, connection);
    await account.#roster.load();
    return account;
  }

  get jid(): Jid {
    return this.#connection.jid;
  }

  async send(
    files: readonly string[],
    to: Jid,
    options: SendOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus> {
    const [file] = files;
    if (file === undefined || files.length !== 1) {
      throw new JetError(Exit.usage, 'one-file', 'Name exactly one file to send.');
    }
    const source = await FileSource.open(file);
    try {
      await this.#ready(options.verifiedOnly, false);
      const answer = (from: Jid) => from.sameBare(to);
      this.#connection.audience = answer;
      if (this.#roster.sees(to)) await this.#presence.available();
      const peer = await this.#find(to, options.wait, on, signal);
      const envelope = this.#envelopes.all.find(({ feature }) => peer.features.has(feature));
      if (envelope === undefined) throw new Error('a peer without an envelope was found');
      warmUp();
      return await sendFile(
        {
          ...this.#surroundings(options),
          ciphers: this.#ciphers,
          envelopes: this.#envelopes,
          sessions: this.#sessions,
        },
        {
          source,
          to: peer.jid,
          envelope,
          answerMs: Math.max(options.wait, ANSWER_MS),
          on,
          signal,
          ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
        },
      );
    } finally {
      await source.close();
    }
  }

  async receive(
    from: readonly Jid[],
    options: ReceiveOptions,
    on: OnEvent,
    signal: AbortSignal,
  ): Promise<ExitStatus> {
    await this.#ready(options.verifiedOnly, true);
    const waiting = new Waiting(this.#clock, options, signal, () => receiver.busy);
    const { maxSize } = options;
    let questions: Promise<unknown> = Promise.resolve();
    const ask = (offer: Offer, until: AbortSignal): Promise<boolean> => {
      // One question at a time: two prompts on one terminal cannot be told apart.
      const answer = questions.then(() => this.#ui.confirmOffer(offer, until));
      questions = answer.catch(() => undefined);
      return answer;
    };
    const receiver = new Receiver(
      { ...this.#surroundings(options), ciphers: this.#ciphers, envelopes: this.#envelopes },
      {
        out: options.out,
        onConflict: options.onConflict,
        ...(maxSize !== undefined && { maxSize }),
        decide: (offer, until) => (options.yes ? Promise.resolve(true) : ask(offer, until)),
        on,
        opened: (peer) => {
          this.#omemo?.acknowledge(peer).catch((error: unknown) => this.#log(messageOf(error)));
        },
        ended: (exit) => waiting.ended(exit),
        refused: (peer, why) => {
          const who = peer.bare.toString();
          this.#ui.notice('offer-refused', `Refused an offer of ${who}: ${why}.`);
        },
      },
    );
    const deals = (jid: Jid) =>
      from.length > 0
        ? from.some((named) => (named.isFull ? named.equals(jid) : named.sameBare(jid)))
        : this.#roster.sees(jid);
    this.#sessions.onInitiate((incoming) => receiver.handle(incoming));
    const hide = await announce({
      connection: this.#connection,
      presence: this.#presence,
      deals,
      invited: from.filter((jid) => !this.#roster.sees(jid)),
    });
    const unwatch = this.#connection.onState((state) => {
      if (state.kind === 'closed') waiting.fail(connectionLost(state.reason));
    });
    const peers = from.map((jid) => jid.toString()).join(', ');
    on({
      id: randomId(),
      time: this.#clock.now(),
      event: 'waiting',
      what: `offers to ${this.#connection.jid.bare.toString()}`,
      ...(peers !== '' && { peer: peers }),
    });
    try {
      const exit = await waiting.over;
      // To be stopped while a file is coming is not the normal end.
      return signal.aborted && receiver.busy ? Exit.transport : exit;
    } finally {
      unwatch();
      hide();
      await receiver.stop();
    }
  }

  async contacts(): Promise<readonly Contact[]> {
    await this.#answerRequests();
    return this.#roster.contacts.map(({ jid, name, subscription, asked }) => ({
      jid,
      subscription,
      pending: asked,
      ...(name !== '' && { name }),
    }));
  }

  async addContact(jid: Jid): Promise<void> {
    await this.#roster.add(jid);
    await this.#answerRequests();
  }

  async removeContact(jid: Jid): Promise<boolean> {
    if (!this.#roster.contacts.some((contact) => contact.jid.sameBare(jid))) return false;
    await this.#roster.remove(jid);
    return true;
  }

  async devices(jid?: Jid): Promise<readonly Device[]> {
    const omemo = this.#openOmemo(false);
    const own = this.#connection.jid.bare;
    const whose = jid?.bare ?? own;
    const mine = whose.equals(own) ? await omemo.ensureDevice() : undefined;
    const listed = parseDeviceList(await this.#pep.fetch(whose, NODE_DEVICES));
    const pins = omemo.devices(whose);
    const unseen = pins.filter(({ device }) => device === undefined || !listed.includes(device));
    const shown = await Promise.all(
      listed.map(async (id): Promise<Device> => {
        if (id === mine?.id) {
          return { id, fingerprint: mine.fingerprint, own: true, listed: true };
        }
        const pin = pins.find(({ device }) => device === id);
        const fingerprint = pin?.fingerprint ?? (await omemo.shownKey(whose, id));
        return {
          id,
          ...(fingerprint !== undefined && { fingerprint }),
          // A key may have been judged before it was seen under any device.
          trust: pins.find((known) => known.fingerprint === fingerprint)?.state ?? 'undecided',
          own: false,
          listed: true,
        };
      }),
    );
    const named = new Set(shown.map(({ fingerprint }) => fingerprint));
    return [
      ...shown,
      ...unseen
        .filter(({ fingerprint }) => !named.has(fingerprint))
        .map(({ device, fingerprint, state }): Device => ({
          id: device ?? 0,
          fingerprint,
          trust: state,
          own: false,
          listed: false,
        })),
    ];
  }

  trust(jid: Jid, fingerprint: string): Promise<void> {
    this.#openOmemo(false).trust(jid, fingerprint);
    return Promise.resolve();
  }

  distrust(jid: Jid, fingerprint: string): Promise<void> {
    this.#openOmemo(false).distrust(jid, fingerprint);
    return Promise.resolve();
  }

  async removeDevice(): Promise<void> {
    await this.#openOmemo(false).removeOwnDevice();
  }

  async close(): Promise<void> {
    await this.#sessions.close();
    if (this.#settings.ephemeral) {
      await this.#omemo?.removeOwnDevice().catch((error: unknown) => {
        this.#log(messageOf(error));
      });
    }
    this.#omemo?.close();
    await this.#connection.close();
    this.#store.close();
  }

  /** Requests of contacts reach only who is available; the roster that comes after them shows the answers. */
  async #answerRequests(): Promise<void> {
    await this.#presence.available();
    await this.#roster.load();
    await this.#roster.load();
  }

  readonly #log = (line: string): void => {
    this.#settings.log?.(line);
  };

  /**
   * Our device published, our features complete: all before the first presence. One that does not wait
   * for offers does not say that it takes files, so that no other sender chooses it.
   */
  async #ready(verifiedOnly: boolean, waits: boolean): Promise<void> {
    const omemo = this.#openOmemo(verifiedOnly);
    this.#envelopes.register(omemo.envelope());
    this.#disco.addFeatures(
      ...jingleFeatures.filter((feature) => waits || feature !== FILE_TRANSFER),
      ...(waits ? [WAITING_JET] : []),
      ...jetFeatures(this.#ciphers, this.#envelopes),
      ...this.#transports.features,
      PING,
    );
    await omemo.ensureDevice();
  }

  #openOmemo(verifiedOnly: boolean): Omemo {
    const ui = this.#ui;
    this.#omemo ??= Omemo.open({
      connection: this.#connection,
      pep: this.#pep,
      store: this.#store,
      clock: this.#clock,
      account: this.#connection.jid.bare,
      verifiedOnly,
      ...(ui.interactive && {
        askTrust: ({ jid, device, fingerprint }) => {
          const peer = Jid.parse(jid);
          if (peer === undefined) return Promise.resolve(false);
          return ui.confirmTrust({ peer, deviceId: device, fingerprint });
        },
      }),
      say: (event) => {
        const { code, message } = describeEvent(event);
        ui.notice(code, message);
      },
    });
    return this.#omemo;
  }

  #surroundings(options: RouteOptions): Surroundings {
    const socks = socksOf(this.#settings);
    return {
      connection: this.#connection,
      clock: this.#clock,
      transports: this.#transports,
      policy: {
        kinds: new Set(options.route === undefined ? ['direct', 'proxy', 'ibb'] : [options.route]),
        direct: options.direct && socks === undefined,
        socks,
        ports: options.ports,
        allInterfaces: options.allInterfaces,
      },
      log: this.#log,
    };
  }

  #find(to: Jid, wait: number, on: OnEvent, signal: AbortSignal) {
    return findPeer({
      connection: this.#connection,
      roster: this.#roster,
      presence: this.#presence,
      caps: new CapsCache(this.#disco),
      target: to,
      wanted: {
        features: [JINGLE, FILE_TRANSFER, NS_JET],
        envelopes: this.#envelopes.all.map(({ feature }) => feature),
      },
      wait: wait === Infinity ? 'forever' : wait,
      clock: this.#clock,
      signal,
      notify: () => {
        const peer = to.toString();
        const what = `${peer} to be online`;
        on({ id: randomId(), time: this.#clock.now(), event: 'waiting', what, peer });
      },
    });
  }
}

function connectionLost(reason: string): JetError {
  return new JetError(
    Exit.account,
    'connection-lost',
    `The connection to the server is lost (${reason}). Check the network and start again.`,
  );
}

function nothingOffered(): JetError {
  return new JetError(
    Exit.absent,
    'nothing-offered',
    'Nothing was offered in time. Wait longer with --wait, or ask the other side to send.',
  );
}

/** When `jet receive` is over. */
class Waiting {
  readonly over: Promise<ExitStatus>;
  readonly #once: boolean;
  #resolve: (exit: ExitStatus) => void = () => undefined;
  #reject: (error: Error) => void = () => undefined;
  #cancel: () => void = () => undefined;

  /** @param busy - whether an offer is being decided or its bytes are on their way */
  constructor(
    clock: Clock,
    { wait, once }: ReceiveOptions,
    signal: AbortSignal,
    busy: () => boolean,
  ) {
    this.#once = once;
    this.over = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    const stop = () => {
      this.#cancel();
      this.#resolve(Exit.done);
    };
    if (signal.aborted) stop();
    signal.addEventListener('abort', stop, { once: true });
    const expire = () => {
      // What was offered in time may take its own.
      if (busy()) this.#cancel = clock.after(wait, expire);
      else this.fail(nothingOffered());
    };
    if (wait !== Infinity) this.#cancel = clock.after(wait, expire);
  }

  ended(exit: ExitStatus): void {
    this.#cancel();
    if (this.#once) this.#resolve(exit);
  }

  fail(error: Error): void {
    this.#reject(error);
  }
}
