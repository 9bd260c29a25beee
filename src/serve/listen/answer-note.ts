/** What an answer was about, as metrics tell it. A closed list, so that no client can add to it. */
export const ROUTE_CLASSES = [
  'repodata',
  'shards',
  'archive',
  'channel',
  'registry',
  'page',
  'health',
  'metrics',
  'other',
] as const;

/** One of {@link ROUTE_CLASSES}. */
export type RouteClass = (typeof ROUTE_CLASSES)[number];

/** Where the bytes of an answer came from. */
export type CacheState = 'hit' | 'miss' | 'stale' | 'none';

/** What a handler says about its answer, for metrics and the access log. */
export interface AnswerNote {
  /** @defaultValue `other` */
  readonly route?: RouteClass | undefined;
  /** @defaultValue `none` */
  readonly cache?: CacheState | undefined;
}

const notes = new WeakMap<Response, AnswerNote>();

/** Notes what an answer was about; what was noted of the same response before stays where nothing is said. */
export function noteAnswer(response: Response, note: AnswerNote): Response {
  const before = notes.get(response);
  notes.set(response, {
    route: note.route ?? before?.route,
    cache: note.cache ?? before?.cache,
  });
  return response;
}

/** What was noted of the response. */
export function answerNoteOf(response: Response): AnswerNote | undefined {
  return notes.get(response);
}
