/** Which ways a transfer may go, and that a proxy of the user's own leaves no direct one. */
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { policyOf } from '../../../src/app/connecting.ts';
import type { RouteOptions } from '../../../src/app/types.ts';
import { s5b } from '../../../src/transport/s5b/index.ts';
import { pair } from '../../support/negotiations.ts';
import { createNetwork } from '../../support/network.ts';

const options: RouteOptions = {
  direct: true,
  allInterfaces: true,
  verifiedOnly: false,
  wait: 0,
};
const proxy = { host: '127.0.0.1', port: 9050 };

test.each([
  ['nothing is said', {}, {}, true],
  ['direct is ruled out', {}, { direct: false }, false],
  ['there is a proxy of the user', { proxy }, {}, false],
  ['there is one, and direct is asked for', { proxy }, { route: 'direct' }, false],
  ['there is one, and ports are named', { proxy }, { ports: { first: 1, last: 9 } }, false],
] as const)('direct connections where %s', (_, settings, more, direct) => {
  const policy = policyOf(settings, { ...options, ...more });
  expect(policy.direct).toBe(direct);
  expect(policy.socks?.port).toBe('proxy' in settings ? 9050 : undefined);
});

test.each([
  ['without a proxy', {}, true],
  ['behind one', { proxy }, false],
] as const)('%s addresses of this machine are told or not', async (_, settings, told) => {
  const network = createNetwork({ clock: systemClock });
  const [alice, bob] = ['alice', 'bob'].map((name) => network.connect(`${name}@x.org/jet`));
  if (!alice || !bob) throw new Error('nobody');
  const policy = policyOf(settings, options);
  const sides = await pair(s5b, [alice, bob], systemClock, [policy, policy]);
  for (const said of [sides.offer, sides.answer]) expect(said.includes('<candidate ')).toBe(told);
  await Promise.all([sides.initiator.close(), sides.responder.close()]);
});
