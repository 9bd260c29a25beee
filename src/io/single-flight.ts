/** Joins calls for one key that run at the same time into one; its result or failure goes to all of them. */
export class SingleFlight<T> {
  readonly #underWay = new Map<string, Promise<T>>();

  /** Runs `work` unless a call for `key` is under way, then waits for that one. */
  async do(key: string, work: () => Promise<T>): Promise<T> {
    const running = this.#underWay.get(key);
    if (running !== undefined) return running;
    const promise = work().finally(() => this.#underWay.delete(key));
    this.#underWay.set(key, promise);
    return promise;
  }
}
