// Prints how many milliseconds it takes to open a store: `open-store.mjs PROGRAM FILE`.
import { join } from 'node:path';

const [program, file] = process.argv.slice(2);
const at = (name) => join(program, 'dist', name);
const { openStore } = await import(at('store/store.js'));
const schemas = [];
for (const name of [
  ...['store/locks', 'store/slots', 'omemo/schema', 'transfer/journal-row', 'transfer/catalogue'],
]) {
  const found = Object.entries(await import(at(`${name}.js`)));
  schemas.push(...found.filter(([key]) => key.endsWith('Schema')).map(([, schema]) => schema));
}
const began = performance.now();
openStore(file, schemas).close();
console.log(performance.now() - began);
