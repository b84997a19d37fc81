/** No key and IV encrypts twice (XEP-0391 §4.3), however often a transfer is interrupted. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { JetProcess } from '../support/jet.ts';
import { freshPairs } from '../support/fresh-pairs.ts';
import { ended, linesOf, noise, type Pair } from '../support/pair.ts';
import { terminate } from '../support/people.ts';
import { hasProsody } from '../support/prosody.ts';

const PRELOAD = new URL('../support/ciphers.mjs', import.meta.url).href;
const INTERRUPTIONS = 20;
const SIZE = 24_000_000;

describe.skipIf(!(await hasProsody()))('keys and IVs', () => {
  let pair: Pair;
  let log: string;
  let env: Record<string, string>;
  let content: Buffer;

  freshPairs((made) => {
    pair = made;
    log = join(pair.alice.home, 'ciphers.log');
    env = { NODE_OPTIONS: `--import=${PRELOAD}`, CIPHERS_FILE: log };
    content = noise(SIZE);
  });

  /** What encrypted, in both processes of every session: one line each. */
  const used = async () => (await readFile(log, 'utf8')).trim().split('\n');

  async function receives(args: readonly string[] = []): Promise<JetProcess> {
    const line = ['receive', '--yes', '--json', '--out', pair.out, ...args];
    const process = pair.bob.start(line, { env });
    await process.said(/"event":"waiting"/);
    return process;
  }

  /** Bytes have flowed in a process's `n`th session. */
  const flows = (process: JetProcess, n: number) =>
    process.until(() => {
      let starts = 0;
      for (const { event, bytes, resumed_from: from } of linesOf(process.stdout)) {
        if (event === 'start') starts++;
        if (event === 'progress' && starts === n && Number(bytes) > Number(from ?? 0)) return true;
      }
      return false;
    }, `bytes of session ${n}`);

  test(`of ${INTERRUPTIONS} interruptions are all used once`, { timeout: 900_000 }, async () => {
    const file = await pair.file('big.bin', content);
    const slow = ['--limit-rate', '2M', '--wait', '60'];
    const resume = () => pair.alice.start(['resume', '--json', ...slow], { env });
    let receiver = await receives();
    let sender = pair.alice.start(['send', '--json', ...slow, file, pair.bob.jid], { env });
    let session = 1;
    for (let n = 0; n < INTERRUPTIONS; n++) {
      await flows(sender, session);
      if (n % 2 === 0) {
        sender.child.kill('SIGKILL');
        await sender.ended;
        sender = resume();
        session = 1;
      } else {
        receiver.child.kill('SIGKILL');
        await receiver.ended;
        receiver = await receives();
        session++;
      }
    }
    expect(await ended(sender)).toMatchObject({ status: 0 });
    expect(await terminate(receiver)).toBe(0);
    expect((await readFile(join(pair.out, 'big.bin'))).equals(content)).toBe(true);
    const lines = await used();
    // Each session has a stream, and a sealed element of either side at least.
    expect(lines.length).toBeGreaterThan(3 * INTERRUPTIONS);
    const streams = lines.filter((line) => line.startsWith('aes-128-gcm'));
    expect(streams.length).toBeGreaterThan(INTERRUPTIONS);
    expect(new Set(lines).size).toBe(lines.length);
  });
});
