/** Two ends of a real TCP connection over loopback. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Bytestream } from '../../src/jingle/transport.ts';

/** A connected pair; both are half-open. The listener is closed already. */
export async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve));
  const { port } = server.address() as AddressInfo;
  const ours = connect({ port, host: '127.0.0.1', allowHalfOpen: true });
  const theirs = await accepted;
  server.close();
  return [ours, theirs];
}

/** A duplex as what a transport hands out. */
export function byteStream(duplex: Duplex & { readonly bytesWritten?: number }): Bytestream {
  return { route: { kind: 'direct', via: '' }, duplex, taken: () => duplex.bytesWritten ?? 0 };
}
