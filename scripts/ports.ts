/** Ports that are free now. */
import { createServer } from 'node:net';

/** Gives `count` different ones of an address. */
export async function freePorts(count: number, address = '127.0.0.1'): Promise<number[]> {
  const listen = async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, address, resolve));
    return server;
  };
  // All are held at once, so that they differ.
  const servers = await Promise.all(Array.from({ length: count }, listen));
  const ports = servers.map((server) => {
    const bound = server.address();
    return typeof bound === 'object' && bound !== null ? bound.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}
