/** jet, but for progress, journal and events on the way: what these cost is seen beside it. */
import { Recorder } from '../../src/transfer/journal/recorder.ts';
import { Reporter } from '../../src/transfer/reporter.ts';

Recorder.prototype.due = () => undefined;
Reporter.prototype.progress = () => undefined;

await import('../../src/cli/main.ts');
