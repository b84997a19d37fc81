/** Two sides of one content's transport, joined in memory. */
import type { Clock } from '../../src/core/clock.ts';
import type {
  Bytestream,
  Negotiation,
  RoutePolicy,
  TransportContext,
  TransportMethod,
} from '../../src/jingle/transport.ts';
import type { Connection } from '../../src/xmpp/connection.ts';
import { reparse } from './network.ts';

/** Everything allowed. */
export const openPolicy: RoutePolicy = {
  kinds: new Set(['direct', 'proxy', 'ibb']),
  direct: true,
  socks: undefined,
  ports: undefined,
  allInterfaces: false,
};

/** Both sides' negotiations, each with a transport method of its own as in two processes; transport-infos are written out, parsed and delivered in order. */
export async function pair(
  create: () => TransportMethod,
  connections: readonly [Connection, Connection],
  clock: Clock,
  policies: readonly [RoutePolicy, RoutePolicy] = [openPolicy, openPolicy],
): Promise<{ initiator: Negotiation; responder: Negotiation; offer: string; answer: string }> {
  const context = (
    role: TransportContext['role'],
    index: 0 | 1,
    peer: () => Negotiation,
  ): TransportContext => ({
    connection: connections[index],
    clock,
    self: connections[index].jid,
    peer: connections[index === 0 ? 1 : 0].jid,
    role,
    policy: policies[index],
    async sendInfo(transport) {
      await Promise.resolve();
      peer().info(reparse(transport));
    },
    log: () => undefined,
  });
  const initiator = create().negotiate(
    context('initiator', 0, () => responder),
    undefined,
  );
  const offer = await initiator.local();
  const { sid } = offer.attrs;
  const responder: Negotiation = create().negotiate(
    context('responder', 1, () => initiator),
    sid,
  );
  responder.remote(reparse(offer));
  const answer = await responder.local();
  initiator.remote(reparse(answer));
  return { initiator, responder, offer: offer.toString(), answer: answer.toString() };
}

/** Connects both. */
export function connectBoth(
  initiator: Negotiation,
  responder: Negotiation,
): Promise<[Bytestream, Bytestream]> {
  const { signal } = new AbortController();
  return Promise.all([initiator.connect(signal), responder.connect(signal)]);
}

/** Reads to the end. Iterating plainly would destroy the stream's other half, too. */
export async function readAll({ duplex }: Bytestream): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of duplex.iterator({ destroyOnReturn: false }))
    chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}
