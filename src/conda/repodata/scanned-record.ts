/**
 * The fields of a record as the scanner found them: places in the scanner's bytes, good until it moves on. One object serves
 * all records, so that a million of them make no garbage.
 */
export class ScannedRecord {
  /** The key's text, without its quotes. */
  keyStart = 0;
  keyEnd = 0;
  /** First byte of the value, and the byte behind it. */
  valueStart = 0;
  valueEnd = 0;
  /** Whether key and fields stand as they are read: no escapes, no field of another type, no number that is not whole. */
  isPlain = true;
  /** Texts of the fields without their quotes; an end of 0 where there is none. */
  nameStart = 0;
  nameEnd = 0;
  versionStart = 0;
  versionEnd = 0;
  buildStart = 0;
  buildEnd = 0;
  subdirStart = 0;
  subdirEnd = 0;
  urlStart = 0;
  urlEnd = 0;
  attestationsStart = 0;
  attestationsEnd = 0;
  /** Digests, where they are noted. */
  readonly sha256 = new Uint8Array(32);
  hasSha256 = false;
  readonly md5 = new Uint8Array(16);
  hasMd5 = false;
  /** In bytes, -1 where there is none. */
  size = -1;
  /** As it stands, -1 where there is none. */
  indexedTimestamp = -1;
  /** Whether a member `url` says more than `null`, whichever of several counts. */
  namesUrl = false;

  /** Forgets the record before. */
  reset(): void {
    this.isPlain = true;
    this.nameEnd = 0;
    this.versionEnd = 0;
    this.buildEnd = 0;
    this.hasSha256 = false;
    this.hasMd5 = false;
    this.subdirEnd = 0;
    this.urlEnd = 0;
    this.attestationsEnd = 0;
    this.size = -1;
    this.indexedTimestamp = -1;
    this.namesUrl = false;
  }
}
