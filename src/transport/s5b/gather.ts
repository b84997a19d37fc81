/** What this side offers: the listener's addresses and our server's proxies (XEP-0260 1.0 §2.2). */
import { networkInterfaces } from 'node:os';
import { randomId } from '../../core/bytes.ts';
import type { TransportContext } from '../../jingle/transport.ts';
import { isAllowed, localAddresses, plainAddress, priority } from './candidates.ts';
import type { Candidate } from './machine.ts';
import type { Proxies } from './proxies.ts';

/**
 * Our candidates, best first, as the policy allows.
 *
 * @param port - the listener's, undefined without one
 */
export async function ourCandidates(
  { connection, policy, self, clock }: TransportContext,
  port: number | undefined,
  proxies: Proxies,
): Promise<readonly Candidate[]> {
  const { loopback, localAddress } = connection;
  const candidates: Candidate[] = [];
  const add = (type: Candidate['type'], host: string, at: number, jid: string) => {
    const rank = priority(type, 0xffff - candidates.length);
    candidates.push({ cid: randomId(), host, port: at, jid, priority: rank, type });
  };
  if (port !== undefined)
    for (const address of localAddresses(networkInterfaces(), policy, loopback, localAddress))
      add('direct', address, port, self.toString());
  if (policy.kinds.has('proxy'))
    for (const { jid, host, port: at } of await proxies.find(connection, clock))
      if (plainAddress(host) === undefined || isAllowed(host, loopback))
        add('proxy', host, at, jid.toString());
  return candidates;
}

/** Those of the candidates that lead to other places than all of `others` do. */
export function without(
  candidates: readonly Candidate[],
  others: readonly Candidate[],
): readonly Candidate[] {
  const taken = new Set(others.map(placeOf));
  return candidates.filter((candidate) => !taken.has(placeOf(candidate)));
}

function placeOf({ host, port }: Candidate): string {
  return `${plainAddress(host) ?? host.toLowerCase()} ${port}`;
}
