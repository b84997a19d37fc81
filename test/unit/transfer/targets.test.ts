/** What the journal knows of a folder that is received, from before there is anything of it. */
import { existsSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/core/clock.ts';
import { keptTarget, treeTarget } from '../../../src/transfer/targets.ts';
import { treeWords } from '../../../src/transfer/tree-list.ts';
import { TreeLanding } from '../../../src/transfer/tree-target.ts';
import { testRecords } from '../../support/records.ts';
import { sample, type Sample } from '../../support/tree-sample.ts';

describe('a folder whose process was killed before the first byte', () => {
  /** The row of a new offer; `part` is all that it knows of what was kept. */
  const rowOf = ({ plan: { out, name, size, head } }: Sample, part?: string) =>
    testRecords(systemClock).begin({
      ...{ account: 'bob@b.test', peer: 'alice@a.test', direction: 'receive', jet: true },
      ...{ name, size, options: { kind: 'offer', tree: treeWords(head) } },
      ...(part !== undefined && { path: join(out, name), part }),
    });

  test('is known by its row before there is anything', async () => {
    const what = await sample();
    const recorder = rowOf(what);
    const seen: unknown[] = [];
    const note = recorder.note.bind(recorder);
    recorder.note = (details) => {
      note(details);
      const { path, part, partIdentity } = recorder.row();
      seen.push({ path, part, partIdentity, there: existsSync(part ?? '') });
    };
    const target = await treeTarget(what.plan, recorder);
    const part = join(what.plan.out, 'x.jet-part');
    const path = join(what.plan.out, 'x');
    expect(seen).toEqual([{ path, part, partIdentity: undefined, there: false }]);
    expect(recorder.row().partIdentity).toBeDefined();
    await target.abort(false);
  });

  test('has what it made taken away by the next run', async () => {
    const what = await sample();
    const { part } = await TreeLanding.open(what.plan).then(async (landing) => {
      await landing.abort('keep');
      return landing;
    });
    expect(await readdir(what.plan.out)).toEqual(['x.jet-part']);
    const recorder = rowOf(what, part);
    const { size } = what.plan;
    const notSaid = () => undefined;
    const keeping = { recorder, size, most: size, say: notSaid, skipped: notSaid };
    const next = await keptTarget(keeping);
    expect(next).toMatchObject({ fresh: true, extent: { offset: 0, length: size } });
    expect(await readdir(what.plan.out)).toEqual(['x.jet-part']);
    expect(recorder.row().partIdentity).toBeDefined();
    await next?.target.abort(false);
    expect(await readdir(what.plan.out)).toEqual([]);
  });
});
