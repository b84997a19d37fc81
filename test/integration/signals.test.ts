/** Every signal, and a reader that goes away. */
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { jetHome, JetProcess, type JetHome } from '../support/jet.ts';
import { startProsody, type Prosody } from '../support/prosody.ts';
import { hasScript, inTerminal } from '../support/terminal.ts';

let server: Prosody;
let folder: string;
let alice: JetHome;
let bob: JetHome;
let file: string;

beforeAll(async () => {
  server = await startProsody();
  folder = await mkdtemp(join(tmpdir(), 'jet-signals-'));
  await server.addAccount('alice', 'pw-alice');
  await server.addAccount('bob', 'pw-bob');
  await server.befriend('alice', 'bob');
  alice = await jetHome(server, 'alice', 'pw-alice');
  bob = await jetHome(server, 'bob', 'pw-bob');
  file = join(folder, 'large.bin');
  await writeFile(file, randomBytes(20_000_000));
});

afterAll(async () => {
  await alice.remove();
  await bob.remove();
  await rm(folder, { recursive: true, force: true });
  await server.stop();
});

let folders = 0;

/** A transfer that would take ten seconds, both sides with bytes on their way. */
async function underWay() {
  folders += 1;
  const out = join(folder, `out-${folders}`);
  await mkdir(out);
  const receive = bob.start(['receive', '--json', '--yes', '--once', '--wait', '15', '--out', out]);
  const send = alice.start(['send', '--json', '--limit-rate', '2M', file, bob.jid]);
  await Promise.all([receive.said(/"progress"/), send.said(/"progress"/)]);
  return { receive, send, out };
}

const kill = (pid: number, signal: NodeJS.Signals) => process.kill(pid, signal);
const childrenOf = (pid: number) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number);
/** The letter of proc(5): `T` for what is stopped. */
const stateOf = (pid: number) =>
  readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.charAt(0);

/** The last event of a kind. */
function last(stdout: string, event: string): unknown {
  const lines = stdout.split('\n').filter((line) => line.includes(`"event":"${event}"`));
  return JSON.parse(lines.at(-1) ?? 'null');
}

describe('during a transfer', () => {
  test.for(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s to the sender', async (signal) => {
    const { receive, send, out } = await underWay();
    send.child.kill(signal);
    const sent = await send.ended;
    const received = await receive.ended;
    // The signal is raised again, so that a shell's loop stops.
    expect(sent).toMatchObject({ status: null, signal });
    expect(sent.stderr).toMatch(/jet: Cancelled: bob@jet\.test did not get large\.bin\..*\n$/);
    expect(last(sent.stdout, 'end')).toMatchObject({ status: 'interrupted' });
    expect(received).toMatchObject({ status: 7, signal: null });
    expect(received.stderr).toMatch(/the other side cancelled the transfer\.\n$/);
    expect(await readdir(out)).toEqual(['large.bin.jet-part']);
  });

  test.for(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('%s to the receiver', async (signal) => {
    const { receive, send, out } = await underWay();
    receive.child.kill(signal);
    const received = await receive.ended;
    const sent = await send.ended;
    expect(received).toMatchObject({ status: null, signal });
    expect(received.stderr).toMatch(
      /jet: Cancelled: large\.bin of alice@jet\.test was not received/,
    );
    expect(sent).toMatchObject({ status: 7, signal: null });
    expect(sent.stderr).toMatch(/the other side cancelled the transfer\.\n$/);
    expect(await readdir(out)).toEqual(['large.bin.jet-part']);
  });

  test('a second signal ends at once', async () => {
    const { receive, send, out } = await underWay();
    // Both are pending when it goes on: the second finds the first not dealt with yet.
    send.child.kill('SIGSTOP');
    send.child.kill('SIGINT');
    send.child.kill('SIGTERM');
    send.child.kill('SIGCONT');
    const sent = await send.ended;
    expect(sent.status).toBeNull();
    expect(['SIGINT', 'SIGTERM']).toContain(sent.signal);
    const received = await receive.ended;
    expect(received.status).toBe(7);
    expect(await readdir(out)).toEqual(['large.bin.jet-part']);
  });

  test('the sender is killed: the receiver ends by itself', async () => {
    const { receive, send, out } = await underWay();
    send.child.kill('SIGKILL');
    expect(await receive.ended).toMatchObject({ status: 7, signal: null });
    expect(await readdir(out)).toEqual(['large.bin.jet-part']);
  });
});

describe('before there is a transfer', () => {
  test('SIGTERM is how an idle receive is stopped', async () => {
    const receive = bob.start(['receive', '--json', '--yes']);
    await receive.said(/"waiting"/);
    receive.child.kill('SIGTERM');
    const ended = await receive.ended;
    expect(ended).toMatchObject({ status: 0, signal: null });
    expect(ended.stderr).not.toContain('jet:');
  });

  test.for(['SIGINT', 'SIGHUP'] as const)('%s to an idle receive', async (signal) => {
    const receive = bob.start(['receive', '--json', '--yes']);
    await receive.said(/"waiting"/);
    receive.child.kill(signal);
    const ended = await receive.ended;
    expect(ended).toMatchObject({ status: null, signal });
    expect(ended.stderr).not.toContain('jet:');
  });

  test.for(['SIGINT', 'SIGTERM'] as const)('%s while the peer is waited for', async (signal) => {
    const send = alice.start(['send', '--json', '--wait', 'forever', file, bob.jid]);
    await send.said(/"waiting"/);
    send.child.kill(signal);
    const ended = await send.ended;
    expect(ended).toMatchObject({ status: null, signal });
    expect(ended.stderr).not.toContain('jet:');
  });

  test('SIGINT while nothing answers at the server', async () => {
    let reached: () => void = () => undefined;
    const connected = new Promise<void>((resolve) => (reached = resolve));
    const mute = createServer((socket) => {
      socket.on('error', () => undefined).resume();
      reached();
    });
    await new Promise<void>((resolve) => mute.listen(0, '127.0.0.1', resolve));
    const address = mute.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const devices = alice.start(['devices'], { env: { JET_SERVER: `127.0.0.1:${port}` } });
    await connected;
    devices.child.kill('SIGINT');
    expect(await devices.ended).toMatchObject({ status: null, signal: 'SIGINT', stderr: '' });
    await new Promise((resolve) => mute.close(resolve));
  });
});

test('a reader of stdout that goes away ends the program quietly', async () => {
  const child = spawn(
    '/bin/sh',
    [
      '-c',
      `"${new URL('../../bin/jet', import.meta.url).pathname}" receive --json --yes | head -1`,
    ],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: bob.home,
      env: {
        ...{ PATH: process.env['PATH'], HOME: bob.home, JET_HOME: bob.home, JET_JID: bob.jid },
        ...{ JET_PASSWORD: 'pw-bob', JET_SERVER: `127.0.0.1:${server.port}` },
        JET_CA_FILE: server.caFile,
      },
    },
  );
  const receive = new JetProcess(child);
  await receive.said(/"waiting"|"notice"/);
  // The next event finds nobody reading.
  const sent = alice.start(['send', '--wait', '30', '--limit-rate', '5M', file, bob.jid]);
  const ended = await receive.ended;
  expect(ended.stderr).not.toMatch(/EPIPE|\bat /);
  expect(ended.status).toBe(0);
  sent.child.kill('SIGINT');
  await sent.ended;
});

describe.skipIf(!hasScript())('on a terminal', () => {
  const SHOW = '\u001b[?25h';
  const HIDE = '\u001b[?25l';

  test('the cursor comes back after Ctrl-C', async () => {
    const run = inTerminal(bob, ['receive', '--yes']);
    await run.said(/offers to bob@jet\.test/);
    run.child.stdin?.write('\u0003');
    const { stdout } = await run.ended;
    expect(stdout).toContain(HIDE);
    expect(stdout.lastIndexOf(SHOW)).toBeGreaterThan(stdout.lastIndexOf(HIDE));
  });

  test('bars while bytes flow, and the cursor after them', async () => {
    const out = await mkdtemp(join(folder, 'bars-'));
    const receive = inTerminal(bob, ['receive', '--yes', '--once', '--out', out]);
    const send = inTerminal(alice, ['send', '--limit-rate', '10M', file, bob.jid]);
    const sent = await send.ended;
    expect(sent.status).toBe(0);
    expect(sent.stdout).toContain('Waiting for bob@jet.test to accept large.bin');
    expect(sent.stdout).toMatch(/100% {2}waiting for bob@jet\.test to confirm/);
    // What was waited for has come: nothing says so any more.
    expect(sent.stdout.slice(sent.stdout.indexOf('%'))).not.toContain('to accept');
    const { stdout, status } = await receive.ended;
    expect(status).toBe(0);
    expect(stdout).toMatch(/large\.bin \[#*-*\] +\d+%/);
    expect(stdout).toMatch(/Route: direct 127\.0\.0\.1/);
    expect(stdout.lastIndexOf(SHOW)).toBeGreaterThan(stdout.lastIndexOf(HIDE));
  });

  test('suspended it gives the cursor back, continued it draws again: waiting, and with a bar', async () => {
    const out = await mkdtemp(join(folder, 'suspended-'));
    const receive = inTerminal(bob, ['receive', '--yes', '--once', '--out', out]);
    await receive.said(/offers to bob@jet\.test/);
    await suspended(receive);
    const send = alice.start(['send', '--limit-rate', '4M', file, bob.jid]);
    await receive.said(/large\.bin \[#*-*\] +\d+%/);
    const after = await suspended(receive);
    await receive.said(/\d+%/);
    expect((await send.ended).status).toBe(0);
    const { status, stdout } = await receive.ended;
    expect(status).toBe(0);
    expect(stdout.slice(after)).toMatch(/large\.bin \[#*-*\] +\d+%/);
    expect(stdout.lastIndexOf(SHOW)).toBeGreaterThan(stdout.lastIndexOf(HIDE));
  });

  /** Suspends and continues; gives how much was shown by then. */
  async function suspended(process: JetProcess): Promise<number> {
    const before = process.stdout.length;
    const outer = process.child.pid ?? 0;
    const [inner = 0] = childrenOf(outer);
    kill(inner, 'SIGTSTP');
    // The program that makes the terminal stops with what runs in it, a moment later.
    for (const one of [inner, outer])
      await vi.waitFor(() => expect(stateOf(one)).toBe('T'), 20_000);
    kill(outer, 'SIGCONT');
    kill(inner, 'SIGCONT');
    await vi.waitFor(() => {
      const shown = process.stdout.slice(before);
      expect(shown).toContain(SHOW);
      expect(shown.lastIndexOf(HIDE)).toBeGreaterThan(shown.indexOf(SHOW));
    }, 20_000);
    return process.stdout.length;
  }

  test('an offer is asked about; No is the default, y takes it', async () => {
    for (const [answer, status, sent] of [
      ['\n', 5, 5],
      ['y\n', 0, 0],
    ] as const) {
      const out = await mkdtemp(join(folder, 'asked-'));
      const receive = inTerminal(bob, ['receive', '--once', '--wait', '60', '--out', out]);
      const send = alice.start(['send', file, bob.jid]);
      await receive.said(/alice@jet\.test offers large\.bin \(20\.0 MB\)\. Accept\? \[y\/N\]/);
      receive.child.stdin?.write(answer);
      const outcome = await send.ended;
      expect(outcome.status).toBe(sent);
      if (status === 0) {
        expect((await receive.ended).status).toBe(0);
        expect(await readdir(out)).toEqual(['large.bin']);
      } else {
        expect(outcome.stderr).toMatch(/jet: bob@jet\.test declined large\.bin\.\n$/);
        expect(await readdir(out)).toEqual([]);
        receive.child.stdin?.write('\u0003');
        await receive.ended;
      }
    }
  });

  test.each([
    ['', [], true],
    ['1', [], false],
    ['', ['--no-color'], false],
  ] as const)('NO_COLOR=%j and the flags %j: colours are %s', async (value, flags, coloured) => {
    const options = { env: { NO_COLOR: value } };
    const run = inTerminal(alice, [...flags, 'send', 'gone', bob.jid], options);
    const { stdout, status } = await run.ended;
    expect(status).toBe(8);
    expect(stdout).toContain('gone');
    expect(stdout.includes('\u001b[31m')).toBe(coloured);
  });

  test('the terminal is as it was after a prompt that Ctrl-C ended', () => {
    // A shell whose terminal is still raw would show no echo: stty tells.
    const script =
      'stty -a >before; (sleep 3; kill -INT $(cat pid)) & sh -c \'echo $$ >pid; exec "$JET" login x@jet.test\'; stty -a >after; cmp before after && echo SAME';
    const text = execFileSync('script', ['-qec', script, '/dev/null'], {
      encoding: 'utf8',
      cwd: alice.home,
      env: {
        ...{ PATH: process.env['PATH'], JET_HOME: alice.home, SHELL: '/bin/sh' },
        JET: new URL('../../bin/jet', import.meta.url).pathname,
      },
    });
    expect(text).toContain('Password of x@jet.test: ');
    expect(text).toContain('SAME');
  });
});
