/** A process that takes the one slot there is, says so, and keeps it until it is killed. */
import { systemClock } from '../../src/core/clock.ts';
import { Slot, slotsSchema } from '../../src/store/slots.ts';
import { openStore } from '../../src/store/store.ts';

const [database = ''] = process.argv.slice(2);
const slot = new Slot(openStore(database, [slotsSchema]), systemClock, {
  name: 'test',
  size: 1,
  lasting: true,
});
console.log(slot.take() ? 'held' : 'waits');
