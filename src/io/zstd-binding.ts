import type * as Binding from 'zstd-napi/binding.js';
import { FerryError } from '../errors.js';

/** What is used of zstd-napi, which is a CommonJS module. */
export type ZstdBinding = Pick<
  typeof Binding,
  'CCtx' | 'CParameter' | 'DCtx' | 'DParameter' | 'EndDirective'
>;

/** Loads zstd-napi, whose native part is built at install time. @throws FerryError `UNSUPPORTED` */
export async function loadZstd(): Promise<ZstdBinding> {
  try {
    return (await import('zstd-napi/binding.js')).default;
  } catch (cause) {
    throw new FerryError('UNSUPPORTED', 'the zstd library `zstd-napi` cannot be loaded', {
      cause,
      hint: 'let npm run its install script: `npm install --global --allow-scripts=zstd-napi,msgpackr-extract conda-ferry`, or `npm rebuild zstd-napi` in a project; where no built file can be had that takes a C++ compiler, make and Python',
    });
  }
}
