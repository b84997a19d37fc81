/**
 * Conversations 2.19.15 (commit 09182b6895b2a39601962ff47f7417c41fa7c79e), as its source has it speak: what it
 * requires, sends, omits, and how it fails. The facts, each with the file where it was read, are in
 * docs/interop-sources.md; the numbers in the comments are the rows there.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import type { Jid } from '../../../src/core/jid.ts';
import type { Prosody } from '../prosody.ts';
import { FILE_TRANSFER, JET, JINGLE, ScriptedClient } from './client.ts';
import { IBB_TRANSPORT } from './conversations-in-band.ts';
import { Receiving } from './conversations-receiving.ts';
import { Sending } from './conversations-sending.ts';
import type { Ended, Manner, OwnFile } from './conversations-session.ts';
import { S5B } from './sockets.ts';

/** C1. */
const FEATURES = [
  JINGLE,
  FILE_TRANSFER,
  S5B,
  IBB_TRANSPORT,
  JET,
  'urn:xmpp:jingle:jet-omemo:0',
  'urn:xmpp:jingle:transports:ice-udp:1',
  'urn:xmpp:jingle:apps:rtp:audio',
  'urn:xmpp:jingle:apps:rtp:video',
  'urn:xmpp:jingle:apps:rtp:1',
  'urn:xmpp:jingle:apps:dtls:0',
  'urn:xmpp:jingle-message:0',
  'urn:xmpp:jingle:transports:webrtc-datachannel:1',
];

/** The client. */
export class Conversations {
  readonly client: ScriptedClient;

  private constructor(client: ScriptedClient) {
    this.client = client;
  }

  static async open(server: Prosody, name: string): Promise<Conversations> {
    const shown = { software: 'Conversations', features: FEATURES };
    return new Conversations(await ScriptedClient.open(server, name, shown));
  }

  close(): Promise<void> {
    return this.client.close();
  }

  /** Sends a file to a full address. */
  async send(to: Jid, file: OwnFile, manner: Manner = {}): Promise<Ended> {
    const dialogue = this.client.dialogue(to, manner.sid ?? randomUUID());
    const features = await this.client.features(to);
    const s5b = manner.relays !== true && features.has(S5B);
    const secret = { key: randomBytes(16), iv: randomBytes(12) };
    const session = new Sending(this.client, dialogue, file, secret, manner);
    return session.run(s5b);
  }

  /** Waits for an offer and takes it, as far as its user lets it. */
  async receive(manner: Manner = {}): Promise<Ended> {
    const dialogue = await this.client.offered();
    return new Receiving(this.client, dialogue, manner).run();
  }
}
