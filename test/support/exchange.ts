/** Two whole sides of a transfer over a network in memory: sessions, in-band bytes, real files. */
import { diffieHellman, generateKeyPairSync, type KeyPairKeyObjectResult } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import { onTestFinished } from 'vitest';
import { FileSource } from '../../src/files/source.ts';
import { defaultCiphers, GCM_MAX_BYTES } from '../../src/jet/ciphers.ts';
import { EnvelopeRegistry, type Envelope, type TransportSecret } from '../../src/jet/envelope.ts';
import { stubEnvelope } from '../../src/jet/stub-envelope.ts';
import type { Initiates } from '../../src/jingle/joint.ts';
import { Sessions } from '../../src/jingle/sessions.ts';
import { TransportRegistry } from '../../src/jingle/transport.ts';
import type { TransferEvent } from '../../src/transfer/events.ts';
import { Receiver } from '../../src/transfer/receive.ts';
import { sendFile, type Sendable, type Sending } from '../../src/transfer/send.ts';
import { StreamTarget } from '../../src/transfer/stream-target.ts';
import { ibb } from '../../src/transport/ibb/index.ts';
import { FakeClock } from './clock.ts';
import { testRecords } from './records.ts';
import { openPolicy } from './negotiations.ts';
import { createNetwork, type TestConnection } from './network.ts';

/** The number of either side's one device. */
export const DEVICE = 1;

/** One side: its connection, what its user was told, and the secrets of its envelopes. */
export interface Side {
  readonly connection: TestConnection;
  readonly events: TransferEvent[];
  readonly secrets: TransportSecret[];
  /** Key and IV of each that was drawn here, in hex. */
  readonly drawn: string[];
  /** Resolves at the first event of this kind. */
  told(event: TransferEvent['event']): Promise<TransferEvent>;
}

/**
 * Makes both sides; the receiver takes whatever comes.
 *
 * @param sealed - both are jets: everything about a file is sealed
 * @param most - bytes that one message carries
 * @param flow - where everything goes on to, in place of the folder
 */
export async function createExchange({
  sealed = false,
  most = GCM_MAX_BYTES,
  flow,
}: { sealed?: boolean; most?: number; flow?: Writable } = {}) {
  const folder = await mkdtemp(join(tmpdir(), 'jet-exchange-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const alice = makeSide(network.connect('alice@a.test/one'));
  const bob = makeSide(network.connect('bob@b.test/two'));
  const [own, ofBob] = [generateKeyPairSync('x25519'), generateKeyPairSync('x25519')];
  let ofAlice = own;
  const skipped: string[] = [];
  const envelopeOf = ({ secrets, drawn }: Side) => {
    const envelope = watched(secrets, drawn);
    if (!sealed) return envelope;
    return secrets === alice.secrets
      ? withIdentity(envelope, ofAlice, ofBob)
      : withIdentity(envelope, ofBob, () => ofAlice);
  };
  const refused: string[] = [];
  const said: string[] = [];
  const surroundings = (side: Side) => {
    const { connection } = side;
    const transports = new TransportRegistry();
    transports.register(ibb());
    const envelopes = new EnvelopeRegistry();
    envelopes.register(envelopeOf(side));
    const log = () => undefined;
    return {
      ...{ connection, clock, transports, envelopes, log },
      records: testRecords(clock),
      ciphers: defaultCiphers(most),
      policy: openPolicy,
      sessions: new Sessions({ connection, clock, log }),
    };
  };
  const [ours, theirs] = [surroundings(alice), surroundings(bob)];
  const receiver = new Receiver(theirs, {
    out: folder,
    onConflict: 'rename',
    ...(flow && { elsewhere: ({ size }) => Promise.resolve(new StreamTarget(flow, size)) }),
    decide: () => Promise.resolve(true),
    on: (event) => void bob.events.push(event),
    skipped: (path, why) => void skipped.push(`${path}: ${why}`),
    say: (code) => void said.push(code),
    ended: () => undefined,
    refused: (_peer, why) => void refused.push(why),
  });
  theirs.sessions.onInitiate((incoming) => receiver.handle(incoming));
  const send = async (
    bytes: Buffer,
    options: { signal?: AbortSignal; limitRate?: number } = {},
  ) => {
    const path = join(folder, 'source.bin');
    await writeFile(path, bytes);
    const source = await FileSource.open(path);
    return offer(source, options).finally(() => source.close());
  };
  const offer = (
    source: Sendable,
    options: Partial<Pick<Sending, 'signal' | 'limitRate' | 'goesOn' | 'began' | 'of'>> = {},
    sessions: Initiates = ours.sessions,
  ) =>
    sendFile(
      { ...ours, sessions },
      {
        source,
        of: options.of,
        to: bob.connection.jid,
        envelope: envelopeOf(alice),
        ...(sealed && { device: DEVICE }),
        answerMs: 120_000,
        on: (event) => void alice.events.push(event),
        signal: options.signal ?? new AbortController().signal,
        ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
        ...(options.goesOn && { goesOn: options.goesOn }),
        ...(options.began && { began: options.began }),
      },
    );
  const { records } = ours;
  /** From now on it is another device of alice's that offers. */
  const changeDevice = () => void (ofAlice = generateKeyPairSync('x25519'));
  const sides = { clock, network, alice, bob, receiver, records, ours, theirs, said, changeDevice };
  return { ...sides, send, offer, folder, refused, skipped };
}

/** The stub of the specification, with an eye on the secrets that pass it. */
function watched(secrets: TransportSecret[], drawn: string[]): Envelope {
  return {
    ...stubEnvelope,
    seal(secret, to) {
      secrets.push(secret);
      drawn.push(`${secret.key.toString('hex')} ${secret.iv.toString('hex')}`);
      return stubEnvelope.seal(secret, to);
    },
    async open(element, from, keyLength) {
      const opened = await stubEnvelope.open(element, from, keyLength);
      secrets.push(opened.secret);
      return opened;
    },
  };
}

/** The same with identity keys, so that elements can be sealed beside it. */
export function withIdentity(
  envelope: Envelope,
  own: KeyPairKeyObjectResult,
  peer: KeyPairKeyObjectResult | (() => KeyPairKeyObjectResult),
): Envelope {
  const key = bytesOf(own);
  const now = () => (typeof peer === 'function' ? peer() : peer);
  const other = () => bytesOf(now());
  return {
    ...envelope,
    open: async (element, from, keyLength) => {
      const { secret, sender } = await envelope.open(element, from, keyLength);
      return { secret, sender: { ...sender, identityKey: other() } };
    },
    identity: () => ({
      ...{ device: DEVICE, key },
      seal: async (secret, to) => {
        const element = await envelope.seal(secret, to);
        return { element, recipient: other() };
      },
      agree: () => diffieHellman({ privateKey: own.privateKey, publicKey: now().publicKey }),
      isJet: () => false,
      rememberJet: () => undefined,
    }),
  };
}

function bytesOf({ publicKey }: KeyPairKeyObjectResult): Buffer {
  return publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
}

function makeSide(connection: TestConnection): Side {
  connection.audience = () => true;
  const looks = new Set<() => void>();
  const events: TransferEvent[] = [];
  const push = events.push.bind(events);
  events.push = (...added) => {
    const length = push(...added);
    for (const look of [...looks]) look();
    return length;
  };
  const told = (name: TransferEvent['event']) =>
    new Promise<TransferEvent>((resolve) => {
      const look = () => {
        const event = events.find((one) => one.event === name);
        if (event === undefined) return;
        looks.delete(look);
        resolve(event);
      };
      looks.add(look);
      look();
    });
  return { connection, events, secrets: [], drawn: [], told };
}
