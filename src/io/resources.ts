/** Things that are let go of together, last come first. */
export class Resources implements AsyncDisposable {
  readonly #held: AsyncDisposable[] = [];

  /** Holds on to something until the end: `const file = resources.use(await open())`. */
  use<T extends AsyncDisposable>(resource: T): T {
    this.#held.push(resource);
    return resource;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (let next = this.#held.pop(); next !== undefined; next = this.#held.pop())
      await next[Symbol.asyncDispose]();
  }
}
