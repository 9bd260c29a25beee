/**
 * Values by name, each for as long as somebody uses it: who asks for a name gets the one that is in use. Names that strangers
 * make up would fill a map for ever.
 */
export class WeakValues<T extends object> {
  readonly #values = new Map<string, WeakRef<T>>();
  readonly #gone = new FinalizationRegistry<string>((name) => {
    // Another one may have come in its place.
    if (this.#values.get(name)?.deref() === undefined) this.#values.delete(name);
  });

  /** How many names are remembered. */
  get size(): number {
    return this.#values.size;
  }

  get(name: string): T | undefined {
    return this.#values.get(name)?.deref();
  }

  set(name: string, value: T): void {
    this.#values.set(name, new WeakRef(value));
    this.#gone.register(value, name);
  }

  clear(): void {
    this.#values.clear();
  }

  /** Those that are in use. */
  values(): T[] {
    return [...this.#values.values()].flatMap((value) => value.deref() ?? []);
  }
}
