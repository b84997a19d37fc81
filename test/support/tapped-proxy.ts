/** A server whose proxy is behind a tap: what passes it is counted. */
import { afterAll, beforeAll, expect } from 'vitest';
import { ended, type Ended, type Pair } from './pair.ts';
import { startProsody, type Prosody } from './prosody.ts';
import { startRelay, type Relay } from './relay.ts';

/** A second loopback address, where the tap stands in for the proxy. */
const TAP = '127.0.0.2';

/** A send, and how many bytes of it passed the proxy. */
export interface Tapped {
  readonly passed: number;
  readonly sent: Ended;
}

/** Called in a `describe`, for all tests in it. */
export function tappedProxy(): {
  server(): Prosody;
  /** `jet send` by the proxy, of which everything is verified. */
  send(pair: Pair, paths: string | readonly string[]): Promise<Tapped>;
} {
  let server: Prosody;
  let relay: Relay;
  beforeAll(async () => {
    server = await startProsody({ proxyAddress: TAP });
    const port = server.proxyPort;
    relay = await startRelay({ host: TAP, port }, { host: '127.0.0.1', port });
  });
  afterAll(async () => {
    await server.stop();
    await relay.stop();
  });
  return {
    server: () => server,
    send: async (pair, paths) => {
      const before = relay.connections().length;
      const sent = await ended(pair.send(paths, ['--route', 'proxy']));
      expect(sent, sent.stderr).toMatchObject({ status: 0 });
      const ends = sent.events.filter(({ event }) => event === 'end');
      expect(ends.length).toBeGreaterThan(0);
      for (const end of ends) expect(end).toMatchObject({ status: 'verified' });
      const taps = relay.connections().slice(before);
      return { passed: taps.reduce((sum, { up }) => sum + up.length, 0), sent };
    },
  };
}
