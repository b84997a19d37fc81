/** The limits of the machine, measured in the same run as those who are held against them. */
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { xml } from '@xmpp/xml';
import { systemClock } from '../../src/core/clock.ts';
import { Jid } from '../../src/core/jid.ts';
import { connect } from '../../src/xmpp/connect.ts';
import type { Stage } from './contestant.ts';
import { Running, runs, succeeded } from './processes.ts';
import { figure, type Limit } from './results.ts';

const SCRIPT = fileURLToPath(new URL('./limit.mjs', import.meta.url));
const limit = (...words: (string | number)[]) => [process.execPath, SCRIPT, ...words.map(String)];

const rateOf = (stdout: string) => Number(/"rate":([\d.]+)/.exec(stdout)?.[1]);

/** A limit that is measured again in each round. */
interface Measure {
  readonly name: string;
  readonly title: string;
  readonly once: (bytes: number) => Promise<number>;
}

async function tcp(bytes: number): Promise<number> {
  const sink = new Running(limit('sink', bytes));
  const [, port] = await sink.said(/"port":(\d+)/);
  await runs(limit('source', bytes, port ?? ''));
  return rateOf(succeeded('sink', await sink.ended).stdout);
}

const BYTESTREAMS = 'http://jabber.org/protocol/bytestreams';

/** Bytes through the server's proxy, without anything else on either side (XEP-0065 §5). */
async function proxyMeasure({ server }: Stage): Promise<(bytes: number) => Promise<number>> {
  await server.addAccount('relayed', 'secret');
  return async (bytes) => {
    const connection = await connect({
      jid: Jid.parse(`relayed@${server.domain}`) as Jid,
      password: () => Promise.resolve('secret'),
      clock: systemClock,
      signal: new AbortController().signal,
      server: { host: '127.0.0.1', port: server.port, tls: false },
      ca: await readFile(server.caFile),
    });
    try {
      const target = `other@${server.domain}/here`;
      const sid = randomUUID();
      const dstaddr = createHash('sha1')
        .update(`${sid}${connection.jid.toString()}${target}`)
        .digest('hex');
      const sink = new Running(limit('sink', bytes, server.proxyPort, dstaddr));
      const command = limit('source', bytes, server.proxyPort, dstaddr);
      await sink.said(/ready/);
      const source = new Running(command, { stdio: ['pipe', 'pipe', 'pipe'] });
      await source.said(/ready/);
      const activate = xml('query', { xmlns: BYTESTREAMS, sid }, xml('activate', {}, target));
      await connection.iq(Jid.parse(`proxy.${server.domain}`) as Jid, 'set', activate);
      source.child.stdin?.write('go\n');
      const [ended] = await Promise.all([sink.ended, source.ended]);
      return rateOf(succeeded('proxied sink', ended).stdout);
    } finally {
      await connection.close();
    }
  };
}

/** Measures every limit as often as asked, in turns. */
export async function limits(stage: Stage, bytes: number, times: number): Promise<Limit[]> {
  const alone = (what: string) => async (size: number) =>
    rateOf((await runs(limit(what, size, join(stage.folder, 'limit.bin')))).stdout);
  const proxy = await proxyMeasure(stage);
  const measures: readonly Measure[] = [
    { name: 'tcp', title: 'loopback TCP, nothing else', once: tcp },
    { name: 'gcm', title: 'AES-128-GCM on one core', once: alone('gcm') },
    { name: 'sha256', title: 'SHA-256 on one core', once: alone('sha256') },
    { name: 'disk', title: 'writing to the disk', once: alone('disk') },
    {
      name: 'proxy',
      title: 'TCP through the same proxy65',
      once: (size) => proxy(Math.min(size, 2e8)),
    },
  ];
  const seen = measures.map(() => [] as number[]);
  for (let round = 0; round < times; round++)
    for (const [i, { once }] of measures.entries()) seen[i]?.push(await once(bytes));
  return measures.map(({ name, title }, i) => ({ name, title, rate: figure(seen[i] ?? []) }));
}
