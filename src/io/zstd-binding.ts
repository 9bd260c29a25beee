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
      hint: 'run `npm rebuild zstd-napi`; it needs a C++ compiler, make and Python',
    });
  }
}
