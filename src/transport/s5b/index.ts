/** SOCKS5 bytestreams as a Jingle transport (XEP-0260 1.0): direct and through a proxy. */
import type { Clock } from '../../core/clock.ts';
import type { RoutePolicy, TransportMethod } from '../../jingle/transport.ts';
import type { Store } from '../../store/store.ts';
import { Listener } from './listener.ts';
import { SocksNegotiation, type ListenerLease } from './negotiation.ts';
import { Proxies } from './proxies.ts';
import { S5B } from './stanza.ts';

/**
 * The SOCKS5 transport. Its negotiations share one listener for each range of ports.
 *
 * @param store - with the tables of `s5bSchema`: there proxies are remembered across processes
 */
export function s5b(store?: Store): TransportMethod {
  const proxies = new Proxies(store);
  const shared = new Map<string, { opening: Promise<Listener>; users: number }>();
  const lease = (clock: Clock, ports: RoutePolicy['ports']): ListenerLease => {
    const key = ports === undefined ? 'any' : `${ports.first}-${ports.last}`;
    return async () => {
      const entry = shared.get(key) ?? { opening: Listener.open(clock, ports), users: 0 };
      shared.set(key, entry);
      entry.users++;
      const leave = () => {
        if (--entry.users > 0) return;
        if (shared.get(key) === entry) shared.delete(key);
        entry.opening.then(
          (listener) => listener.close(),
          () => undefined,
        );
      };
      try {
        return { listener: await entry.opening, release: leave };
      } catch (error) {
        leave();
        throw error;
      }
    };
  };
  return {
    namespace: S5B,
    features: [S5B],
    usable: ({ kinds, direct, socks }) =>
      kinds.has('proxy') || (kinds.has('direct') && (direct || socks !== undefined)),
    refusable: true,
    prepare: async ({ connection, policy, clock }) => {
      if (policy.kinds.has('proxy')) await proxies.find(connection, clock);
    },
    negotiate: (context, sid) =>
      new SocksNegotiation(context, sid, lease(context.clock, context.policy.ports), proxies),
  };
}
