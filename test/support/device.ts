/** An OMEMO device on a real server that does what no `jet` would: what it publishes and sends is the test's. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { randomId } from '../../src/core/bytes.ts';
import { systemClock } from '../../src/core/clock.ts';
import { bundleNode, ITEM_ID, NODE_DEVICES, NS_OMEMO } from '../../src/omemo/names.ts';
import { Omemo } from '../../src/omemo/omemo.ts';
import { type PepPort, pepPort } from '../../src/omemo/pep-port.ts';
import { omemoSchema } from '../../src/omemo/schema.ts';
import { locksSchema } from '../../src/store/locks.ts';
import { openStore } from '../../src/store/store.ts';
import type { Connection } from '../../src/xmpp/connection.ts';
import { Disco } from '../../src/xmpp/disco.ts';
import { Pep } from '../../src/xmpp/pep.ts';
import { type Element, xml } from '../../src/xmpp/xml.ts';
import { address } from './address.ts';
import { Client } from './people.ts';
import type { Prosody } from './prosody.ts';

const JINGLE = 'urn:xmpp:jingle:1';
/** A file's offer but for what protects it. */
const OFFER = {
  description: xml(
    'description',
    { xmlns: 'urn:xmpp:jingle:apps:file-transfer:5' },
    xml('file', {}, xml('name', {}, 'knock.txt'), xml('size', {}, '5')),
  ),
  transport: xml('transport', {
    xmlns: 'urn:xmpp:jingle:transports:ibb:1',
    'block-size': '4096',
    sid: 'ch3d9s71',
  }),
};

/** A file that is asked for. */
function selecting(sha256: Buffer): Element {
  const attrs = { xmlns: 'urn:xmpp:hashes:2', algo: 'sha-256' };
  const file = xml('file', {}, xml('hash', attrs, sha256.toString('base64')));
  return xml('description', { xmlns: 'urn:xmpp:jingle:apps:file-transfer:5' }, file);
}

/** A device of an account, online as a plain client. */
export class OmemoDevice {
  readonly client: Client;
  readonly omemo: Omemo;
  readonly pep: PepPort;
  readonly #close: () => Promise<void>;
  #closing: Promise<void> | undefined;

  private constructor(client: Client, omemo: Omemo, pep: PepPort, close: () => Promise<void>) {
    this.client = client;
    this.omemo = omemo;
    this.pep = pep;
    this.#close = close;
  }

  /**
   * Logs in; unless `made` is false, makes a device and publishes it. Who gives a `disco` of its own
   * comes online itself.
   */
  static async open(
    server: Prosody,
    name: string,
    {
      made = true,
      disco,
    }: { readonly made?: boolean; readonly disco?: (connection: Connection) => Disco } = {},
  ): Promise<OmemoDevice> {
    const client = await Client.open(server, name, disco === undefined);
    const folder = await mkdtemp(join(tmpdir(), 'jet-device-'));
    const store = openStore(join(folder, 'state.db'), [locksSchema, omemoSchema]);
    const { connection } = client;
    const account = connection.jid.bare;
    const pep = pepPort(new Pep(connection, disco?.(connection) ?? new Disco(connection)), account);
    const omemo = Omemo.open({
      connection,
      pep,
      store,
      clock: systemClock,
      account,
      verifiedOnly: false,
      say: () => undefined,
    });
    if (made) await omemo.ensureDevice();
    return new OmemoDevice(client, omemo, pep, async () => {
      omemo.close();
      await connection.close();
      store.close();
      await rm(folder, { recursive: true });
    });
  }

  get id(): number {
    return this.omemo.device?.id ?? 0;
  }

  get fingerprint(): string {
    return this.omemo.device?.fingerprint ?? '';
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  /** Makes the account's list hold exactly these. */
  async list(...ids: readonly number[]): Promise<void> {
    const devices = ids.map((id) => xml('device', { id }));
    await this.pep.publish(NODE_DEVICES, ITEM_ID, xml('list', { xmlns: NS_OMEMO }, ...devices));
  }

  /** Publishes a copy of somebody's bundle as the bundle of a device of this account. */
  async copyBundle(of: string, device: number, as: number): Promise<void> {
    const bundle = await this.pep.fetch(address(of), bundleNode(device));
    if (bundle === undefined) throw new Error(`${of} has no bundle ${device}`);
    await this.pep.publish(bundleNode(as), ITEM_ID, bundle);
  }

  /**
   * Offers a file under an envelope, whatever that is, or asks for one by its SHA-256, and gives everything
   * that comes back up to the end of the session and the answer to a request after it, without what differs
   * from try to try.
   */
  async knock(to: string, envelope: Element, asks?: Buffer): Promise<string[]> {
    const { connection } = this.client;
    const sid = randomId();
    const heard: string[] = [];
    const note = (stanza: Element) => heard.push(stanza.toString().replaceAll(sid, 'SID'));
    let ended: () => void = () => undefined;
    const end = new Promise<void>((resolve) => (ended = resolve));
    connection.audience = () => true;
    const off = [
      connection.onIq(JINGLE, 'jingle', ({ payload }) => {
        note(payload);
        if (payload.attrs['action'] === 'session-terminate') ended();
        return undefined;
      }),
      connection.onMessage((message, from) => {
        if (from.toString() === to) note(message);
      }),
      connection.onPresence((presence, from) => {
        if (from.toString() === to) note(presence);
      }),
    ];
    const security = xml(
      'security',
      {
        xmlns: 'urn:xmpp:jingle:jet:0',
        name: 'c',
        cipher: 'urn:xmpp:ciphers:aes-128-gcm-nopadding',
        type: NS_OMEMO,
      },
      envelope,
    );
    const content = xml(
      'content',
      { creator: 'initiator', name: 'c', senders: asks ? 'responder' : 'initiator' },
      asks ? selecting(asks) : OFFER.description,
      OFFER.transport,
      security,
    );
    const initiator = connection.jid.toString();
    const jingle = xml(
      'jingle',
      { xmlns: JINGLE, action: 'session-initiate', sid, initiator },
      content,
    );
    const answer = await connection.iq(address(to), 'set', jingle).then(
      (result) => `result ${String(result)}`,
      (error: unknown) => `error ${String(error)}`,
    );
    if (answer.startsWith('result')) await end;
    // The server keeps the order: what else there was to come has come before this answer.
    const info = xml('query', { xmlns: 'http://jabber.org/protocol/disco#info' });
    const refused = (error: unknown) => heard.push(`error ${String(error)}`);
    await connection.iq(address(to), 'get', info).catch(refused);
    for (const remove of off) remove();
    return [answer, ...heard];
  }
}
