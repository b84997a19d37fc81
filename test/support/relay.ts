/** A TCP relay that keeps what passes: a tap on the wire. */
import { connect, createServer, type AddressInfo, type Server } from 'node:net';

/** The bytes of one connection, each way. */
export interface Tapped {
  readonly up: Buffer;
  readonly down: Buffer;
}

/** A listening relay. */
export interface Relay {
  readonly port: number;
  readonly connections: () => readonly Tapped[];
  stop(): Promise<void>;
}

/** Listens at `from` and passes everything on to `to`. */
export async function startRelay(
  from: { readonly host: string; readonly port: number },
  to: { readonly host: string; readonly port: number },
): Promise<Relay> {
  const taps: { up: Buffer[]; down: Buffer[] }[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (near) => {
    const tap = { up: [] as Buffer[], down: [] as Buffer[] };
    taps.push(tap);
    const far = connect({ ...to, allowHalfOpen: true });
    near.on('data', (data: Buffer) => tap.up.push(data));
    far.on('data', (data: Buffer) => tap.down.push(data));
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    near.pipe(far);
    far.pipe(near);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(from.port, from.host, resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    connections: () =>
      taps.map(({ up, down }) => ({ up: Buffer.concat(up), down: Buffer.concat(down) })),
    stop: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
