import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const program = fileURLToPath(new URL('../../bin/jet', import.meta.url));
let home: string;
beforeEach(() => (home = mkdtempSync(join(tmpdir(), 'jet-cli-'))));
afterEach(() => rmSync(home, { recursive: true }));

/** Runs without a controlling terminal, as in a service. */
function jet(args: string[], env: NodeJS.ProcessEnv = {}) {
  return spawnSync('setsid', ['-w', process.execPath, program, ...args], {
    encoding: 'utf8',
    cwd: home,
    env: { PATH: process.env['PATH'], JET_HOME: home, ...env },
    input: '',
    timeout: 60_000,
  });
}

describe('bin/jet', () => {
  it('shows its version and help', () => {
    expect(jet(['--version']).stdout).toMatch(/^\d+\.\d+\.\d+\n$/);
    expect(jet(['send', '--help'])).toMatchObject({ status: 0, stderr: '' });
  });
  it.each([
    [['bogus'], 2, 'unknown command'],
    [['send'], 2, 'Nothing to send'],
    [['send', 'gone', 'bob@x.example'], 8, 'gone does not exist'],
    [['send', '--text', 'hello'], 2, 'No recipient given: write jet send --text TEXT JID'],
    [['send', '--text', 'a', '--text', 'b', 'bob@x.example'], 2, '--text can be given once'],
    [['send', '--text', 'a', '--name', 'n', '.', 'bob@x.example'], 2, '--name goes with one file'],
    [['send', '--text', 'hello', 'bob@x.example'], 3, 'No account'],
    [['receive'], 2, 'no terminal'],
    [['receive', '--yes', '--out', 'gone'], 8, 'not a folder'],
    [['receive', '--yes', '--wait', 'soon'], 2, '--wait must be'],
    [['receive', '--yes'], 3, 'No account'],
    [['login', 'nobody'], 2, 'not an XMPP address'],
    [['login', 'a@x.example'], 2, 'no terminal to ask'],
    [['login', 'a@x.example', '--password-file', 'gone'], 8, 'password file'],
    [['login', 'a@x.example', '--password-command', 'exit 3'], 3, 'password command failed'],
    [['trust', 'a@x.example', 'abc'], 2, '64 hexadecimal'],
  ])('answers %j with status %i and one sentence', (args, status, message) => {
    const run = jet(args);
    expect(run.stderr).toContain(message);
    expect(run.stderr).not.toMatch(/^\s+at /m);
    expect(run).toMatchObject({ status, stdout: '' });
  });
  it('names the line of a broken configuration file', () => {
    writeFileSync(join(home, 'config.toml'), 'wait = 3\nroute = \n');
    expect(jet(['accounts'])).toMatchObject({ status: 2 });
    expect(jet(['accounts']).stderr).toContain('config.toml, line 2');
    writeFileSync(join(home, 'config.toml'), 'wait = 3\nroutes = "ibb"\n');
    expect(jet(['accounts']).stderr).toContain('line 2: "routes" is no setting');
  });
  it('tells errors in JSON, too', () => {
    const { stdout } = jet(['send'], { JET_JSON: '1' });
    expect(JSON.parse(stdout)).toMatchObject({ v: 1, event: 'error', code: 'no-file', exit: 2 });
  });
  it('calls what nobody foresaw an internal error, status 1, without a stack trace unless asked', () => {
    // The first result that it writes fails in a way that no system has.
    const fault = join(home, 'fault.mjs');
    writeFileSync(
      fault,
      `const { write } = process.stdout;
       process.stdout.write = (text, ...rest) => {
         if (text === '') return write.call(process.stdout, text, ...rest);
         throw new RangeError('nobody foresaw this');
       };`,
    );
    const accounts = { accounts: [{ jid: 'a@x.example', password: 'hidden' }] };
    writeFileSync(join(home, 'accounts.json'), JSON.stringify(accounts));
    const env = { NODE_OPTIONS: `--import ${fault}` };
    const run = jet(['accounts'], env);
    expect(run).toMatchObject({ status: 1, stdout: '' });
    expect(run.stderr).toBe(
      'jet: Internal error: nobody foresaw this. Please report it with the output of the same command under --verbose.\n',
    );
    const verbose = jet(['accounts', '--verbose'], env);
    expect(verbose.status).toBe(1);
    expect(verbose.stderr).toMatch(/^jet: +at /m);
    expect(verbose.stderr).not.toContain('hidden');
  });
  it('ends quietly when nobody reads', () => {
    writeFileSync(
      join(home, 'accounts.json'),
      JSON.stringify({
        accounts: Array.from({ length: 20_000 }, (_, i) => ({
          jid: `user${i}@x.example`,
          password: 'p',
        })),
      }),
    );
    const shell = spawnSync('sh', ['-c', `"${process.execPath}" "${program}" accounts | head -1`], {
      encoding: 'utf8',
      env: { PATH: process.env['PATH'], JET_HOME: home },
    });
    expect(shell).toMatchObject({ stderr: '', stdout: 'user0@x.example\n' });
  });
});
