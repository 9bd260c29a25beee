import { FerryError } from '../errors.js';
import type { MirrorOptions } from '../mirror/mirror.js';
import type { MirrorReport } from '../mirror/report.js';
import type { QueueRedis } from './queue-redis.js';
import type { RunEnds } from './run-record.js';

export interface CoordinateOptions {
  readonly queue: QueueRedis;
  readonly version: string;
  readonly ends: RunEnds;
  readonly attempts?: number | undefined;
}

export function mirrorByQueue(
  _options: MirrorOptions,
  _coordinate: CoordinateOptions,
): Promise<{
  readonly report: MirrorReport;
  readonly requests: { readonly source: number; readonly destination: number };
}> {
  return Promise.reject(new FerryError('UNSUPPORTED', 'coordinators are not there yet'));
}
