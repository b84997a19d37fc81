/**
 * Two hosts that no network joins (Linux, as root): namespaces of their own, each with a cable to this one
 * alone. Nothing is forwarded and there is no default route: what is not named here cannot be reached.
 */
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';

/** One host. */
export interface Host {
  /** Put before a command, it runs there. */
  readonly prefix: readonly string[];
  /** The address of its cable to us. */
  readonly address: string;
}

/** Both hosts. */
export interface Hosts {
  readonly a: Host;
  readonly b: Host;
  /** An address of ours that both reach: the place of the server. */
  readonly hub: string;
  /**
   * A second cable, from the one to the other, that is a way for connections of `a` only: what `a` shows of
   * its addresses stays out of the other's reach, as behind a router that translates addresses.
   *
   * @returns the address of `b` that `a` now reaches, and the one that `b` sees `a` come from
   */
  open(): { readonly to: string; readonly from: string };
  remove(): void;
}

const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe', encoding: 'utf8' });

/** Whether this process may make namespaces. */
export function canIsolate(): boolean {
  try {
    const hosts = makeHosts();
    hosts.remove();
    return true;
  } catch {
    return false;
  }
}

/** Makes the hosts. @throws where that is not possible; nothing is left then */
export function makeHosts(): Hosts {
  const id = randomBytes(3).toString('hex');
  const net = freeNet();
  const hub = `${net}.0.1`;
  const names = { a: `jet-${id}-a`, b: `jet-${id}-b` };
  const inside = (side: 'a' | 'b', ...args: string[]) => ip('-n', names[side], ...args);
  const remove = () => {
    // Cables go with the namespaces at their ends.
    for (const name of Object.values(names)) attempt(() => ip('netns', 'delete', name));
    for (const side of ['a', 'b']) attempt(() => ip('link', 'delete', `j${id}${side}`));
  };
  try {
    for (const [side, part] of [
      ['a', 1],
      ['b', 2],
    ] as const) {
      const [cable, far] = [`j${id}${side}`, `j${id}${side}x`];
      ip('netns', 'add', names[side]);
      ip('link', 'add', cable, 'type', 'veth', 'peer', 'name', far, 'netns', names[side]);
      ip('addr', 'add', `${hub}/32`, 'dev', cable);
      ip('link', 'set', cable, 'up');
      ip('route', 'add', `${net}.${part}.2/32`, 'dev', cable);
      inside(side, 'link', 'set', 'lo', 'up');
      inside(side, 'addr', 'add', `${net}.${part}.2/32`, 'dev', far);
      inside(side, 'link', 'set', far, 'up');
      inside(side, 'route', 'add', `${hub}/32`, 'dev', far);
    }
  } catch (error) {
    remove();
    throw error;
  }
  const host = (side: 'a' | 'b', part: number): Host => ({
    prefix: ['ip', 'netns', 'exec', names[side]],
    address: `${net}.${part}.2`,
  });
  return {
    ...{ a: host('a', 1), b: host('b', 2), hub, remove },
    open() {
      const [to, from] = [`${net}.4.2`, `${net}.9.9`];
      const [near, far] = [`j${id}n`, `j${id}f`];
      inside('a', 'link', 'add', near, 'type', 'veth', 'peer', 'name', far, 'netns', names.b);
      // On the loopback interface: it is nothing that a program would show to others.
      inside('a', 'addr', 'add', `${from}/32`, 'dev', 'lo');
      inside('b', 'addr', 'add', `${to}/32`, 'dev', far);
      inside('a', 'link', 'set', near, 'up');
      inside('b', 'link', 'set', far, 'up');
      inside('a', 'route', 'add', `${to}/32`, 'dev', near, 'src', from);
      inside('b', 'route', 'add', `${from}/32`, 'dev', far);
      return { to, from };
    },
  };
}

/** The first two numbers of a private network that nothing here uses. */
function freeNet(): string {
  const taken = ip('-o', 'addr') + ip('route');
  for (;;) {
    const net = `10.${100 + ((randomBytes(1)[0] ?? 0) % 150)}`;
    if (!taken.includes(` ${net}.`)) return net;
  }
}

function attempt(action: () => unknown): void {
  try {
    action();
  } catch {
    // It is gone already.
  }
}
