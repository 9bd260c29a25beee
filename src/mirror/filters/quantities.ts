/** Durations, sizes and dates as people write them in flags. */

const MS_PER_UNIT = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 604_800_000,
} as const;

const BYTES_PER_UNIT = {
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
} as const;

/** Largest first, so that the shortest number is written. */
const DURATION_UNITS = [
  ['w', MS_PER_UNIT.w],
  ['d', MS_PER_UNIT.d],
  ['h', MS_PER_UNIT.h],
  ['m', MS_PER_UNIT.m],
] as const;
const SIZE_UNITS = [
  ['TiB', BYTES_PER_UNIT.tib],
  ['TB', BYTES_PER_UNIT.tb],
  ['GiB', BYTES_PER_UNIT.gib],
  ['GB', BYTES_PER_UNIT.gb],
  ['MiB', BYTES_PER_UNIT.mib],
  ['MB', BYTES_PER_UNIT.mb],
  ['KiB', BYTES_PER_UNIT.kib],
  ['kB', BYTES_PER_UNIT.kb],
] as const;

/** Parses `30m`, `12h`, `7d` or `2w`. @returns milliseconds; `undefined` for all else, numbers without a unit too */
export function parseDuration(text: string): number | undefined {
  const { number, unit } = /^(?<number>\d+(?:\.\d+)?)\s*(?<unit>[mhdw])$/.exec(text.trim())?.groups ?? {};
  if (number === undefined || !isKey(MS_PER_UNIT, unit)) return undefined;
  return whole(Number(number) * MS_PER_UNIT[unit]);
}

/** Writes whole minutes so that {@link parseDuration} reads the same, such as `2w`; what is finer is rounded. */
export function formatDuration(ms: number): string {
  const [unit, size] = DURATION_UNITS.find(([, unitMs]) => ms % unitMs === 0) ?? ['m', MS_PER_UNIT.m];
  return `${String(Math.round(ms / size))}${unit}`;
}

/**
 * Parses `500kB`, `100MB`, `1.5GB`, `1GiB` or a number of bytes, in any case: 1 MB are 1,000,000 bytes, 1 MiB 1,048,576.
 * @returns bytes; `undefined` for all else, such as `1G`, which is both to different people
 */
export function parseSize(text: string): number | undefined {
  const { number, unit } = /^(?<number>\d+(?:\.\d+)?)\s*(?<unit>[a-z]*)$/i.exec(text.trim())?.groups ?? {};
  const key = unit === '' ? 'b' : unit?.toLowerCase();
  if (number === undefined || !isKey(BYTES_PER_UNIT, key)) return undefined;
  return whole(Number(number) * BYTES_PER_UNIT[key]);
}

/** Writes bytes so that {@link parseSize} reads the same, such as `100MB`, `1GiB`, `1234567B`. */
export function formatSize(bytes: number): string {
  const [unit, size] = SIZE_UNITS.find(([, unitSize]) => bytes > 0 && bytes % unitSize === 0) ?? ['B', 1];
  return `${String(bytes / size)}${unit}`;
}

/**
 * Parses a date of ISO 8601: `2024-05-01`, `2024-05-01T12:00`, `2024-05-01T12:00:00.5Z`, `…+02:00`; in UTC where it has no
 * offset, so that it means the same on every machine.
 * @returns milliseconds since 1970; `undefined` for all else, such as February 30
 */
export function parseDate(text: string): number | undefined {
  const { day, time, offset } =
    /^(?<day>\d{4}-\d\d-\d\d)(?:[T ](?<time>\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?<offset>Z|[+-]\d\d:\d\d)?)?$/i.exec(
      text.trim(),
    )?.groups ?? {};
  if (day === undefined) return undefined;
  const midnight = Date.parse(`${day}T00:00:00Z`);
  // Days that a month does not have run over into the next one.
  if (Number.isNaN(midnight) || !new Date(midnight).toISOString().startsWith(day)) return undefined;
  const ms = time === undefined ? midnight : Date.parse(`${day}T${time}${(offset ?? 'Z').toUpperCase()}`);
  return Number.isNaN(ms) ? undefined : ms;
}

function whole(value: number): number | undefined {
  const rounded = Math.round(value);
  return Number.isSafeInteger(rounded) ? rounded : undefined;
}

function isKey<T extends object>(units: T, key: string | undefined): key is Extract<keyof T, string> {
  return key !== undefined && Object.hasOwn(units, key);
}
