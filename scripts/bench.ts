/**
 * `npm run bench`: jet beside what else sends files, on loopback. `quick` in under three minutes, `profile`
 * for where the time goes, `page` draws docs/benchmarks.md again, `compare` holds two checkouts against each
 * other. Options: --sizes 1M,1G --runs 5 --delays 0,50 --rate 10M --folder PATH --only jet,scp
 * --parts rate,delay,telling,start,many,scale --no-docs.
 */
import { readOptions } from './bench/options.ts';

const { task, words, options, flags } = readOptions(process.argv.slice(2));
switch (task) {
  case 'full':
  case 'quick':
    await (await import('./bench/run.ts')).run(options);
    break;
  case 'profile':
    await (await import('./bench/profile.ts')).profile(options);
    break;
  case 'page':
    await (await import('./bench/page.ts')).writePage();
    break;
  case 'compare':
    await (await import('./bench/compare.ts')).compare(options, flags, words);
    break;
  default:
    throw new Error(`npm run bench knows quick, profile, page and compare, not ${task}`);
}
