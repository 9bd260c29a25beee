import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { asJsonObject, isJsonObject, pointTo, quote, type JsonObject } from './json-value.js';

/** What {@link checkNotices} looks at. */
export interface NoticesSubject {
  /** The parsed `notices.json`. */
  readonly value: unknown;
  /** Its place, such as `notices.json`. */
  readonly where: string;
}

/** Checks a channel's `notices.json`. */
export function checkNotices({ value, where }: NoticesSubject, log: CheckLog): void {
  checkDocument('notices', value, where, log);
  const notices = asJsonObject(value)['notices'];
  if (!Array.isArray(notices)) return;
  const ids = new Set<string>();
  for (const [position, notice] of (notices as readonly unknown[]).entries()) {
    if (!isJsonObject(notice)) continue;
    const place = pointTo(where, 'notices', position);
    const id = notice['id'];
    if (typeof id === 'string') {
      log.expect('cep6/unique-id', !ids.has(id), () => ({
        where: pointTo(place, 'id'),
        found: `${quote(id)}, which another notice has too`,
        expected: 'an id of its own',
      }));
      ids.add(id);
    }
    checkEnd(notice, place, log);
  }
}

function checkEnd(notice: JsonObject, where: string, log: CheckLog): void {
  const { created_at: created, expires_at: expires } = notice;
  if (expires === undefined) {
    // Where the older key stands, that is all there is to say.
    const clause = 'expired_at' in notice ? 'cep6/expired-at' : 'cep6/expires-at';
    log.report(clause, {
      where,
      found: clause === 'cep6/expired-at' ? '`expired_at`' : 'no `expires_at`',
      expected: '`expires_at`',
    });
    return;
  }
  const [from, to] = [timeOf(created), timeOf(expires)];
  if (from === undefined || to === undefined) return;
  log.expect('cep6/time-order', from <= to, () => ({
    where: pointTo(where, 'expires_at'),
    found: `${quote(expires)}, before \`created_at\``,
    expected: `a time after ${quote(created)}`,
  }));
}

function timeOf(value: unknown): number | undefined {
  const time = typeof value === 'string' ? Date.parse(value) : Number.NaN;
  return Number.isNaN(time) ? undefined : time;
}
