import { InvalidArgumentError } from 'commander';

const UNITS: Readonly<Record<string, number>> = {
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
};

const SHORT_UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Parses a time such as `30d`, `12h`, `90m`, `2w` or `0`, in milliseconds. */
export function parseDuration(text: string): number {
  const groups = /^(?<number>\d{1,5})(?<unit>[mhdw]?)$/.exec(text)?.groups;
  const number = Number(groups?.['number']);
  const unit = UNITS[groups?.['unit'] ?? ''];
  if (groups === undefined || (unit === undefined && number !== 0))
    throw new InvalidArgumentError('a time such as 30d, 12h or 0 is wanted.');
  return number * (unit ?? 0);
}

/** Writes a time as {@link parseDuration} reads it, in the largest unit that fits. */
export function formatDuration(ms: number): string {
  const [unit, size] = Object.entries(UNITS)
    .reverse()
    .find(([name, each]) => name !== 'w' && ms > 0 && ms % each === 0) ?? ['', 1];
  return ms === 0 ? '0' : `${String(ms / size)}${unit}`;
}

/** Parses a short time such as `30s`, `500ms`, `5m` or `0`, in milliseconds. */
export function parseShortDuration(text: string): number {
  const groups = /^(?<number>\d{1,6})(?<unit>ms|s|m|h|)$/.exec(text)?.groups;
  const number = Number(groups?.['number']);
  const unit = SHORT_UNITS[groups?.['unit'] ?? ''];
  if (groups === undefined || (unit === undefined && number !== 0))
    throw new InvalidArgumentError('a time such as 30s, 5m or 0 is wanted.');
  return number * (unit ?? 0);
}
