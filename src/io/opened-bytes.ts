/**
 * Bytes that can be read from any place, such as an open file. To be disposed of; whoever opened the file keeps it readable
 * until then, also where its name goes away.
 */
export interface OpenedBytes extends AsyncDisposable {
  /** In bytes. */
  readonly size: number;
  /**
   * Names the very state of a file, such as `2049 131 1714000000000000000 42` (device, inode, time of change, size): the same
   * text means the same bytes. `undefined` where that cannot be told.
   */
  readonly identity?: string | undefined;
  /**
   * Reads from `position` into `target`, as far as both reach.
   * @returns how many bytes were read; 0 at the end
   */
  read(target: Uint8Array, position: number): Promise<number>;
  /** Whether it is still there, and nothing was written to it since it was opened, as far as the system tells; at once. */
  isUnchanged?(): boolean;
}
