/** A SOCKS5 proxy as users have one (RFC 1928): it keeps what it was asked for, and where that is. */
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';

/** A listening proxy. */
export interface SocksServer {
  readonly port: number;
  /** `host:port` of every request, oldest first; a name as it was asked for. */
  readonly asked: readonly string[];
  stop(): Promise<void>;
}

/**
 * Listens on loopback.
 *
 * @param places - where what is asked for truly is, all else being refused
 */
export async function startSocks(
  places: Readonly<Record<string, { readonly host: string; readonly port: number }>>,
): Promise<SocksServer> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    sockets.add(near);
    near.on('close', () => sockets.delete(near));
    near.on('error', () => near.destroy());
    near.once('data', () => {
      near.write(Buffer.from([5, 0]));
      near.once('data', (request: Buffer) => {
        const wanted = destination(request);
        asked.push(wanted);
        const place = places[wanted];
        if (place === undefined) {
          near.end(Buffer.from([5, 4, 0, 1, 0, 0, 0, 0, 0, 0]));
          return;
        }
        const far = connect({ ...place, allowHalfOpen: true }, () => {
          near.write(Buffer.from([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]));
          near.pipe(far).pipe(near);
        });
        sockets.add(far);
        far.on('error', () => near.destroy());
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    port: (server.address() as AddressInfo).port,
    asked,
    stop: () => {
      for (const socket of sockets) socket.destroy();
      return new Promise((resolve) => void server.close(() => resolve()));
    },
  };
}

/** `host:port` of a request to connect. */
function destination(request: Buffer): string {
  const length = request[4] ?? 0;
  const named = request[3] === 3;
  const host = named ? request.toString('latin1', 5, 5 + length) : request.subarray(4, 8).join('.');
  return `${host}:${request.readUInt16BE(named ? 5 + length : 8)}`;
}
