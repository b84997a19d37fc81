/** In-band: jet beside the simplest way, one stanza at a time, over the same path. */
import { randomBytes } from 'node:crypto';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { xml } from '@xmpp/xml';
import { systemClock } from '../../../src/core/clock.ts';
import { Jid } from '../../../src/core/jid.ts';
import { connect } from '../../../src/xmpp/connect.ts';
import type { Connection } from '../../../src/xmpp/connection.ts';
import { makeCouple, transfer, type Couple } from '../contestants/jet.ts';
import type { Stage } from '../contestant.ts';
import { makeFile, sameBytes } from '../files.ts';
import { Path } from '../path.ts';
import { figure, rateOf, type Check } from '../results.ts';

/** Milliseconds both ways together. */
const RTT = 50;
const BYTES = 4_000_000;
const BLOCK = 16_384;
const STANZAS = 40;
const IBB = 'http://jabber.org/protocol/ibb';

function online({ server }: Stage, name: string, port: number): Promise<Connection> {
  return readFile(server.caFile).then((ca) =>
    connect({
      jid: Jid.parse(`${name}@${server.domain}`) as Jid,
      password: () => Promise.resolve('secret'),
      clock: systemClock,
      signal: new AbortController().signal,
      server: { host: '127.0.0.1', port, tls: false },
      ca,
    }),
  );
}

/** MB/s of one block after another, each sent when the last one was acknowledged. */
async function oneAtATime(stage: Stage, path: Path): Promise<number> {
  for (const name of ['single0', 'single1']) await stage.server.addAccount(name, 'secret');
  const near = await online(stage, 'single1', stage.server.port);
  const far = await online(stage, 'single0', await path.through(stage.server.port));
  try {
    near.audience = () => true;
    near.onIq(IBB, 'data', () => undefined);
    const block = randomBytes(BLOCK).toString('base64');
    const began = performance.now();
    for (let seq = 0; seq < STANZAS; seq++)
      await far.iq(near.jid, 'set', xml('data', { xmlns: IBB, sid: 's', seq: String(seq) }, block));
    return rateOf(STANZAS * BLOCK, performance.now() - began);
  } finally {
    await far.close();
    await near.close();
  }
}

async function jetRate(stage: Stage, couple: Couple, path: Path, count: number): Promise<number> {
  const file = join(stage.folder, `inband-${count}.bin`);
  const out = join(stage.folder, `inband-${count}`);
  await mkdir(out);
  await makeFile(file, BYTES);
  const { run, landed } = await transfer(stage, couple, [file], out, {
    path,
    send: ['--route', 'ibb'],
  });
  await sameBytes(file, landed);
  return rateOf(BYTES, run.data ?? run.wall);
}

/** @see Check */
export async function inBand(stage: Stage): Promise<Check[]> {
  const path = new Path({ rtt: RTT });
  const couple = await makeCouple(stage);
  try {
    const single = await oneAtATime(stage, path);
    const rates = [await jetRate(stage, couple, path, 0), await jetRate(stage, couple, path, 1)];
    return [
      {
        title: `In-band at ${RTT} ms round trip : one stanza at a time`,
        figure: figure(rates.map((rate) => rate / single)),
        unit: '×',
        target: { at: 'least', value: 5 },
        note: `${figure(rates).median.toFixed(2)} MB/s and ${single.toFixed(2)} MB/s, blocks of ${BLOCK} bytes`,
      },
    ];
  } finally {
    await path.close();
    await couple.alice.remove();
    await couple.bob.remove();
  }
}
