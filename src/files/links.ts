/** Where a symbolic link inside a tree may point: inside it, provably. */

/**
 * Whether a link at `path` (relative to the tree, with `/`) with this target stays inside the tree,
 * whatever other links the tree has.
 *
 * @remarks Only leading `..` are taken, no more than the link lies deep: up from a real folder they
 * lead to a real folder. Behind a name `..` could leave from wherever a link of that name leads to.
 */
export function staysInside(path: string, target: string): boolean {
  return resolveLink(path, target) !== undefined;
}

/** The path in the tree that such a link points to; undefined if that is outside, or may be. */
export function resolveLink(path: string, target: string): string | undefined {
  if (target === '' || target.startsWith('/') || target.includes('\0')) return undefined;
  const folder = path.split('/').slice(0, -1);
  if (folder.length === 0) return undefined;
  const steps = target.split('/').filter((step) => step !== '' && step !== '.');
  while (steps[0] === '..') {
    // The tree's own folder is the highest that there is.
    if (folder.length <= 1) return undefined;
    folder.pop();
    steps.shift();
  }
  return steps.includes('..') ? undefined : [...folder, ...steps].join('/');
}
