/** Ports of this machine: which are free, which are listened at, which are connected to. */
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Milliseconds that a program may take to open a port. */
const PATIENCE_MS = 30_000;

/** A port that nobody uses now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Resolves when something listens at a port. Nothing is connected: some programs take one connection only. */
export function listening(port: number): Promise<void> {
  return until(port, 'local', '0A');
}

/** Resolves when something is connected to a port. */
export function connected(port: number): Promise<void> {
  return until(port, 'remote', '01');
}

async function until(port: number, end: 'local' | 'remote', state: string): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  const hex = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  while (!seen(hex, end, state)) {
    if (performance.now() > deadline) throw new Error(`nothing at port ${port} in time`);
    await sleep(5);
  }
}

function seen(port: string, end: 'local' | 'remote', state: string): boolean {
  return ['/proc/net/tcp', '/proc/net/tcp6'].some((table) =>
    readFileSync(table, 'utf8')
      .split('\n')
      .some((line) => {
        const [, local = '', remote = '', is] = line.trim().split(/\s+/);
        return (end === 'local' ? local : remote).endsWith(port) && is === state;
      }),
  );
}
