/** Conversations 2.19.15 as the one who is offered a file (docs/interop-sources.md, rows C). */
import { createDecipheriv } from 'node:crypto';
import type { Readable } from 'node:stream';
import { xml, type Element } from '../../../src/xmpp/xml.ts';
import { FILE_TRANSFER, JET, need, OMEMO } from './client.ts';
import { IBB_TRANSPORT } from './conversations-in-band.ts';
import {
  CIPHER,
  FileSession,
  STOPPED,
  TAG,
  transportOf,
  type Ended,
  type Secret,
} from './conversations-session.ts';

/** One offer. */
export class Receiving extends FileSession {
  protected readonly initiator = false;

  async run(): Promise<Ended> {
    const initiate = await this.dialogue.next('session-initiate');
    const offered = need(initiate, 'content');
    this.content = offered.attrs['name'] ?? '';
    const description = need(offered, 'description');
    const file = need(description, 'file');
    const size = Number(file.getChildText('size') ?? NaN);
    // C4.
    if ((file.getChildText('name') ?? '') === '' || !Number.isSafeInteger(size)) {
      await this.terminate('failed-application', 'File definition is missing name and/or size');
      return { state: await this.ended };
    }
    const secret = await this.#open(offered);
    if (this.manner.decline === true) {
      await this.terminate('decline', STOPPED);
      return { state: await this.ended };
    }
    const transport = transportOf(initiate);
    await this.#accept(description, transport);
    const streams = await this.open();
    const got = streams === undefined ? {} : await this.#receive(streams.input, size, secret);
    const state = await this.ended;
    return { state, ...got, ...(this.text !== undefined && { text: this.text }) };
  }

  /** C5: what does not fit, or does not open, counts as if it were not there. */
  async #open(content: Element): Promise<Secret | undefined> {
    const security = content.getChild('security', JET);
    const { name, type, cipher } = security?.attrs ?? {};
    if (name !== this.content || type !== OMEMO || cipher !== CIPHER) return undefined;
    const encrypted = security?.getChild('encrypted', OMEMO);
    if (encrypted === undefined || this.manner.keyless === true) return undefined;
    const envelope = this.client.device.omemo.envelope();
    const opened = await envelope.open(encrypted, this.dialogue.peer, 16).catch(() => undefined);
    return opened?.secret;
  }

  async #accept(description: Element, transport: Element): Promise<void> {
    const { sid = '' } = transport.attrs;
    this.carrier =
      transport.getNS() === IBB_TRANSPORT
        ? this.inBand(sid, Number(transport.attrs['block-size']))
        : await this.socks(sid);
    this.carrier.theirs(transport);
    // C3: the description as it came, no security.
    await this.say('session-accept', this.part(description, this.carrier.element()));
  }

  /** C12: `size` bytes, or 16 more where it has a key; the tag is looked at after the word of success. */
  async #receive(input: Readable, size: number, secret: Secret | undefined) {
    const total = secret === undefined ? size : size + TAG;
    const { stopAfter = Infinity } = this.manner;
    const parts: Buffer[] = [];
    let got = 0;
    const enough = Math.min(total, stopAfter);
    const chunks: AsyncIterable<Buffer> = input.iterator({ destroyOnReturn: false });
    try {
      if (enough > 0)
        for await (const chunk of chunks) {
          const part = chunk.subarray(0, total - got);
          parts.push(part);
          got += part.length;
          if (got >= enough) break;
        }
    } catch {
      // A stream that is cut has ended.
    }
    if (this.isOver()) return {};
    if (got < total && got >= stopAfter) {
      // C14: the receiver's user stops by `decline`, also in the middle.
      await this.terminate('decline', STOPPED);
      return {};
    }
    if (got < total) {
      await this.terminate('connectivity-error');
      return {};
    }
    const wire = Buffer.concat(parts);
    // C7.
    const received = xml('received', { xmlns: FILE_TRANSFER, name: this.content });
    const said = this.say('session-info', received);
    await Promise.all([said, this.terminate('success')]);
    if (secret === undefined) return { saved: wire };
    const decipher = createDecipheriv('aes-128-gcm', secret.key, secret.iv, { authTagLength: TAG });
    const saved = decipher.update(wire.subarray(0, size));
    decipher.setAuthTag(wire.subarray(size));
    try {
      decipher.final();
      return { saved, tagHeld: true };
    } catch {
      return { saved, tagHeld: false };
    }
  }
}
