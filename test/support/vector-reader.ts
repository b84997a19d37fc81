/**
 * Reads a vector of test/vectors/jet with the code of `jet` alone: what comes out, never what is to come out.
 * Where a plain peer's range is concerned, which `jet` asks of its own kind only, it says here which digests
 * speak of which bytes, and the program's proof compares them.
 */
import { createHash } from 'node:crypto';
import type { JetVector, Outcome, VectorContent } from '../../scripts/jet/format.ts';
import { systemClock } from '../../src/core/clock.ts';
import type { Cipher } from '../../src/jet/cipher.ts';
import { defaultCiphers } from '../../src/jet/ciphers.ts';
import { EnvelopeRegistry, type TransportSecret } from '../../src/jet/envelope.ts';
import { stubEnvelope } from '../../src/jet/stub-envelope.ts';
import {
  decodeChecksum,
  decodeDescription,
  type FileDescription,
} from '../../src/jingle/file-description.ts';
import { nodeName } from '../../src/jingle/hashes.ts';
import { decodeJingle, type Content, type Jingle } from '../../src/jingle/stanza.ts';
import { DecryptingSide, type Target } from '../../src/transfer/decrypting.ts';
import { openOffer, openRequest, readIncoming } from '../../src/transfer/incoming.ts';
import { Proof } from '../../src/transfer/proof.ts';
import { Reporter } from '../../src/transfer/reporter.ts';
import type { Extent } from '../../src/transfer/sealed.ts';
import { extentOf } from '../../src/transfer/share.ts';
import { StreamParser } from '../../src/xmpp/parser.ts';
import type { Element } from '../../src/xmpp/xml.ts';
import { jid } from './omemo-world.ts';
import { byteStream } from './sockets.ts';
import { openDevice } from './vector-device.ts';
import { outcomeOf } from './vector-outcomes.ts';
import {
  bytesOf,
  decryptAll,
  encryptAll,
  pieces,
  streamOf,
  wireOf,
  type Way,
} from './vector-streams.ts';

/** What came of a content. */
export interface Found {
  readonly outcome: Outcome;
  /** What the GCM stream alone says when it is given every byte of the wire. */
  readonly stream?: Outcome;
  readonly secret?: { readonly key: string; readonly iv: string };
  readonly plaintext?: Buffer;
  /** How often the program wrote to the target. */
  readonly writes?: number;
  /** What encrypting the plaintext again gives. */
  readonly wire?: Buffer;
}

/** The part of a vector that a reader may look at. */
export type Readable = Pick<JetVector, 'reader' | 'before' | 'stanzas'> & {
  readonly contents: readonly Omit<VectorContent, 'outcome' | 'stoppingEarly' | 'secret'>[];
};

/** Reads a vector; one result for each of its contents. */
export async function readVector(vector: Readable, way: Way): Promise<Found[]> {
  const { omemo } = vector.reader;
  const device = omemo && (await openDevice(vector.reader.jid, omemo, vector.before ?? []));
  const envelopes = new EnvelopeRegistry();
  envelopes.register(stubEnvelope);
  if (device) envelopes.register(device.envelope);
  try {
    const stanzas = vector.stanzas.map((text) => readStanza(text, way));
    const found: Found[] = [];
    for (const content of vector.contents)
      found.push(await readContent(content, vector.reader.jid, stanzas, envelopes, way));
    return found;
  } finally {
    device?.close();
  }
}

interface Stanza {
  readonly from: string;
  readonly element: Element;
}

/** From the stream of XML to `<jingle/>`. */
function readStanza(text: string, way: Way): Stanza {
  const found: Element[] = [];
  const parser = new StreamParser();
  parser.on('element', (element: Element) => found.push(element));
  parser.on('error', (error) => {
    throw error;
  });
  parser.write(
    "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>",
  );
  for (const piece of pieces(Buffer.from(text), way)) parser.write(piece.toString('latin1'));
  const [iq] = found;
  const element = iq?.getChild('jingle', 'urn:xmpp:jingle:1');
  if (iq === undefined || !element) throw new Error('a stanza of the vector is no Jingle');
  return { from: String(iq.attrs['from']), element };
}

/** What the stanzas of a session say of one content. */
interface Said {
  readonly from: string;
  readonly sid: string;
  readonly added: Content;
  readonly accepted: FileDescription | undefined;
  readonly infos: readonly Element[];
}

function said(
  of: Omit<VectorContent, 'outcome' | 'secret'>,
  self: string,
  stanzas: readonly Stanza[],
): Said {
  let from: string | undefined;
  let added: Content | undefined;
  let accepted: FileDescription | undefined;
  let sid = '';
  const infos: Element[] = [];
  for (const stanza of stanzas) {
    const jingle: Jingle = decodeJingle(stanza.element);
    const content = jingle.contents.find(
      ({ creator, name }) => creator === of.creator && name === of.name,
    );
    sid = jingle.sid;
    if (content && /-(?:initiate|add)$/.test(jingle.action) && stanza.from !== self)
      [from, added] = [stanza.from, content];
    if (content?.description && jingle.action.endsWith('-accept'))
      accepted = decodeDescription(content.description);
    if (jingle.action === 'session-info' && stanza.from !== self) infos.push(...jingle.payloads);
  }
  if (from === undefined || added === undefined) throw new Error('nobody has added the content');
  return { from, sid, added, accepted, infos };
}

async function readContent(
  content: Readable['contents'][number],
  self: string,
  stanzas: readonly Stanza[],
  envelopes: EnvelopeRegistry,
  way: Way,
): Promise<Found> {
  try {
    const session = said(content, self, stanzas);
    const opened = await open(session, self, content, envelopes);
    if (opened === undefined) return { outcome: 'no such range' };
    return await receive(content, session, opened, way);
  } catch (error) {
    return { outcome: outcomeOf(error) };
  }
}

interface Opened {
  readonly cipher: Cipher;
  readonly secret: TransportSecret;
  readonly file: FileDescription;
  readonly size: number;
  readonly extent: Extent;
}

async function open(
  { from, sid, added, accepted }: Said,
  self: string,
  content: Readable['contents'][number],
  envelopes: EnvelopeRegistry,
): Promise<Opened | undefined> {
  const incoming = readIncoming([added]);
  const session = { sid, peer: jid(from) };
  const protection = { ciphers: defaultCiphers(), envelopes };
  if (added.senders === added.creator) {
    const { cipher, secret, file } = await openOffer(incoming, jid(self), session, protection);
    const offset = accepted?.range?.offset ?? 0;
    const length = accepted?.range?.length ?? file.size - offset;
    return { cipher, secret, file, size: file.size, extent: { offset, length } };
  }
  const { cipher, secret, request } = await openRequest(incoming, jid(self), session, protection);
  const size = content.file ? bytesOf(content.file).length : accepted?.size;
  if (size === undefined) throw new Error('a request for a file of no size');
  const extent = extentOf(request, size, cipher.maxBytes);
  const hashes = [...request.file.hashes, ...(accepted?.hashes ?? [])];
  return extent && { cipher, secret, file: { ...request.file, hashes }, size, extent };
}

async function receive(
  content: Readable['contents'][number],
  { infos }: Said,
  { cipher, secret, file, size, extent }: Opened,
  way: Way,
): Promise<Found> {
  const wire = wireOf(content, cipher, secret);
  const shown = { key: secret.key.toString('hex'), iv: secret.iv.toString('hex') };
  const stream = decryptAll(wire, cipher, secret, extent.length, way);
  const written: Buffer[] = [];
  const target: Target = {
    as: 'file',
    write: (bytes) => {
      written.push(bytes);
      return Promise.resolve();
    },
    finish: () => Promise.resolve(undefined),
    abort: () => Promise.resolve(undefined),
  };
  const whole = extent.offset === 0 && extent.length === size;
  const proof = whole
    ? new Proof(file, size)
    : new Proof({ hashes: [], hashUsed: file.hashUsed }, extent.length);
  const about = {
    id: 'vector',
    direction: 'receive',
    peer: 'peer',
    file: content.name,
    size,
  } as const;
  const side = new DecryptingSide(
    { content, cipher, secret, size, extent, proof, target, partial: !whole, aside: false },
    new Reporter(about, systemClock, () => undefined),
  );
  try {
    const bytestream = byteStream(streamOf(wire, way));
    await side.receive(bytestream, new AbortController().signal);
    const plaintext = Buffer.concat(written);
    if (whole) for (const info of infos) side.info(info);
    else checkPart(content, file, infos, extent, proof, plaintext);
    await side.land();
    return {
      outcome: 'success',
      stream,
      secret: shown,
      plaintext,
      writes: written.length,
      wire: encryptAll(plaintext, cipher, secret, way),
    };
  } catch (error) {
    return { outcome: outcomeOf(error), stream };
  }
}

/** Digests of a range go to its proof; those of the whole file are held against the joined bytes. */
function checkPart(
  content: Readable['contents'][number],
  file: FileDescription,
  infos: readonly Element[],
  { offset, length }: Extent,
  proof: Proof,
  plaintext: Buffer,
): void {
  const claims = [...file.hashes];
  for (const info of infos) {
    const checksum = decodeChecksum(info);
    if (checksum?.name !== content.name) continue;
    claims.push(...checksum.file.hashes);
    const { range } = checksum.file;
    if (range?.offset === offset && range.length === length) proof.add({ hashes: range.hashes });
  }
  if (content.file === undefined) throw new Error('the file of a part is missing');
  const held = bytesOf(content.file);
  const joined = Buffer.concat([
    held.subarray(0, offset),
    plaintext,
    held.subarray(offset + length),
  ]);
  const whole = new Proof({ hashes: claims, hashUsed: [] }, joined.length);
  whole.check(
    whole.functions.map((algorithm) => ({
      algorithm,
      digest: createHash(nodeName(algorithm)).update(joined).digest(),
    })),
  );
}
