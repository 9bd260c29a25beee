import { isSameLedger, writeLedger, type Ledger, type Quarantined } from '../../artifact/ledger.js';
import { LATEST } from '../../artifact/metadata-artifact.js';
import { archiveIdentity, type RepodataRecord } from '../../conda/package-record.js';
import { FerryError, messageOf } from '../../errors.js';
import type { Digest } from '../../io/digest.js';
import { forEachConcurrently } from '../../io/pool.js';
import { composeRepodata } from '../compose.js';
import { newRunning, publishedAlready, publishRepodata } from '../publish.js';
import { quarantinedOf } from '../quarantine.js';
import type { Failure } from '../report.js';
import { attestedRecords } from '../sidecars/attested-records.js';
import { ensureClientShims } from '../../artifact/client-shims.js';
import { carrySidecars } from '../sidecars/carry-sidecars.js';
import { carryMetadata } from './carry-metadata.js';
import { isAtDestination, migrateItem, type ItemOutcome } from './migrate-item.js';
import { ledgerOfRun, migratedLedger } from './migrated-ledger.js';
import type { MigrationContext } from './migration-context.js';
import type { MigrationItem, PreparedSubdir } from './prepare-subdir.js';
import type { MigratedSubdir } from './report.js';

/**
 * Migrates one subdir: artifacts, then attestation sidecars and other metadata, then the repodata, then the ledger. What is published lists only
 * what was found at its place afterwards.
 * @throws FerryError for the first package that fails, unless the run keeps going; CopyError and others for what ends it
 */
export async function migrateSubdir(
  prepared: PreparedSubdir,
  context: MigrationContext,
): Promise<MigratedSubdir> {
  const { subdir, snapshot } = prepared;
  const { destination, reporter, signal } = context;
  for (const warning of prepared.warnings) reporter.warning?.(warning);
  const tally = new Tally(prepared, context);
  const marker = new Marker(prepared, context);
  const asksFirst = prepared.state.trust !== 'empty';
  const known = prepared.state.trust === 'vouched' && prepared.state.ledger?.shims === true;
  const shims = await ensureClientShims(destination, subdir, { known, signal });
  await forEachConcurrently(prepared.items, context, async (item) => {
    const beforeWriting = (): Promise<void> => marker.write();
    tally.add(await migrateItem(item, { ...context, asksFirst, beforeWriting }));
  });
  await forEachConcurrently(tally.written, context, async ([item, written]) => {
    const isThere = await isAtDestination(item, written.digest, context);
    tally.verify(item, written.held, isThere);
  });

  const isThere = (filename: string): boolean => tally.there.has(filename);
  const attested = attestedRecords(snapshot.repodata, isThere);
  const sidecars = await carrySidecars(attested, {
    ...context,
    source: context.channel,
    store: destination,
    subdir,
    asksFirst,
  });
  for (const failure of sidecars.failed) tally.holdBack(failure);
  await using composition = await composeRepodata({ snapshot, isThere }, context);
  const { unchanged } = composition;
  const contents = { subdir, unchanged, listed: tally.there, kept: new Map<string, string>() };
  const metadata = await carryMetadata(subdir, contents, context);
  const current = marker.isReduced ? undefined : publishedAlready(prepared.published, composition);
  const latest =
    current ??
    (await publishRepodata(subdir, composition, marker.ledger ?? ledgerOfRun(prepared, context), {
      ...context,
      store: destination,
    }));
  const { there, quarantine } = tally;
  const ledger = migratedLedger(
    prepared,
    { repodata: latest, composition, there, quarantine, shims },
    context,
  );
  if (marker.ledger !== undefined || current === undefined || !isSameLedger(ledger, prepared.state.ledger))
    await writeLedger(destination, ledger, { signal });
  await tally.verifyLatest(latest.digest);
  const publishedAs = current !== undefined ? 'kept' : composition.unchanged ? 'unchanged' : 'spliced';
  reporter.published?.(subdir, publishedAs);
  return { ...tally.report(), publishedAs, metadata };
}

/** The mark of a run that has begun to write; one that finds everything there writes nothing. */
class Marker {
  /** As it was written, or `undefined` before that. */
  ledger: Ledger | undefined;
  /** Whether records were taken out of the published repodata until their artifacts are replaced. */
  readonly isReduced: boolean;
  readonly #prepared: PreparedSubdir;
  readonly #context: MigrationContext;
  readonly #same: ReadonlySet<string>;
  #writing: Promise<void> | undefined;

  constructor(prepared: PreparedSubdir, context: MigrationContext) {
    this.#prepared = prepared;
    this.#context = context;
    const { repodata, listed } = prepared;
    const same = new Set<string>();
    let hasOther = false;
    for (const read of repodata.records()) {
      const identity = listed.get(read.filename);
      if ('record' in read && identity === archiveIdentity(read.record)) same.add(read.filename);
      else if (identity !== undefined) hasOther = true;
    }
    this.#same = same;
    this.isReduced = hasOther;
  }

  async write(): Promise<void> {
    this.#writing ??= this.#write();
    return this.#writing;
  }

  async #write(): Promise<void> {
    const { destination, signal, now } = this.#context;
    // From here on the destination may hold more than its ledger knows.
    const ledger = { ...ledgerOfRun(this.#prepared, this.#context), running: newRunning(now()) };
    await writeLedger(destination, ledger, { signal });
    this.ledger = ledger;
    if (!this.isReduced) return;
    // Published without them, replaced, published with them: nobody ever finds other bytes than are listed.
    const { snapshot, subdir } = this.#prepared;
    const isThere = (filename: string): boolean => this.#same.has(filename);
    await using reduced = await composeRepodata({ snapshot, isThere }, this.#context);
    const pushed = await publishRepodata(subdir, reduced, ledger, { ...this.#context, store: destination });
    this.ledger = { ...ledger, repodata: pushed.digest };
  }
}

/** What a subdir has come to so far. */
class Tally {
  /** Archives that are there: file name to identity. */
  readonly there = new Map<string, string>();
  /** Artifacts written by this run. */
  readonly written = new Map<
    MigrationItem,
    { readonly digest: Digest; readonly held: readonly RepodataRecord[] }
  >();
  readonly quarantine: Quarantined[] = [];
  readonly #failed: Failure[] = [];
  readonly #prepared: PreparedSubdir;
  readonly #context: MigrationContext;
  readonly #moved = { archives: 0, bytes: 0 };
  #wasThere = 0;
  #migrated = 0;
  #verified = 0;

  constructor(prepared: PreparedSubdir, context: MigrationContext) {
    this.#prepared = prepared;
    this.#context = context;
    const { only } = context;
    const { subdir, invalid, listed, repodata } = prepared;
    if (only !== undefined) {
      // Only a part is tried again: the rest stays as it is published.
      for (const [filename, identity] of listed)
        if (repodata.has(filename)) this.there.set(filename, identity);
      for (const { records } of prepared.items)
        for (const { filename } of records) this.there.delete(filename);
    }
    for (const failure of invalid) {
      if (only === undefined || only.get(subdir)?.has(failure.filename) === true)
        this.#fail(failure, new FerryError(failure.code, failure.message));
    }
  }

  /** @throws FerryError for the first package that failed, unless the run keeps going */
  add({ item, artifact, held, faults, moved }: ItemOutcome): void {
    this.#moved.archives += moved.archives;
    this.#moved.bytes += moved.bytes;
    const { subdir } = item;
    for (const record of held) {
      this.there.set(record.filename, archiveIdentity(record) ?? '');
      this.#context.reporter.archive?.({ subdir, filename: record.filename, bytes: record.size ?? 0 });
    }
    if (artifact?.isNew === true) {
      this.written.set(item, { digest: artifact.digest, held });
      this.#migrated += held.length;
    } else if (artifact !== undefined) {
      this.#wasThere += held.length;
      // The tag was just asked for.
      this.#verified += 1;
    }
    for (const { record, error } of faults) {
      const { filename } = record;
      this.#fail({ filename, code: error.code, message: messageOf(error) }, error, record);
    }
  }

  /** Takes in what was found at the place of an artifact after it was written. */
  verify(item: MigrationItem, held: readonly RepodataRecord[], isThere: boolean): void {
    if (isThere) {
      this.#verified += 1;
      return;
    }
    const { location } = this.#context.destination;
    const place = `${item.subdir}/${item.to.repository}:${item.to.tag}`;
    for (const record of held) {
      this.there.delete(record.filename);
      this.#migrated -= 1;
      const message = `\`${place}\` of \`${location}\` is not what was written there`;
      this.#note({ filename: record.filename, code: 'DIGEST_MISMATCH', message }, record);
    }
  }

  /** Leaves out a record whose sidecar is not there: listed, it would promise it. Its artifact stays. */
  holdBack(failure: Failure): void {
    const { filename, code, message } = failure;
    const records = this.#prepared.items.flatMap((item) => item.records);
    this.there.delete(filename);
    this.#fail(
      failure,
      new FerryError(code, message),
      records.find((record) => record.filename === filename),
    );
  }

  /** Looks whether the repodata's `latest` names what was published. */
  async verifyLatest(digest: Digest): Promise<void> {
    const { destination, signal } = this.#context;
    const repository = destination.metadataRepository(this.#prepared.subdir, 'repodata.json');
    if ((await repository.resolve(LATEST, { signal }))?.digest === digest) return;
    // Some registries tell another digest than that of the bytes.
    if ((await repository.fetchManifest(LATEST, { signal }))?.descriptor.digest === digest) return;
    const message = `\`${repository.name}:${LATEST}\` is not what was published`;
    this.#failed.push({ filename: 'repodata.json', code: 'TAG_MOVED', message });
  }

  report(): Omit<MigratedSubdir, 'publishedAs' | 'metadata'> {
    const { subdir, repodata, withheld, unlisted, warnings } = this.#prepared;
    return {
      subdir,
      listed: repodata.recordCount,
      there: this.#wasThere,
      migrated: this.#migrated,
      artifacts: this.written.size,
      moved: this.#moved,
      verified: this.#verified,
      failed: this.#failed.toSorted((a, b) => (a.filename < b.filename ? -1 : 1)),
      withheld,
      unlisted,
      warnings,
    };
  }

  #fail(failure: Failure, error: FerryError, record?: RepodataRecord): void {
    const { keepGoing, reporter } = this.#context;
    const { subdir } = this.#prepared;
    if (!keepGoing) {
      throw new FerryError(error.code, `\`${subdir}/${failure.filename}\` cannot be migrated`, {
        cause: error,
        hint: 'pass --keep-going to leave out what fails; the next run goes on from here',
      });
    }
    this.#note(failure, record);
    reporter.archive?.({ subdir, filename: failure.filename, bytes: record?.size ?? 0, failure });
  }

  #note({ filename, code, message }: Failure, record?: RepodataRecord): void {
    this.#failed.push({ filename, code, message });
    this.quarantine.push(quarantinedOf({ filename, code, message }, record));
  }
}
