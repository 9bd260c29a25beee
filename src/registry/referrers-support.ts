/** Long enough to save most requests of a run, short enough to notice a registry that was upgraded. */
const KNOWN_FOR_MS = 15 * 60 * 1000;

/** What was found out about the referrers API; `unknown` again after a quarter of an hour. */
export class ReferrersSupport {
  readonly #now: () => number;
  #found: { readonly by: 'api' | 'tag'; readonly untilMs: number } | undefined;

  /** `now` gives milliseconds of a clock that need not tell the time of day. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** `api`: the registry lists referrers; `tag`: it does not, and a tag is used instead. */
  get state(): 'api' | 'tag' | 'unknown' {
    return this.#found === undefined || this.#now() >= this.#found.untilMs ? 'unknown' : this.#found.by;
  }

  /** Notes what an answer of the registry told. */
  note(by: 'api' | 'tag'): void {
    this.#found = { by, untilMs: this.#now() + KNOWN_FOR_MS };
  }
}
