import { cut, invalid, type Slice } from './slice.js';

/** Where a spec wants a package from. Records do not say what channel they are of, so it is not matched against them. */
export interface ChannelPart {
  /** A name such as `conda-forge`, a URL or a path, as it was written. */
  readonly location: string;
  /** `conda-forge[linux-64,noarch]::`: only these subdirs of it. */
  readonly subdirs: readonly string[] | undefined;
}

/** Subdirs that rattler knows: only these can be told from the last part of a channel's name. */
const SUBDIRS: ReadonlySet<string> = new Set([
  'noarch',
  'linux-32',
  'linux-64',
  'linux-aarch64',
  'linux-armv6l',
  'linux-armv7l',
  'linux-loongarch64',
  'linux-ppc64le',
  'linux-ppc64',
  'linux-ppc',
  'linux-s390x',
  'linux-riscv32',
  'linux-riscv64',
  'freebsd-32',
  'freebsd-64',
  'freebsd-arm64',
  'freebsd-ppc64le',
  'freebsd-ppc64',
  'osx-64',
  'osx-arm64',
  'ios-arm64',
  'iossimulator-arm64',
  'iossimulator-64',
  'android-aarch64',
  'android-armv7a',
  'android-64',
  'android-32',
  'win-32',
  'win-64',
  'win-arm64',
  'emscripten-wasm32',
  'emscripten-wasm64',
  'wasi-wasm32',
  'zos-z',
]);

/** Tells whether a text is one of the subdirs that can follow a channel behind a slash. */
export function isKnownSubdir(text: string): boolean {
  return SUBDIRS.has(text);
}

/**
 * Reads `conda-forge`, `conda-forge/linux-64`, `conda-forge[linux-64]` or a URL of a channel.
 * @throws ParseError `MATCH_SPEC_INVALID`
 */
export function parseChannel(slice: Slice): {
  readonly channel: ChannelPart;
  readonly subdir: Slice | undefined;
} {
  const slash = slice.text.lastIndexOf('/');
  const last = cut(slice, slash + 1);
  if (slash !== -1 && isKnownSubdir(last.text)) {
    return { channel: parseLocation(cut(slice, 0, slash)), subdir: last };
  }
  return { channel: parseLocation(slice), subdir: undefined };
}

function parseLocation(slice: Slice): ChannelPart {
  const open = slice.text.endsWith(']') ? slice.text.lastIndexOf('[') : -1;
  if (open === -1) return { location: checkedLocation(slice), subdirs: undefined };
  const subdirs = slice.text
    .slice(open + 1, -1)
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
  const unknown = subdirs.find((subdir) => !isKnownSubdir(subdir));
  if (unknown !== undefined) throw invalid(cut(slice, open + 1), `\`${unknown}\` is no subdir`);
  const location = checkedLocation(cut(slice, 0, open));
  return { location, subdirs: subdirs.length === 0 ? undefined : subdirs };
}

function checkedLocation(slice: Slice): string {
  const { text } = slice;
  if (isUrl(text)) {
    if (!URL.canParse(text)) throw invalid(slice, 'the URL of the channel is not valid');
  } else if (!isPath(text) && /[:\\[\]]/.test(text)) {
    throw invalid(slice, `\`${text}\` is no name of a channel`);
  }
  return text;
}

/** Tells whether a text begins like a URL: a short scheme and `://`. */
export function isUrl(text: string): boolean {
  return /^\p{Alphabetic}[\p{Alphabetic}\p{N}]{0,10}:\/\//u.test(text);
}

/** Tells whether a text begins like a path from the root, of Unix or Windows. */
export function isAbsolutePath(text: string): boolean {
  return !text.includes('://') && /^(?:\/|\\\\|\p{Alphabetic}:[/\\])/u.test(text);
}

/** Tells whether a channel is given as a path, absolute or not. */
export function isPath(text: string): boolean {
  return isAbsolutePath(text) || (!text.includes('://') && /^(?:\.\/|\.\.|~\/)/.test(text));
}
