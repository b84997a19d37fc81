/** Outgoing SOCKS5 connections to streamhosts (XEP-0065 1.8 §5.3.2), raced with a head start for the better. */
import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { messageOf } from '../../core/errors.ts';
import { sleep, within, type Clock } from '../../core/clock.ts';
import type { RoutePolicy } from '../../jingle/transport.ts';
import { isAllowed, kindOf } from './candidates.ts';
import type { Candidate } from './machine.ts';

/** Milliseconds for one streamhost, from the look-up to the end of the handshake. */
const ATTEMPT_TIME = 8_000;
/** Milliseconds that each candidate waits for the better ones to answer. */
const STAGGER = 200;
/** Milliseconds that proxies wait in addition, as long as there are direct candidates. */
const PROXY_DELAY = 1_000;

/** How connections leave this machine. */
export interface Dialling {
  readonly clock: Clock;
  readonly socks: RoutePolicy['socks'];
  /** Whether loopback addresses may be connected to. */
  readonly loopback: boolean;
}

/**
 * Connects to a streamhost and names the stream. The socket is half-open and paused.
 *
 * @throws Error when the host is not allowed, not reached or does not take the destination
 */
export async function dial(
  dialling: Dialling,
  streamhost: { readonly host: string; readonly port: number },
  destination: string,
  signal: AbortSignal,
): Promise<Socket> {
  const opened: Socket[] = [];
  const attempt = async (): Promise<Socket> => {
    const target = dialling.socks ?? {
      host: await resolve(streamhost.host, dialling.loopback),
      port: streamhost.port,
    };
    signal.throwIfAborted();
    const socket = await open(target, opened, signal);
    if (dialling.socks !== undefined) {
      const { username, password } = dialling.socks;
      await greet(socket, dialling.socks, streamhost, {
        ...(username === undefined ? {} : { userId: username }),
        ...(password === undefined ? {} : { password }),
      });
    }
    await greet(socket, streamhost, { host: destination, port: 0 }, {});
    await calm(socket);
    return socket;
  };
  const abandon = () => {
    for (const socket of opened) socket.destroy();
  };
  let giveUp = abandon;
  // At once, whatever the attempt waits for: a name, a connection, or the SOCKS client to be loaded.
  const givenUp = new Promise<never>((_, reject) => {
    giveUp = () => {
      abandon();
      reject(signal.reason as Error);
    };
  });
  signal.addEventListener('abort', giveUp, { once: true });
  try {
    signal.throwIfAborted();
    const late = () => new Error('no answer in time');
    const either = Promise.race([attempt(), givenUp]);
    const socket = await within(dialling.clock, ATTEMPT_TIME, either, late);
    signal.throwIfAborted();
    return socket;
  } catch (error) {
    abandon();
    throw error;
  } finally {
    signal.removeEventListener('abort', giveUp);
  }
}

/** A race of connections to the peer's candidates. */
export interface Race {
  /** The best candidate reached, undefined when none was. */
  readonly winner: Promise<{ candidate: Candidate; socket: Socket } | undefined>;
  /** Gives up the candidates that cannot be nominated any more. */
  narrow(keep: (candidate: Candidate) => boolean): void;
}

/**
 * Races the candidates, which come best first. The first to be reached wins. A proxy joins the two
 * connections that name the same stream (XEP-0065 §6.3): what leads to one proxy is tried in turn, lest both
 * be ours.
 */
export function race(
  dialling: Dialling,
  candidates: readonly Candidate[],
  destination: string,
  signal: AbortSignal,
  log: (line: string) => void,
): Race {
  const runners = new Map<Candidate, AbortController>();
  const direct = candidates.some((candidate) => kindOf(candidate) === 'direct');
  const abandon = () => {
    for (const own of runners.values()) own.abort(new Error('given up'));
  };
  const run = async (
    candidate: Candidate,
    index: number,
    own: AbortController,
    before: Promise<unknown> | undefined,
  ) => {
    const delay = direct && kindOf(candidate) === 'proxy' ? PROXY_DELAY : 0;
    const wait = index * STAGGER + delay;
    if (wait > 0) await sleep(dialling.clock, wait, own.signal);
    await before?.catch(() => undefined);
    const socket = await dial(dialling, candidate, destination, own.signal);
    // Before anything else runs: what waits for this one must not begin.
    abandon();
    return { candidate, socket };
  };
  const proxies = new Map<string, Promise<unknown>>();
  const attempts = candidates.map((candidate, index) => {
    const own = new AbortController();
    runners.set(candidate, own);
    const { jid } = candidate;
    const attempt = run(candidate, index, own, proxies.get(jid)).catch((error: unknown) => {
      log(`${candidate.host} port ${candidate.port}: ${messageOf(error)}`);
      throw error;
    });
    if (kindOf(candidate) === 'proxy') proxies.set(jid, attempt);
    return attempt;
  });
  if (signal.aborted) abandon();
  signal.addEventListener('abort', abandon, { once: true });
  const winner = Promise.any(attempts)
    .catch(() => undefined)
    .finally(() => signal.removeEventListener('abort', abandon));
  return {
    winner,
    narrow(keep) {
      for (const [candidate, own] of runners)
        if (!keep(candidate)) own.abort(new Error('cannot be nominated any more'));
    },
  };
}

/** An address of a host that may be connected to: names are judged by what they resolve to. */
async function resolve(host: string, loopback: boolean): Promise<string> {
  const addresses =
    isIP(host) === 0 ? (await lookup(host, { all: true })).map(({ address }) => address) : [host];
  const allowed = addresses.find((address) => isAllowed(address, loopback));
  if (allowed === undefined) throw new Error('no address that may be connected to');
  return allowed;
}

function open(
  target: { readonly host: string; readonly port: number },
  opened: Socket[],
  signal: AbortSignal,
): Promise<Socket> {
  return new Promise((fulfil, reject) => {
    const socket = connectTcp({
      host: target.host,
      port: target.port,
      allowHalfOpen: true,
      noDelay: true,
    });
    opened.push(socket);
    // Stays: an error between the handshake and the reader's own handler must not end the process.
    socket.on('error', reject);
    socket.once('close', () => reject(new Error('closed')));
    socket.once('connect', () => fulfil(socket));
    if (signal.aborted) socket.destroy();
  });
}

async function greet(
  socket: Socket,
  proxy: { readonly host: string; readonly port: number },
  destination: { readonly host: string; readonly port: number },
  credentials: { readonly userId?: string; readonly password?: string },
): Promise<void> {
  // As slow to load as the rest of this folder, and of no use to who only listens.
  const { SocksClient } = await import('../../xmpp/socks.ts');
  // It would wait for the end of a socket that has ended before.
  if (socket.destroyed || socket.readableEnded) throw new Error('closed');
  let hangUp = () => {};
  const hungUp = new Promise<never>((_, reject) => {
    hangUp = () => reject(new Error('closed'));
  });
  // Half-open as it is, the socket does not close by the end of the other half.
  socket.once('end', hangUp);
  try {
    const greeted = SocksClient.createConnection({
      command: 'connect',
      proxy: { host: proxy.host, port: proxy.port, type: 5, ...credentials },
      destination,
      existing_socket: socket,
      timeout: ATTEMPT_TIME,
    });
    await Promise.race([greeted, hungUp]);
  } finally {
    socket.off('end', hangUp);
  }
}

/**
 * Pauses a socket that the SOCKS client sets flowing one turn after its handshake, and puts back
 * what came meanwhile, so that no byte is lost before there is a reader.
 */
function calm(socket: Socket): Promise<void> {
  const early: Buffer[] = [];
  const collect = (chunk: Buffer) => early.push(chunk);
  socket.on('data', collect);
  return new Promise((fulfil, reject) => {
    setImmediate(() => {
      socket.pause();
      socket.off('data', collect);
      if (socket.readableEnded || socket.destroyed) {
        reject(new Error('closed after the handshake'));
        return;
      }
      if (early.length > 0) socket.unshift(Buffer.concat(early));
      fulfil();
    });
  });
}
