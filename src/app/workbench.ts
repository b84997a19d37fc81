/** The parts of an open account, put together once: what every command of it works with. */
import { systemClock, within, type Clock } from '../core/clock.ts';
import { messageOf } from '../core/errors.ts';
import { Jid } from '../core/jid.ts';
import type { CipherRegistry } from '../jet/cipher.ts';
import { defaultCiphers } from '../jet/ciphers.ts';
import { EnvelopeRegistry } from '../jet/envelope.ts';
import { jetFeatures } from '../jet/features.ts';
import { FILE_TRANSFER } from '../jingle/file-description.ts';
import { MESSAGE_INITIATION } from '../jingle/message-initiation.ts';
import { jingleFeatures, Sessions } from '../jingle/sessions.ts';
import type { Quirks } from '../jingle/quirks.ts';
import { TransportRegistry } from '../jingle/transport.ts';
import { describeEvent } from '../omemo/events.ts';
import { Omemo } from '../omemo/omemo.ts';
import { pepPort, type PepPort } from '../omemo/pep-port.ts';
import type { Store } from '../store/store.ts';
import type { Protection } from '../transfer/content.ts';
import { Journal } from '../transfer/journal/journal.ts';
import { jetForm, type WaitsFor } from '../transfer/jet-form.ts';
import { Records } from '../transfer/journal/recorder.ts';
import type { Surroundings } from '../transfer/transfer.ts';
import { ibb } from '../transport/ibb/index.ts';
import { s5b } from '../transport/s5b/index.ts';
import { CapsCache } from '../xmpp/caps.ts';
import { enableCarbons } from '../xmpp/carbons.ts';
import type { Connection } from '../xmpp/connection.ts';
import { Disco } from '../xmpp/disco.ts';
import { WAITING_JET } from '../xmpp/find.ts';
import { Pep } from '../xmpp/pep.ts';
import { answerPings, PING } from '../xmpp/ping.ts';
import { Presence } from '../xmpp/presence.ts';
import { Roster } from '../xmpp/roster.ts';
import { policyOf } from './connecting.ts';
import { Courtesies } from './courtesies.ts';
import { keptCaps } from './kept-caps.ts';
import type { AccountSettings, RouteOptions, Ui } from './types.ts';

/** Milliseconds for taking an ephemeral device off the list. */
const FAREWELL_MS = 20_000;

/** Envelopes, ciphers and transports are registered here and nowhere else. */
export class Workbench {
  readonly settings: AccountSettings;
  readonly ui: Ui;
  readonly clock: Clock = systemClock;
  readonly store: Store;
  readonly connection: Connection;
  readonly disco: Disco;
  readonly caps: CapsCache;
  readonly presence: Presence;
  readonly roster: Roster;
  readonly pep: PepPort;
  readonly envelopes = new EnvelopeRegistry();
  readonly ciphers: CipherRegistry;
  readonly transports = new TransportRegistry();
  readonly sessions: Sessions;
  readonly records: Records;
  #omemo: Omemo | undefined;
  #loading: Promise<unknown> | undefined;
  /** By bare address: of the client that was chosen there. */
  readonly #quirks = new Map<string, Quirks>();

  constructor(settings: AccountSettings, ui: Ui, store: Store, connection: Connection) {
    this.settings = settings;
    this.ui = ui;
    this.store = store;
    this.connection = connection;
    this.disco = new Disco(connection);
    this.caps = new CapsCache(this.disco, keptCaps(store));
    this.presence = new Presence(connection, this.disco, this.clock);
    this.roster = new Roster(connection);
    this.pep = pepPort(new Pep(connection, this.disco), connection.jid.bare);
    this.ciphers = defaultCiphers(settings.mostBytes);
    this.transports.register(s5b(store));
    this.transports.register(ibb());
    this.sessions = new Sessions({ connection, clock: this.clock, log: this.log });
    this.records = new Records(new Journal(store, this.clock), this.clock);
    answerPings(connection);
  }

  /** The roster, asked for once. */
  async loaded(): Promise<void> {
    this.#loading ??= this.roster.load();
    await this.#loading;
  }

  /** What a transfer will ask of our server is asked while others answer. */
  prepare(options: RouteOptions): void {
    const { connection, clock, policy } = this.surroundings(options);
    for (const method of this.transports.usable(policy))
      method
        .prepare?.({ connection, clock, policy })
        .catch((error: unknown) => this.log(messageOf(error)));
  }

  /** OMEMO as far as it is open. */
  get omemo(): Omemo | undefined {
    return this.#omemo;
  }

  readonly log = (line: string): void => {
    this.settings.log?.(line);
  };

  /**
   * Our device published, our features complete: all before the first presence. One that does not wait
   * for anything does not say that it takes files, so that no other sender chooses it.
   */
  async ready(verifiedOnly: boolean, ...waitsFor: WaitsFor[]): Promise<Omemo> {
    const waits = waitsFor.length > 0;
    const omemo = this.openOmemo(verifiedOnly);
    this.envelopes.register(omemo.envelope());
    this.disco.addFeatures(
      ...jingleFeatures.filter((feature) => waits || feature !== FILE_TRANSFER),
      ...(waits ? [WAITING_JET, MESSAGE_INITIATION] : []),
      ...jetFeatures(this.ciphers, this.envelopes),
      ...this.transports.features,
      PING,
    );
    const [{ id }, copied] = await Promise.all([
      omemo.ensureDevice(),
      enableCarbons(this.connection),
      this.loaded(),
    ]);
    if (!copied) this.log('the server copies no messages (XEP-0280)');
    if (waits) this.disco.setForm(jetForm(id, waitsFor));
    return omemo;
  }

  /**
   * OMEMO of the account, opened once; no device is made by that. Who asks for verified keys only has
   * it for all from then on.
   */
  openOmemo(verifiedOnly: boolean): Omemo {
    const { ui } = this;
    this.#omemo ??= Omemo.open({
      connection: this.connection,
      pep: this.pep,
      store: this.store,
      clock: this.clock,
      account: this.connection.jid.bare,
      verifiedOnly,
      wantsTag: (to) => this.#quirks.get(to.bare.toString())?.tagged,
      ...(ui.interactive && {
        askTrust: ({ jid, device, fingerprint }) => {
          const peer = Jid.parse(jid);
          if (peer === undefined) return Promise.resolve(false);
          return ui.confirmTrust({ peer, deviceId: device, fingerprint });
        },
      }),
      say: (event) => {
        const { code, message, trust } = describeEvent(event);
        ui.notice(code, message, trust);
      },
    });
    if (verifiedOnly) this.#omemo.requireVerified();
    return this.#omemo;
  }

  /** What clients need before a transfer. */
  courtesies(omemo: Omemo): Courtesies {
    const { connection, caps, presence, clock, log } = this;
    return new Courtesies({ connection, omemo, caps, presence, clock, log });
  }

  /** The client that is offered something: how its account's envelopes are written from now on. */
  chosen(peer: Jid, quirks: Quirks): void {
    this.#quirks.set(peer.bare.toString(), quirks);
  }

  /** What the transfers of one command share. */
  surroundings(options: RouteOptions): Surroundings & Protection & { readonly sessions: Sessions } {
    return {
      connection: this.connection,
      clock: this.clock,
      sessions: this.sessions,
      transports: this.transports,
      ciphers: this.ciphers,
      envelopes: this.envelopes,
      policy: policyOf(this.settings, options),
      records: this.records,
      log: this.log,
    };
  }

  /** Ends everything; never rejects. */
  async close(): Promise<void> {
    await this.sessions.close();
    if (this.settings.ephemeral) {
      const removal = this.#omemo?.removeOwnDevice() ?? Promise.resolve();
      const late = () => new Error('the server did not answer in time');
      await within(this.clock, FAREWELL_MS, removal, late).catch((error: unknown) => {
        this.ui.notice(
          'device-left',
          `This device is still on the account's list (${messageOf(error)}): take it off with jet devices --remove ID.`,
        );
      });
    }
    this.#omemo?.close();
    await this.connection.close();
    this.store.close();
  }
}
