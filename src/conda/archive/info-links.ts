import { FerryError, isFerryError } from '../../errors.js';
import { limitExceeded, MAX_LINK_HOPS, MAX_LINK_STEPS, MAX_PATH_BYTES, MAX_PATH_DEPTH } from './limits.js';
import { isAbsolute, shorten } from './member-path.js';

/** Where links have to stay, and what stands before their paths in messages. */
interface LinkRoot {
  readonly name: string;
  readonly prefix: string;
}

const INFO_ROOT: LinkRoot = { name: '`info/`', prefix: 'info/' };

/** For {@link resolveLinks}: links may lead anywhere in the package, and paths are whole. */
export const PACKAGE_ROOT: LinkRoot = { name: 'the package', prefix: '' };

/**
 * Checks that every symlink stays inside `info/` at each step of its way, also through other symlinks. Dangling ones
 * and loops are fine: they lead nowhere. `targets` maps the paths of symlinks, without `info/`, to what they say. With
 * `onUnsafe`, each link that leads out is told to it, and the others are looked at all the same.
 * @param root @defaultValue `info/`
 * @throws FerryError `ARCHIVE_LINK_UNSAFE`, `ARCHIVE_LIMIT_EXCEEDED`
 */
export function resolveLinks(
  targets: ReadonlyMap<string, string>,
  onUnsafe?: (path: string, error: FerryError) => void,
  root: LinkRoot = INFO_ROOT,
): void {
  let steps = 0;

  function follow(path: string): void {
    const current = path.split('/').slice(0, -1);
    const ahead: string[] = [];
    let hops = 0;

    // Puts a target's components before those still ahead. A stack: the next one is last.
    function enter(link: string, target: string): void {
      if (isAbsolute(target)) throw leaves(root, path, link, target, 'is absolute');
      if (Buffer.byteLength(target) > MAX_PATH_BYTES) {
        throw limitExceeded(
          `the target of the link \`${root.prefix}${shorten(link)}\` has more than ${String(MAX_PATH_BYTES)} bytes`,
        );
      }
      ahead.push(...target.split('/').reverse());
    }

    enter(path, targets.get(path) ?? '');
    for (let next = ahead.pop(); next !== undefined; next = ahead.pop()) {
      if (++steps > MAX_LINK_STEPS)
        throw limitExceeded(`the symlinks in ${root.name} lead too far to be followed`);
      if (next === '' || next === '.') continue;
      if (next === '..') {
        if (current.pop() === undefined)
          throw leaves(root, path, path, targets.get(path) ?? '', `leaves ${root.name}`);
        continue;
      }
      if (next.split('\\').includes('..'))
        throw leaves(root, path, path, targets.get(path) ?? '', `may leave ${root.name}`);
      current.push(next);
      // No member lies deeper, and joining would get slow.
      if (current.length > MAX_PATH_DEPTH) continue;
      const here = current.join('/');
      const target = targets.get(here);
      if (target === undefined) continue;
      if (++hops > MAX_LINK_HOPS) return;
      current.pop();
      enter(here, target);
    }
  }

  for (const path of targets.keys()) {
    try {
      follow(path);
    } catch (error) {
      if (onUnsafe === undefined || !isFerryError(error, 'ARCHIVE_LINK_UNSAFE')) throw error;
      onUnsafe(path, error);
    }
  }
}

function leaves({ prefix }: LinkRoot, path: string, link: string, target: string, why: string): FerryError {
  const through = path === link ? '' : ` through \`${prefix}${shorten(link)}\``;
  const message = `the symlink \`${prefix}${shorten(path)}\` leads${through} to \`${shorten(target)}\`, which ${why}`;
  return new FerryError('ARCHIVE_LINK_UNSAFE', message);
}
