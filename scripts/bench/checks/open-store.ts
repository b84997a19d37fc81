/** Prints how many milliseconds it takes to open a store: `open-store.ts FILE`. */
import { omemoSchema } from '../../../src/omemo/schema.ts';
import { locksSchema } from '../../../src/store/locks.ts';
import { slotsSchema } from '../../../src/store/slots.ts';
import { openStore } from '../../../src/store/store.ts';
import { catalogueSchema } from '../../../src/transfer/catalogue.ts';
import { journalSchema } from '../../../src/transfer/journal/journal-row.ts';

const [file = ''] = process.argv.slice(2);
const began = performance.now();
openStore(file, [locksSchema, slotsSchema, omemoSchema, journalSchema, catalogueSchema]).close();
console.log(performance.now() - began);
