// Loaded before the program: notes the key and IV of every AES-GCM that encrypts as much as one byte.
import crypto from 'node:crypto';
import { appendFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

const file = process.env.CIPHERS_FILE;
const create = crypto.createCipheriv;
crypto.createCipheriv = (algorithm, key, iv, options) => {
  const cipher = create(algorithm, key, iv, options);
  if (!algorithm.endsWith('-gcm')) return cipher;
  const line = `${algorithm} ${Buffer.from(key).toString('hex')} ${Buffer.from(iv).toString('hex')}\n`;
  const { update } = cipher;
  let noted = false;
  cipher.update = (data, ...rest) => {
    if (!noted && data.length > 0) appendFileSync(file, line);
    noted ||= data.length > 0;
    return update.call(cipher, data, ...rest);
  };
  return cipher;
};
syncBuiltinESMExports();
