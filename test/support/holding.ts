/** One who shares and one who asks, over a network in memory: what is answered, and what the asker gets. */
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';
import { defaultCiphers } from '../../src/jet/ciphers.ts';
import { EnvelopeRegistry, type Envelope, type TransportSecret } from '../../src/jet/envelope.ts';
import { stubEnvelope } from '../../src/jet/stub-envelope.ts';
import type { FileRange } from '../../src/jingle/file-description.ts';
import type { Hash } from '../../src/jingle/hashes.ts';
import { Sessions } from '../../src/jingle/sessions.ts';
import { JINGLE } from '../../src/jingle/stanza.ts';
import { TransportRegistry } from '../../src/jingle/transport.ts';
import type { TransferEvent } from '../../src/transfer/events.ts';
import { fetchFile } from '../../src/transfer/fetch.ts';
import { memoryBytes, memoryTarget } from '../../src/transfer/listing.ts';
import type { Request } from '../../src/transfer/sealed.ts';
import { Holder, type Sharing } from '../../src/transfer/share.ts';
import { StreamTarget } from '../../src/transfer/stream-target.ts';
import { ibb } from '../../src/transport/ibb/index.ts';
import { FakeClock } from './clock.ts';
import { DEVICE, withIdentity } from './exchange.ts';
import { openPolicy } from './negotiations.ts';
import { createNetwork } from './network.ts';
import { testRecords } from './records.ts';

/** The only file that is shared. */
export const HELD = randomBytes(50_000);

/** As a selector has it. */
export const sha256 = (of: Buffer): Hash => ({
  algorithm: 'sha-256',
  digest: createHash('sha256').update(of).digest(),
});

/**
 * Makes both sides.
 *
 * @param sharing - what differs from sharing {@link HELD} with everybody
 * @param sealed - both are jets
 * @param most - bytes that one message carries: what is larger comes in several sessions, to a stream
 */
export function createHolding(sharing: Partial<Sharing> = {}, sealed = false, most?: number) {
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const keys = [generateKeyPairSync('x25519'), generateKeyPairSync('x25519')] as const;
  const secrets: TransportSecret[] = [];
  const copying: Envelope = {
    ...stubEnvelope,
    seal(secret, to) {
      secrets.push({ key: Buffer.from(secret.key), iv: Buffer.from(secret.iv) });
      return stubEnvelope.seal(secret, to);
    },
  };
  const side = (address: string, [own, peer]: typeof keys) => {
    const connection = network.connect(address);
    connection.audience = () => true;
    const transports = new TransportRegistry();
    transports.register(ibb());
    const envelope = sealed ? withIdentity(copying, own, peer) : copying;
    const envelopes = new EnvelopeRegistry();
    envelopes.register(envelope);
    const log = () => undefined;
    const sessions = new Sessions({ connection, clock, log });
    const ciphers = defaultCiphers(most);
    const records = testRecords(clock);
    const policy = openPolicy;
    const around = { connection, clock, transports, envelopes, ciphers, log, sessions };
    return { ...around, policy, records, envelope };
  };
  const [alice, bob] = [side('alice@a.test/one', keys), side('bob@b.test/two', [keys[1], keys[0]])];
  const refused: string[] = [];
  const taken: boolean[] = [];
  /** What the holder's user is told. */
  const served: TransferEvent[] = [];
  const holder = new Holder(bob, {
    may: () => true,
    plain: () => true,
    goesOn: { allows: () => false },
    find: ({ file }) =>
      Promise.resolve(
        file.hashes.some(({ digest }) => digest.equals(sha256(HELD).digest))
          ? {
              file: { name: 'held.bin', size: HELD.length, hashes: [], hashUsed: [] },
              sha256: sha256(HELD).digest,
              open: () => Promise.resolve(memoryBytes(HELD)),
            }
          : undefined,
      ),
    on: (event) => void served.push(event),
    ended: (_exit, was) => void taken.push(was),
    refused: (_peer, why) => void refused.push(why),
    ...sharing,
  });
  bob.sessions.onInitiate((incoming) => holder.handle(incoming));
  const fetch = (hash: Hash, range?: FileRange) =>
    ask({ file: { hashes: [hash], hashUsed: [], ...(range && { range }) }, list: false });
  const list = () => ask({ file: { hashes: [], hashUsed: [] }, list: true });
  /** Asks from another address. */
  const from = (address: string) => {
    const by = side(address, keys);
    return (hash: Hash) => ask({ file: { hashes: [hash], hashUsed: [] }, list: false }, by);
  };
  const ask = async (request: Request, by = alice) => {
    const size = request.file.range?.length ?? HELD.length;
    const memory = memoryTarget(size);
    const target = most === undefined ? memory : new StreamTarget(new PassThrough().resume(), size);
    const events: TransferEvent[] = [];
    const exit = await fetchFile(by, {
      to: bob.connection.jid,
      envelope: by.envelope,
      ...(sealed && { device: DEVICE }),
      request,
      label: 'wanted',
      target: () => Promise.resolve(target),
      answerMs: 60_000,
      say: () => undefined,
      on: (event) => void events.push(event),
      signal: new AbortController().signal,
    });
    return { exit, events, got: memory.bytes() };
  };
  /** Session-terminates: when they came, and what they said. */
  const ends: number[] = [];
  const farewells: string[] = [];
  /** In-band bytes in the order of their way: of one transfer, what was encrypted. */
  const blocks: Buffer[] = [];
  network.tap((stanza) => {
    const jingle = stanza.getChild('jingle', JINGLE);
    if (jingle?.attrs['action'] === 'session-terminate' && stanza.attrs['type'] === 'set') {
      ends.push(clock.monotonic());
      farewells.push(jingle.toString().replaceAll(jingle.attrs['sid'] ?? '', 'SID'));
    }
    const data = stanza.getChild('data', 'http://jabber.org/protocol/ibb');
    if (data) blocks.push(Buffer.from(data.getText(), 'base64'));
    return undefined;
  });
  return { clock, fetch, from, list, refused, taken, served, ends, farewells, blocks, secrets };
}
