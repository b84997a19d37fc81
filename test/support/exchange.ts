/** Two whole sides of a transfer over a network in memory: sessions, in-band bytes, real files. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { FileSource } from '../../src/files/source.ts';
import { defaultCiphers } from '../../src/jet/ciphers.ts';
import { EnvelopeRegistry, type Envelope, type TransportSecret } from '../../src/jet/envelope.ts';
import { stubEnvelope } from '../../src/jet/stub-envelope.ts';
import { Sessions } from '../../src/jingle/sessions.ts';
import { TransportRegistry } from '../../src/jingle/transport.ts';
import type { TransferEvent } from '../../src/transfer/events.ts';
import { Receiver } from '../../src/transfer/receive.ts';
import { sendFile } from '../../src/transfer/send.ts';
import { ibb } from '../../src/transport/ibb/index.ts';
import { FakeClock } from './clock.ts';
import { testRecords } from './records.ts';
import { openPolicy } from './negotiations.ts';
import { createNetwork, type TestConnection } from './network.ts';

/** One side: its connection, what its user was told, and the secrets of its envelopes. */
export interface Side {
  readonly connection: TestConnection;
  readonly events: TransferEvent[];
  readonly secrets: TransportSecret[];
  /** Resolves at the first event of this kind. */
  told(event: TransferEvent['event']): Promise<TransferEvent>;
}

/** Makes both sides; the receiver takes whatever comes. */
export async function createExchange() {
  const folder = await mkdtemp(join(tmpdir(), 'jet-exchange-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const clock = new FakeClock();
  const network = createNetwork({ clock });
  const alice = makeSide(network.connect('alice@a.test/one'));
  const bob = makeSide(network.connect('bob@b.test/two'));
  const refused: string[] = [];
  const surroundings = ({ connection, secrets }: Side) => {
    const transports = new TransportRegistry();
    transports.register(ibb());
    const envelopes = new EnvelopeRegistry();
    envelopes.register(watched(secrets));
    const log = () => undefined;
    return {
      ...{ connection, clock, transports, envelopes, log },
      records: testRecords(clock),
      ciphers: defaultCiphers(),
      policy: openPolicy,
      sessions: new Sessions({ connection, clock, log }),
    };
  };
  const [ours, theirs] = [surroundings(alice), surroundings(bob)];
  const receiver = new Receiver(theirs, {
    out: folder,
    onConflict: 'rename',
    decide: () => Promise.resolve(true),
    on: (event) => void bob.events.push(event),
    say: () => undefined,
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
    return sendFile(ours, {
      source: await FileSource.open(path),
      to: bob.connection.jid,
      envelope: watched(alice.secrets),
      answerMs: 120_000,
      on: (event) => void alice.events.push(event),
      signal: options.signal ?? new AbortController().signal,
      ...(options.limitRate !== undefined && { limitRate: options.limitRate }),
    });
  };
  return { clock, network, alice, bob, receiver, send, folder, refused };
}

/** The stub of the specification, with an eye on the secrets that pass it. */
function watched(secrets: TransportSecret[]): Envelope {
  return {
    ...stubEnvelope,
    seal(secret, to) {
      secrets.push(secret);
      return stubEnvelope.seal(secret, to);
    },
    async open(element, from, keyLength) {
      const opened = await stubEnvelope.open(element, from, keyLength);
      secrets.push(opened.secret);
      return opened;
    },
  };
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
  return { connection, events, secrets: [], told };
}
