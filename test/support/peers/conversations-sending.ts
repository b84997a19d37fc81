/** Conversations 2.19.15 as the one who offers a file (docs/interop-sources.md, rows C). */
import { createCipheriv, createHash, randomUUID } from 'node:crypto';
import type { Writable } from 'node:stream';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { FILE_TRANSFER, JET, need, OMEMO, type Dialogue, type ScriptedClient } from './client.ts';
import {
  CIPHER,
  FileSession,
  STOPPED,
  transportOf,
  write,
  type Ended,
  type Manner,
  type OwnFile,
  type Secret,
} from './conversations-session.ts';

const HASHES = 'urn:xmpp:hashes:2';

/** One offer. */
export class Sending extends FileSession {
  protected readonly initiator = true;
  readonly #file: OwnFile;
  readonly #secret: Secret;

  constructor(
    client: ScriptedClient,
    dialogue: Dialogue,
    file: OwnFile,
    secret: Secret,
    manner: Manner,
  ) {
    super(client, dialogue, manner);
    this.#file = file;
    this.#secret = secret;
    this.content = randomUUID();
  }

  async run(s5b: boolean): Promise<Ended> {
    this.carrier = s5b ? await this.socks(randomUUID()) : this.inBand(randomUUID(), 8192);
    const { name, content, mediaType } = this.#file;
    // C4: no hash, no date, and a media type of another name than the specification's.
    const file = xml(
      'file',
      {},
      xml('name', {}, name),
      xml('size', {}, String(content.length)),
      mediaType === undefined ? undefined : xml('mediaType', {}, mediaType),
    );
    const description = xml('description', { xmlns: FILE_TRANSFER }, file);
    const security = await this.#security();
    await this.say('session-initiate', this.part(description, this.carrier.element(), security));
    const accept = await Promise.race([this.dialogue.next('session-accept'), this.ended]);
    if (typeof accept === 'string') return this.#result();
    this.carrier.theirs(transportOf(accept));
    const streams = await this.open();
    if (streams !== undefined) await this.#transmit(streams.output);
    return this.#result();
  }

  async #result(): Promise<Ended> {
    const state = await this.ended;
    return { state, ...(this.text !== undefined && { text: this.text }) };
  }

  /** C5: a key of 16 bytes for each device, an IV of 12, no payload; the name is the content's. */
  async #security(): Promise<Element> {
    const { omemo } = this.client.device;
    const sealed = await omemo.envelope().seal(this.#secret, this.dialogue.peer.bare);
    const encrypted = xml('encrypted', { xmlns: OMEMO }, need(sealed, 'header'));
    const attrs = { xmlns: JET, name: this.content, cipher: CIPHER, type: OMEMO };
    return xml('security', attrs, encrypted);
  }

  /** C6: 4096 bytes at a time, the stream left open until the peer ends the session. */
  async #transmit(output: Writable): Promise<void> {
    const cipher = createCipheriv('aes-128-gcm', this.#secret.key, this.#secret.iv);
    const { content } = this.#file;
    const wire = Buffer.concat([cipher.update(content), cipher.final(), cipher.getAuthTag()]);
    const { stopAfter } = this.manner;
    for (let at = 0; at < wire.length; at += 4096) {
      if (this.isOver()) return;
      if (stopAfter !== undefined && at >= stopAfter) {
        await this.terminate('cancel', STOPPED);
        return;
      }
      await write(output, wire.subarray(at, at + 4096));
    }
    // C7: over what went over the wire, and without `creator`.
    const hash = (algo: string, name: string) =>
      xml('hash', { xmlns: HASHES, algo }, createHash(name).update(wire).digest('base64'));
    const hashes = [hash('sha-1', 'sha1'), hash('sha-256', 'sha256')];
    const attrs = { xmlns: FILE_TRANSFER, name: this.content };
    const checksum = xml('checksum', attrs, xml('file', {}, ...hashes));
    if (!this.isOver()) await this.say('session-info', checksum);
  }
}
