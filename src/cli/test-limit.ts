/** What only tests set. */

/**
 * Bytes that one encrypted message carries, in place of the limit of AES-GCM: so that a file of a few megabytes
 * takes several. What is above that limit changes nothing.
 */
export function messageBytes(env: NodeJS.ProcessEnv): number | undefined {
  const bytes = Number(env['JET_TEST_MESSAGE_BYTES']);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
