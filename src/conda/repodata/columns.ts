/** Columns that grow by chunks: nothing large is ever copied, and an unused column costs nothing. */

const CHUNK_BITS = 16;
const CHUNK_ROWS = 1 << CHUNK_BITS;
const CHUNK_MASK = CHUNK_ROWS - 1;

/** What a column's chunks are. */
type Numbers = Uint16Array | Uint32Array | Float64Array;

/** A column of numbers; rows that were never set read as `absent`. */
export class NumberColumn<Chunk extends Numbers> {
  readonly #create: (length: number) => Chunk;
  readonly #absent: number;
  readonly #chunks: (Chunk | undefined)[] = [];

  constructor(create: (length: number) => Chunk, absent = 0) {
    this.#create = create;
    this.#absent = absent;
  }

  get(row: number): number {
    const chunk = this.#chunks[row >>> CHUNK_BITS];
    return chunk === undefined ? this.#absent : (chunk[row & CHUNK_MASK] as number);
  }

  set(row: number, value: number): void {
    const chunk = this.#chunks[row >>> CHUNK_BITS] ?? this.#grow(row);
    chunk[row & CHUNK_MASK] = value;
  }

  #grow(row: number): Chunk {
    const chunk = this.#create(CHUNK_ROWS);
    if (this.#absent !== 0) chunk.fill(this.#absent);
    this.#chunks[row >>> CHUNK_BITS] = chunk;
    return chunk;
  }
}

/** A column of byte strings of one width. */
export class BytesColumn {
  readonly #width: number;
  readonly #chunks: (Buffer | undefined)[] = [];

  constructor(width: number) {
    this.#width = width;
  }

  /** The chunk that holds the row, to be written at {@link offsetOf}. */
  chunkFor(row: number): Buffer {
    const at = row >>> CHUNK_BITS;
    return (this.#chunks[at] ??= Buffer.alloc(CHUNK_ROWS * this.#width));
  }

  /** Where the row stands in its chunk. */
  offsetOf(row: number): number {
    return (row & CHUNK_MASK) * this.#width;
  }

  /** Whether a row has the bytes that a row of another column of the same width has. */
  isSame(row: number, other: BytesColumn, otherRow: number): boolean {
    const [own, theirs] = [this.chunkFor(row), other.chunkFor(otherRow)];
    const [at, otherAt] = [this.offsetOf(row), other.offsetOf(otherRow)];
    for (let i = 0; i < this.#width; i += 1) if (own[at + i] !== theirs[otherAt + i]) return false;
    return true;
  }

  /** The row in lower-case hex. */
  hex(row: number): string {
    const offset = this.offsetOf(row);
    return this.chunkFor(row).toString('hex', offset, offset + this.#width);
  }
}
