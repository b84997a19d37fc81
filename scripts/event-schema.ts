/** Writes docs/events.md and docs/events.schema.json from their definition in src/cli/json.ts. */
import { writeFileSync } from 'node:fs';
import { format } from 'prettier';
import { eventPage, eventSchema } from '../src/cli/json.ts';

const docs = new URL('../docs/', import.meta.url);
const settings = { printWidth: 100, singleQuote: true };
writeFileSync(
  new URL('events.md', docs),
  await format(eventPage(), { ...settings, parser: 'markdown' }),
);
const schema = JSON.stringify(eventSchema());
writeFileSync(
  new URL('events.schema.json', docs),
  await format(schema, { ...settings, parser: 'json' }),
);
