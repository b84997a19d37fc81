/** Where the server of a domain is: SRV records (RFC 6120 §3.2, RFC 2782; XEP-0368 v1.1 for direct TLS). */
import { Resolver } from 'node:dns/promises';
import type { SrvRecord } from 'node:dns';
import { domainToASCII } from 'node:url';
import { randomInt } from '../core/bytes.ts';

/** A place to connect to; `tls` means TLS from the first byte, otherwise STARTTLS. */
export interface Target {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** Looks up SRV records; rejects when there are none or the look-up failed. */
export type LookUp = (name: string) => Promise<readonly SrvRecord[]>;

const MOST_TARGETS = 16;

const systemLookUp: LookUp = (name) => new Resolver({ timeout: 3000, tries: 2 }).resolveSrv(name);

/** The places without SRV: the domain itself (RFC 6120 §3.2.2), for STARTTLS. */
export function fallbackTargets(domain: string): Target[] {
  return [{ host: asciiHost(domain), port: 5222, tls: false }];
}

/** The name in the form for DNS and TLS; brackets of an IPv6 address removed. */
export function asciiHost(domain: string): string {
  if (domain.startsWith('[')) return domain.slice(1, -1);
  return domainToASCII(domain);
}

/**
 * The places to try, in order.
 *
 * @returns an empty list when the domain states to have no such service (target `.`)
 */
export async function resolveTargets(
  domain: string,
  lookUp: LookUp = systemLookUp,
  random: (min: number, max: number) => number = randomInt,
): Promise<Target[]> {
  const name = asciiHost(domain);
  if (/^[0-9.]+$/.test(name) || name.includes(':') || !name.includes('.'))
    return fallbackTargets(domain);
  const [direct, plain] = await Promise.all([
    lookUp(`_xmpps-client._tcp.${name}`).catch(() => []),
    lookUp(`_xmpp-client._tcp.${name}`).catch(() => []),
  ]);
  const records = [
    ...direct.map((record) => ({ ...record, tls: true })),
    ...plain.map((record) => ({ ...record, tls: false })),
  ];
  if (records.length === 0) return fallbackTargets(domain);
  return orderRecords(
    records.filter((record) => record.name !== '' && record.name !== '.'),
    random,
  )
    .slice(0, MOST_TARGETS)
    .map(({ name: host, port, tls }) => ({ host, port, tls }));
}

/** Orders by priority, and within one by lot, weights being the chances (RFC 2782). */
export function orderRecords<T extends { readonly priority: number; readonly weight: number }>(
  records: readonly T[],
  random: (min: number, max: number) => number,
): T[] {
  const ordered: T[] = [];
  const priorities = [...new Set(records.map((record) => record.priority))].sort((a, b) => a - b);
  for (const priority of priorities) {
    const left = records.filter((record) => record.priority === priority);
    // Those of weight 0 go first in the list, so that they have a small chance and no more.
    left.sort((a, b) => Number(a.weight > 0) - Number(b.weight > 0));
    while (left.length > 0) {
      const lot = random(
        0,
        left.reduce((sum, record) => sum + record.weight, 0),
      );
      let sum = 0;
      const index = left.findIndex((record) => (sum += record.weight) >= lot);
      ordered.push(...left.splice(Math.max(index, 0), 1));
    }
  }
  return ordered;
}
