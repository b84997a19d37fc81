import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { parseDeviceList } from '../../../src/omemo/devicelist.ts';
import { parseXml } from '../../support/network.ts';

const script = fileURLToPath(new URL('../../support/process-first-run.ts', import.meta.url));

it('twenty first runs at once in one home make one OMEMO device', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'jet-first-'));
  try {
    const runs = Array.from({ length: 20 }, () =>
      promisify(execFile)(process.execPath, ['--import', 'tsx', script, folder]),
    );
    const lines = (await Promise.all(runs)).flatMap(({ stdout }) => stdout.trim().split('\n'));
    const devices = lines.filter((line) => line.startsWith('device '));
    expect(devices).toHaveLength(20);
    expect(new Set(devices).size).toBe(1);
    expect(lines.filter((line) => line === 'device-made')).toHaveLength(1);
    const nodes = readdirSync(folder).filter((name) => name.startsWith('eu_siacs'));
    const list = nodes.find((name) => name.endsWith('devicelist')) ?? '';
    const ids = parseDeviceList(parseXml(readFileSync(join(folder, list), 'utf8')));
    expect(ids).toEqual([Number(devices[0]?.split(' ')[1])]);
    expect(nodes).toHaveLength(2);
  } finally {
    rmSync(folder, { recursive: true });
  }
}, 120_000);
