import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { readAccounts } from '../../../src/cli/accounts.ts';

const script = fileURLToPath(new URL('../../support/process-accounts.ts', import.meta.url));

it('logins and logouts at once in one home all count', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'jet-accounts-'));
  try {
    const names = ['a', 'b', 'c', 'd', 'e'];
    await Promise.all(
      names.map((name) =>
        promisify(execFile)(process.execPath, ['--import', 'tsx', script, folder, name]),
      ),
    );
    const saved = readAccounts({ config: folder, data: folder });
    expect(saved.map(({ jid, password }) => [jid.local, password])).toEqual(
      names.flatMap((name) => [0, 2, 4].map((i) => [`${name}${i}`, `secret ${i}`])),
    );
    expect(readdirSync(folder).filter((name) => name.startsWith('accounts'))).toEqual([
      'accounts.json',
    ]);
    expect(statSync(join(folder, 'accounts.json')).mode & 0o777).toBe(0o600);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
