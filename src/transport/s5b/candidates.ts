/** Which addresses are offered and tried (XEP-0260 1.0 §2.2), and with what priority. */
import { BlockList, isIP } from 'node:net';
import type { NetworkInterfaceInfo } from 'node:os';
import type { RoutePolicy } from '../../jingle/transport.ts';
import type { Candidate } from './machine.ts';

/** The most direct candidates that are offered. */
export const MAX_OFFERED = 12;
/** The most candidates of the peer's that are tried. */
export const MAX_TRIED = 24;

/** Type preferences of XEP-0260 §2.2. */
const PREFERENCE = { direct: 126, assisted: 120, tunnel: 110, proxy: 10 } as const;
const BRIDGE = /^(?:docker|br-|veth|virbr|cni|lxc|lxd|podman|flannel|cali)/;

const never = new BlockList();
never.addSubnet('0.0.0.0', 8);
never.addSubnet('169.254.0.0', 16);
never.addSubnet('224.0.0.0', 3);
never.addAddress('::', 'ipv6');
never.addSubnet('fe80::', 10, 'ipv6');
never.addSubnet('ff00::', 8, 'ipv6');
const loopbacks = new BlockList();
loopbacks.addSubnet('127.0.0.0', 8);
loopbacks.addAddress('::1', 'ipv6');

/** Priority of a candidate: 2^16 × type preference + `local`, which is in [0, 65535]. */
export function priority(type: Candidate['type'], local: number): number {
  return PREFERENCE[type] * 0x1_0000 + local;
}

/** An address without zone and without the IPv4-in-IPv6 form; undefined when it is no address. */
export function plainAddress(text: string): string | undefined {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1];
  const address = mapped ?? text;
  return address.includes('%') || isIP(address) === 0 ? undefined : address.toLowerCase();
}

/** Whether an address may be offered or connected to at all. `loopback`: loopback addresses, too. */
export function isAllowed(address: string, loopback: boolean): boolean {
  const plain = plainAddress(address);
  if (plain === undefined) return false;
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4';
  return !never.check(plain, family) && (loopback || !loopbacks.check(plain, family));
}

/** The addresses to offer, best first: the one the stream uses, then IPv4 and IPv6, loopback last. */
export function localAddresses(
  interfaces: Readonly<Record<string, readonly NetworkInterfaceInfo[] | undefined>>,
  policy: Pick<RoutePolicy, 'allInterfaces'>,
  loopback: boolean,
  preferred?: string,
): string[] {
  const found = new Map<string, number>();
  const first = preferred === undefined ? undefined : plainAddress(preferred);
  for (const [name, infos] of Object.entries(interfaces)) {
    if (BRIDGE.test(name) && !policy.allInterfaces) continue;
    for (const info of infos ?? []) {
      const address = plainAddress(info.address);
      if (address === undefined || !isAllowed(address, loopback)) continue;
      const rank = address === first ? 0 : info.internal ? 3 : info.family === 'IPv4' ? 1 : 2;
      found.set(address, Math.min(rank, found.get(address) ?? rank));
    }
  }
  return [...found]
    .sort((a, b) => a[1] - b[1])
    .slice(0, MAX_OFFERED)
    .map(([address]) => address);
}

/** The kind of route that a candidate makes. */
export function kindOf(candidate: Candidate): 'direct' | 'proxy' {
  return candidate.type === 'proxy' ? 'proxy' : 'direct';
}

/**
 * The peer's candidates that the policy lets us connect to, best first.
 *
 * @remarks Names are judged once they are resolved; through the user's proxy they are not resolved here.
 * @param proxies - our own server's: what a side that goes nowhere directly may still use
 */
export function worthTrying(
  candidates: readonly Candidate[],
  policy: RoutePolicy,
  loopback: boolean,
  proxies: readonly Candidate[] = [],
): Candidate[] {
  const anywhere = policy.direct || policy.socks !== undefined;
  const own = (candidate: Candidate) =>
    proxies.some(({ host, port }) => host === candidate.host && port === candidate.port);
  return candidates
    .filter((candidate) => anywhere || (kindOf(candidate) === 'proxy' && own(candidate)))
    .filter((candidate) => policy.kinds.has(kindOf(candidate)))
    .filter(({ host }) => isIP(host) === 0 || isAllowed(host, loopback))
    .filter(({ host }) => loopback || !/(?:^|\.)localhost\.?$/i.test(host))
    .sort((a, b) => b.priority - a.priority)
    .slice(0, MAX_TRIED);
}
