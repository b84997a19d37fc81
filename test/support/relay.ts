/** A TCP relay that keeps what passes, and may change it: a tap on the wire. */
import { connect, createServer, type AddressInfo, type Server } from 'node:net';
import { Transform } from 'node:stream';

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

/** Where something listens. */
export interface Place {
  readonly host: string;
  readonly port: number;
}

/**
 * Listens at `from` and passes everything on to `to`.
 *
 * @param to - may be known only when somebody connects
 * @param damage - number of the byte, in each direction from 0, of which a bit is changed
 */
export async function startRelay(
  from: Place,
  to: Place | (() => Place),
  damage = Infinity,
): Promise<Relay> {
  const taps: { up: Buffer[]; down: Buffer[] }[] = [];
  const server: Server = createServer({ allowHalfOpen: true }, (near) => {
    const tap = { up: [] as Buffer[], down: [] as Buffer[] };
    taps.push(tap);
    const place = typeof to === 'function' ? to() : to;
    const far = connect({ ...place, allowHalfOpen: true });
    near.on('data', (data: Buffer) => tap.up.push(data));
    far.on('data', (data: Buffer) => tap.down.push(data));
    near.on('error', () => far.destroy());
    far.on('error', () => near.destroy());
    near.on('close', () => far.destroy());
    far.on('close', () => near.destroy());
    if (damage === Infinity) {
      near.pipe(far);
      far.pipe(near);
    } else {
      near.pipe(damaged(damage)).pipe(far);
      far.pipe(damaged(damage)).pipe(near);
    }
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

/** Passes bytes on, and changes a bit of one. */
function damaged(at: number): Transform {
  let passed = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const changed = Buffer.from(chunk);
      const hit = at - passed;
      if (hit >= 0 && hit < chunk.length) changed[hit] = (changed[hit] ?? 0) ^ 1;
      passed += chunk.length;
      done(null, changed);
    },
  });
}
