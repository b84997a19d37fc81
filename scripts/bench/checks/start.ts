/** The time before the first byte: start-up, a small file, and the round trips one after another. */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RewritingRelay } from '../../../test/support/rewriting-relay.ts';
import { makeCouple, startJet, transfer, type Couple } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { makeFile } from '../files.ts';
import { Path } from '../path.ts';
import { runs, succeeded } from '../processes.ts';
import { figure, ratio, type Check, type Trip } from '../results.ts';
import { SMALL } from '../tables.ts';

/** Milliseconds of a round trip of the counts. */
const RTT = 200;
/** What is asked later than this after the first of a round trip belongs to the next one. */
const GAP_MS = RTT / 2;

/** `jet --version` beside `node -e 0`. */
async function version({ program }: Stage, times: number): Promise<Check> {
  const [mine, bare]: [number[], number[]] = [[], []];
  for (let i = 0; i < times; i++) {
    const one = await runs([program.bin, '--version']);
    const other = await runs([process.execPath, '-e', '0']);
    mine.push(one.ended - one.began);
    bare.push(other.ended - other.began);
  }
  return {
    title: '`jet --version` : `node -e 0`',
    figure: ratio(mine, bare),
    unit: '×',
    target: { at: 'most', value: 2.5 },
    note: `wall time, ${figure(mine).median.toFixed(0)} ms and ${figure(bare).median.toFixed(0)} ms`,
  };
}

/** What the stanzas before the first byte are for. */
const PURPOSES: readonly (readonly [RegExp, string])[] = [
  [/^enable/, 'acknowledgements, so that nothing is lost unseen (XEP-0198)'],
  [/jabber:iq:roster/, 'who is a contact'],
  [/^presence/, 'to be told which resources of the peer are online'],
  [/devicelist of the peer/, 'whether the devices that are kept are still all of the peer’s'],
  [/devicelist/, 'whether this device still is in our list'],
  [/bundles/, 'whether our bundle still is the one that was published'],
  [/^iq get .*:state:\d+:\d+$/, 'whether our keys are the newest, and no backup of them'],
  [
    /^iq set .*:state:\d+:\d+$/,
    'the mark of the next state of our keys, before the envelope leaves',
  ],
  [/^iq set .*:state:/, 'taking the mark of the last state: one process makes or deletes its node'],
  [/ping to the peer/, 'whether the resource that is online answers'],
  [/disco#info/, 'what it can do, by its verified hash (XEP-0115)'],
  [/session-initiate/, 'the offer, with envelope and candidates (XEP-0234, XEP-0391)'],
  [/transport-info/, 'which candidate works (XEP-0260)'],
  [/ to a service/, 'which proxies there are (XEP-0065)'],
];

function purposeOf(what: string): string {
  const purpose = PURPOSES.find(([of]) => of.test(what))?.[1];
  return purpose === undefined ? '' : ` (${purpose})`;
}

/** Whom a stanza is for, where that is neither our own account nor the server. */
function whose(to: string, peer: string): string | undefined {
  const [bare, resource] = to.split('/');
  if (bare === peer) return resource === undefined ? 'of the peer' : 'to the peer';
  return to !== '' && !to.includes('@') && to !== peer.split('@')[1] ? 'to a service' : undefined;
}

/** Which stanzas of the sender go out together, until its first byte. */
async function trace(stage: Stage, couple: Couple, file: string, out: string): Promise<Trip[]> {
  const relay = await RewritingRelay.start(stage.server);
  const path = new Path({ rtt: RTT });
  const port = Number(relay.at.split(':').at(-1));
  const asked: { readonly at: number; readonly what: string }[] = [];
  const account = couple.alice.jid.split('@')[0];
  const began = performance.now();
  relay.rewrite = (stanza, way) => {
    const asks = ['iq', 'presence', 'message', 'enable'].includes(stanza.name);
    if (
      asks &&
      way.direction === 'up' &&
      way.account === account &&
      stanza.attrs['type'] !== 'result'
    ) {
      const child = stanza.getChildElements()[0];
      const inner = child?.getChildElements()[0];
      const node = inner?.attrs['node'] ?? child?.attrs['node'];
      const words = [
        stanza.name,
        stanza.attrs['type'],
        child?.name === 'query' ? child.attrs['xmlns'] : child?.name,
        node ?? child?.attrs['action'],
        whose(stanza.attrs['to'] ?? '', couple.bob.jid),
      ];
      const what = words.filter((word) => typeof word === 'string').join(' ');
      asked.push({ at: performance.now(), what: `${what}${purposeOf(what)}` });
    }
    return stanza;
  };
  try {
    const receiver = startJet(
      stage,
      couple.bob,
      ['receive', '--yes', '--once', '--json', '--out', out],
      { JET_PROXY: `socks5://127.0.0.1:${await path.socks(stage.server.port)}` },
    );
    await receiver.said(/"event":"waiting".*offers/);
    const started = performance.now() - began;
    const sender = startJet(stage, couple.alice, ['send', '--json', file, couple.bob.jid], {
      JET_SERVER: `tls://127.0.0.1:${await path.through(port)}`,
    });
    const first = await sender.said(/"event":"start"/).then(() => performance.now());
    succeeded('jet send', await sender.ended);
    succeeded('jet receive', await receiver.ended);
    const trips: { at: number; asks: string[] }[] = [];
    for (const { at, what } of asked) {
      if (at > first) break;
      const last = trips.at(-1);
      const since = at - began - started;
      if (last !== undefined && since - last.at < GAP_MS) {
        if (!last.asks.includes(what)) last.asks.push(what);
      } else trips.push({ at: since, asks: [what] });
    }
    const online = trips[0]?.at ?? 0;
    const login = 'process start, TCP, TLS, stream, login and binding';
    return [
      { at: 0, asks: [`${login}: ${(online / RTT).toFixed(1)} round trips`] },
      ...trips,
      { at: first - began - started, asks: ['the first byte'] },
    ];
  } finally {
    await path.close();
    await relay.stop();
  }
}

/** All of it. The accounts know each other already when the round trips are counted. */
export async function startChecks(
  stage: Stage,
  quick: boolean,
): Promise<{ checks: Check[]; trips: Trip[] }> {
  const checks = [await version(stage, quick ? 7 : 15)];
  const couple = await makeCouple(stage);
  const file = join(stage.folder, 'small.bin');
  await makeFile(file, SMALL);
  let count = 0;
  const send = async (rtt: number) => {
    const out = join(stage.folder, `start-${count++}`);
    await mkdir(out);
    const path = new Path({ rtt });
    const { run } = await transfer(stage, couple, [file], out, { path });
    await path.close();
    return run;
  };
  await send(0);
  const near = [];
  const far = [];
  for (let i = 0; i < (quick ? 2 : 5); i++) {
    near.push(await send(0));
    far.push(await send(RTT));
  }
  const first = near.map((run) => run.first ?? NaN);
  checks.push({
    title: 'A file of 1 KiB, from the start to the end',
    figure: figure(near.map(({ wall }) => wall)),
    unit: 'ms',
    target: { at: 'most', value: 700 },
    note: 'wall time on loopback, the start of the process included; established accounts',
  });
  checks.push({
    title: 'Sequential round trips to the first byte',
    figure: figure(far.map((run, i) => ((run.first ?? NaN) - (first[i] ?? NaN)) / RTT)),
    unit: '',
    target: { at: 'most', value: 16 },
    note: 'what 100 ms each way between the sender and everything else add, in round trips',
  });
  const out = join(stage.folder, 'start-trace');
  await mkdir(out);
  const trips = await trace(stage, couple, file, out);
  await couple.alice.remove();
  await couple.bob.remove();
  return { checks, trips };
}
