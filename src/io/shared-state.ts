/** What one change of a {@link SharedState} comes to. */
export interface StateChange<T> {
  /** What is kept from now on; `undefined` leaves all as it is. */
  readonly next: string | undefined;
  readonly result: T;
}

/**
 * A small text that several processes share, and change one at a time. What it means is up to those who change it; where
 * it lies, such as in Redis, is up to who provides it.
 */
export interface SharedState {
  /**
   * Changes the text. `change` is a pure function of the text that is there (`undefined` where there is none) and of a clock
   * that all share (milliseconds since 1970, with fractions); it may be called several times, and the last call holds.
   */
  update<T>(
    change: (current: string | undefined, nowMs: number) => StateChange<T>,
    signal?: AbortSignal,
  ): Promise<T>;
}
