// Loaded before the program: notes every look-up of a name that Node makes, by whichever of its functions.
import { createHook } from 'node:async_hooks';
import { appendFileSync } from 'node:fs';

const file = process.env.LOOKUPS_FILE;
createHook({
  init(_id, type) {
    if (type === 'GETADDRINFOREQWRAP' || type === 'QUERYWRAP') appendFileSync(file, `${type}\n`);
  },
}).enable();
