/** Two servers on loopback addresses of their own that know each other, one account on each. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeAuthority } from '../../scripts/certificates.ts';
import { freePorts } from '../../scripts/ports.ts';
import { jetHome } from './jet.ts';
import { pairOf, type Pair } from './pair.ts';
import { startProsody, type Prosody, type ProsodyOptions } from './prosody.ts';

const plugins = fileURLToPath(new URL('prosody', import.meta.url));
const PASSWORD = 'secret';

/** Alice's server and bob's, each with a proxy for its own users. */
export interface Federation {
  readonly alices: Prosody;
  readonly bobs: Prosody;
  /** Fresh accounts, one on each server, contacts of each other. */
  pair(): Promise<Pair>;
  stop(): Promise<void>;
}

/** Starts both. Neither asks any DNS, and each believes the other by its certificate. */
export async function startFederation(options: ProsodyOptions = {}): Promise<Federation> {
  const authority = await mkdtemp(join(tmpdir(), 'jet-authority-'));
  await makeAuthority(authority);
  const places = await Promise.all(
    [
      { domain: 'north.test', address: '127.0.0.1' },
      { domain: 'south.test', address: '127.0.0.2' },
    ].map(async (place) => {
      const [port = 0] = await freePorts(1, place.address);
      return { ...place, port };
    }),
  );
  const known = places.map(
    ({ domain, address, port }) => `["${domain}"] = { address = "${address}", port = ${port} }`,
  );
  const [alices, bobs] = await Promise.all(
    places.map(({ domain, address, port }) =>
      startProsody({
        ...options,
        ...{ domain, plugins, federation: { address, port, authority } },
        modules: ['known_hosts', ...(options.modules ?? [])],
        extra: `  known_hosts = { ${known.join('; ')} }\n${options.extra ?? ''}`,
      }),
    ),
  );
  if (alices === undefined || bobs === undefined) throw new Error('there are two servers');
  let count = 0;
  return {
    ...{ alices, bobs },
    pair: async () => {
      const [a, b] = [`alice${count}`, `bob${count}`];
      count++;
      await alices.addAccount(a, PASSWORD);
      await bobs.addAccount(b, PASSWORD);
      await alices.know(a, `${b}@${bobs.domain}`);
      await bobs.know(b, `${a}@${alices.domain}`);
      return pairOf(await jetHome(alices, a, PASSWORD), await jetHome(bobs, b, PASSWORD));
    },
    stop: async () => {
      await alices.stop();
      await bobs.stop();
      await rm(authority, { recursive: true, force: true });
    },
  };
}
