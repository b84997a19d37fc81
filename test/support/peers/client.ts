/**
 * What the scripted counterparts share: an account online as a named client, and its Jingle sessions stanza
 * by stanza. They know nothing of src/jingle and src/transfer, so that no misunderstanding is shared.
 */
import { capsElement, capsNode } from '../../../src/xmpp/caps.ts';
import type { Connection } from '../../../src/xmpp/connection.ts';
import { StanzaError } from '../../../src/xmpp/connection.ts';
import { Disco } from '../../../src/xmpp/disco.ts';
import type { Jid } from '../../../src/core/jid.ts';
import { answerPings, PING } from '../../../src/xmpp/ping.ts';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { OmemoDevice } from '../device.ts';
import type { Prosody } from '../prosody.ts';

export const JINGLE = 'urn:xmpp:jingle:1';
export const JINGLE_ERRORS = 'urn:xmpp:jingle:errors:1';
export const FILE_TRANSFER = 'urn:xmpp:jingle:apps:file-transfer:5';
export const JET = 'urn:xmpp:jingle:jet:0';
export const OMEMO = 'eu.siacs.conversations.axolotl';
const DISCO_INFO = 'http://jabber.org/protocol/disco#info';

/** What a client shows of itself. */
export interface Shown {
  /** The name of its disco identity. */
  readonly software: string;
  readonly features: readonly string[];
}

/** A client of an account, with an OMEMO device, whose sessions a script leads. */
export class ScriptedClient {
  readonly device: OmemoDevice;
  readonly #dialogues = new Map<string, Dialogue>();
  readonly #offers: Dialogue[] = [];
  #offered: () => void = () => undefined;

  private constructor(device: OmemoDevice) {
    this.device = device;
  }

  /** Comes online. */
  static async open(server: Prosody, name: string, shown: Shown): Promise<ScriptedClient> {
    let disco: Disco | undefined;
    const device = await OmemoDevice.open(server, name, {
      disco: (connection) => (disco = new Disco(connection, shown.software)),
    });
    const client = new ScriptedClient(device);
    const { connection } = client;
    disco?.addFeatures(PING, ...shown.features);
    answerPings(connection);
    connection.audience = () => true;
    connection.onIq(JINGLE, 'jingle', ({ from, payload }) => client.#route(from, payload));
    if (disco) {
      // With priority 0, as a chat client: what goes to the bare address reaches it.
      const caps = capsElement(disco.own);
      disco.addNode(capsNode(caps));
      await connection.send(xml('presence', {}, caps));
    }
    return client;
  }

  get connection(): Connection {
    return this.device.client.connection;
  }

  get jid(): Jid {
    return this.connection.jid;
  }

  close(): Promise<void> {
    return this.device.close();
  }

  /** What a full address says that it can do. */
  async features(of: Jid): Promise<ReadonlySet<string>> {
    const info = await this.connection.iq(of, 'get', xml('query', { xmlns: DISCO_INFO }));
    const features = info?.getChildren('feature') ?? [];
    return new Set(features.map(({ attrs }) => attrs['var'] ?? ''));
  }

  /** Begins a session. */
  dialogue(peer: Jid, sid: string): Dialogue {
    const made = new Dialogue(this, peer, sid);
    this.#dialogues.set(made.key, made);
    return made;
  }

  /** Waits for somebody's session-initiate: the first stanza of what it gives. */
  async offered(): Promise<Dialogue> {
    for (;;) {
      const first = this.#offers.shift();
      if (first !== undefined) return first;
      await new Promise<void>((resolve) => (this.#offered = resolve));
    }
  }

  #route(from: Jid, jingle: Element): Promise<undefined> {
    const { sid = '', action = '' } = jingle.attrs;
    const known = this.#dialogues.get(`${from.toString()} ${sid}`);
    if (known !== undefined) return known.take(jingle);
    if (action !== 'session-initiate')
      throw new StanzaError(
        'cancel',
        'item-not-found',
        undefined,
        xml('unknown-session', { xmlns: JINGLE_ERRORS }),
      );
    const made = this.dialogue(from, sid);
    const taken = made.take(jingle);
    this.#offers.push(made);
    this.#offered();
    return taken;
  }
}

/** One session as its script sees it. */
export class Dialogue {
  readonly peer: Jid;
  readonly sid: string;
  /** Answers a stanza: throws the error for it. By default everything is acknowledged. */
  answer: (jingle: Element) => Promise<void> | void = () => undefined;
  /** Everything that came, oldest first. */
  readonly heard: Element[] = [];
  readonly #client: ScriptedClient;
  readonly #waiting: Element[] = [];
  #look: () => void = () => undefined;

  constructor(client: ScriptedClient, peer: Jid, sid: string) {
    this.#client = client;
    this.peer = peer;
    this.sid = sid;
  }

  get key(): string {
    return `${this.peer.toString()} ${this.sid}`;
  }

  /** Sends a stanza of the session; resolves when it is acknowledged. @throws StanzaError */
  async send(action: string, ...children: (Element | undefined)[]): Promise<void> {
    await this.sendWith({}, action, ...children);
  }

  /** The same with further attributes. */
  async sendWith(
    attrs: Readonly<Record<string, string>>,
    action: string,
    ...children: (Element | undefined)[]
  ): Promise<void> {
    const jingle = xml('jingle', { xmlns: JINGLE, action, sid: this.sid, ...attrs }, ...children);
    await this.#client.connection.iq(this.peer, 'set', jingle);
  }

  /** Takes a stanza of the peer's. */
  async take(jingle: Element): Promise<undefined> {
    await this.answer(jingle);
    this.heard.push(jingle);
    this.#waiting.push(jingle);
    this.#look();
    return undefined;
  }

  /** The next stanza with one of these actions; those before it are passed over. */
  async next(...actions: readonly string[]): Promise<Element> {
    for (;;) {
      const at = this.#waiting.findIndex(({ attrs }) => actions.includes(attrs['action'] ?? ''));
      const [found] = at < 0 ? [] : this.#waiting.splice(at, 1);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const before = this.#look;
        this.#look = () => {
          before();
          resolve();
        };
      });
    }
  }
}

/** The condition of a session-terminate, and its text. */
export function reasonOf(jingle: Element): { condition: string; text: string | undefined } {
  const children = jingle.getChild('reason', JINGLE)?.getChildElements() ?? [];
  const condition = children.find(
    (child) => child.getNS() === JINGLE && child.getName() !== 'text',
  );
  const text = children.find((child) => child.getName() === 'text')?.getText();
  return { condition: condition?.getName() ?? 'none', text };
}

/** A child that has to be there. */
export function need(parent: Element | undefined, name: string): Element {
  const found = parent?.getChildElements().find((child) => child.getName() === name);
  if (found === undefined) throw new Error(`no ${name} in ${String(parent)}`);
  return found;
}
