/**
 * Mends a subdir: artifacts first, then the repodata, the ledger last. Whatever is killed, what was right stays right,
 * and the next repair goes on from there.
 */
import { filtersDigest, firstLedger, writeLedger, type Ledger } from '../../artifact/ledger.js';
import { LATEST, moveLatest } from '../../artifact/metadata-artifact.js';
import type { ChannelSource } from '../../conda/channel-source.js';
import type { RepodataRecord } from '../../conda/package-record.js';
import { FerryError, messageOf } from '../../errors.js';
import { forEachConcurrently } from '../../io/pool.js';
import type { Descriptor } from '../../oci/descriptor.js';
import type { Composition } from '../compose.js';
import { publishRepodata, pushRepodata } from '../publish.js';
import { spoolBlob } from '../spooled-text.js';
import type { Published } from '../state.js';
import { removeDamaged } from '../transfer.js';
import { checkLedger } from './check-ledger.js';
import { checkPlace, type PlaceAudit } from './check-place.js';
import { checkRepodata, type RepodataAudit } from './check-repodata.js';
import { readSource } from './compare-source.js';
import type { Finding } from './findings.js';
import { isRepairable, repairPlace } from './repair-place.js';
import type { Unrepaired } from './report.js';
import type { VerifyContext } from './verify-context.js';

/** What is known of a subdir before it is mended. */
export interface SubdirFaults {
  readonly subdir: string;
  readonly repodata: RepodataAudit;
  readonly ledger: Ledger | undefined;
  readonly ledgerFindings: readonly Finding[];
  /** Artifacts with findings. */
  readonly places: readonly PlaceAudit[];
  /** Records that no artifact can hold. */
  readonly unusable: readonly Finding[];
  /** Whether every artifact was looked at. */
  readonly isWhole: boolean;
}

/** What is wrong after that, in the same parts. */
export interface SubdirRepair extends Omit<SubdirFaults, 'ledger' | 'isWhole' | 'subdir'> {
  readonly unrepaired: readonly Unrepaired[];
  readonly dropped: readonly string[];
}

/** What to mend with. */
export interface RepairOptions {
  readonly source: ChannelSource;
  /** Take what is not to be had out of the repodata. */
  readonly dropMissing: boolean;
}

/**
 * Mends what can be mended.
 * @throws CopyError where the destination or the source fails as a whole; FerryError `TAG_MOVED` where somebody else
 * published meanwhile, `DISK_FULL`
 */
export async function repairSubdir(
  faults: SubdirFaults,
  options: RepairOptions,
  context: VerifyContext,
): Promise<SubdirRepair> {
  const repair = new Repair(faults, options, context);
  await repair.run();
  return repair;
}

class Repair implements SubdirRepair {
  repodata: RepodataAudit;
  ledgerFindings: readonly Finding[];
  places: readonly PlaceAudit[];
  unusable: readonly Finding[];
  readonly unrepaired: Unrepaired[] = [];
  dropped: readonly string[] = [];
  readonly #faults: SubdirFaults;
  readonly #options: RepairOptions;
  readonly #context: VerifyContext;
  #sourceRecords: Promise<ReadonlyMap<string, RepodataRecord> | undefined> | undefined;

  constructor(faults: SubdirFaults, options: RepairOptions, context: VerifyContext) {
    this.#faults = faults;
    this.#options = options;
    this.#context = context;
    this.repodata = faults.repodata;
    this.ledgerFindings = faults.ledgerFindings;
    this.places = faults.places;
    this.unusable = faults.unusable;
  }

  async run(): Promise<void> {
    await this.#repairPlaces();
    const { latest, published } = this.repodata;
    if (latest === undefined || published === undefined) return;
    const isPublished = await this.#repairRepodata(published);
    await this.#repairLedger(isPublished);
  }

  get #subdir(): string {
    return this.#faults.subdir;
  }

  /** Listed archives that are not there. */
  get #missing(): readonly string[] {
    const bad = this.places.flatMap(({ place, bad }) =>
      place.archives.filter(({ record, isListed }) => isListed && bad.has(record.filename)),
    );
    return [...bad.map(({ record }) => record.filename), ...this.unusable.map(({ filename }) => filename)];
  }

  /** Whether all that is listed was looked at, and is there: only then may a ledger say so. */
  get #isSound(): boolean {
    return this.#faults.isWhole && this.#missing.length === 0;
  }

  #source(): Promise<ReadonlyMap<string, RepodataRecord> | undefined> {
    this.#sourceRecords ??= readSource(this.#options.source, this.#subdir, this.#context);
    return this.#sourceRecords;
  }

  async #repairPlaces(): Promise<void> {
    const { source } = this.#options;
    const open = this.places.filter(isRepairable);
    if (open.length === 0) return;
    this.#context.reporter.repairing?.(this.#subdir, open.length, source.url);
    const sourceRecords = await this.#source();
    const after = new Map<PlaceAudit, PlaceAudit>();
    await forEachConcurrently(open, this.#context, async (audit) => {
      const outcomes = await repairPlace(audit, source, sourceRecords, this.#context);
      // Some stores keep what they have, whatever they are sent.
      const now = await checkPlace(audit.place, this.#context);
      after.set(audit, now);
      for (const { record, ...result } of outcomes) {
        const { filename } = record;
        if (result.outcome === 'failed') {
          this.unrepaired.push({ filename, code: result.error.code, message: messageOf(result.error) });
        } else if (now.bad.has(filename)) {
          const message = 'it was sent, and the store keeps what it had: delete that there first';
          this.unrepaired.push({ filename, code: 'REGISTRY_REFUSED', message });
        }
      }
    });
    this.places = this.places.map((audit) => after.get(audit) ?? audit);
  }

  /** @returns whether repodata was published */
  async #repairRepodata(published: Published): Promise<boolean> {
    const drop = new Set(this.#options.dropMissing ? this.#missing : []);
    const isTorn = this.repodata.findings.length > 0;
    if (drop.size === 0 && !isTorn) return false;
    const { found } = published;
    await using composition = await this.#compose(published, drop);
    for (const layer of this.repodata.damaged) await removeDamaged(found.repository, layer, this.#context);
    this.places = this.places.map((audit) => without(audit, ({ filename }) => drop.has(filename)));
    this.unusable = this.unusable.filter(({ filename }) => !drop.has(filename));
    this.dropped = [...drop].sort();
    await this.#publish(composition);
    this.repodata = await checkRepodata(this.#subdir, this.#context);
    return true;
  }

  async #compose({ repodata, open }: Published, drop: ReadonlySet<string>): Promise<Composition> {
    const [unchanged, zst] = [false, undefined];
    if (drop.size > 0) {
      const blob = await spoolBlob(
        repodata.splice((filename) => !drop.has(filename)),
        this.#context.temp,
      );
      return { ...blob, unchanged, zst };
    }
    const { digest, size } = repodata;
    return { open, digest, size, unchanged, zst, [Symbol.asyncDispose]: async () => Promise.resolve() };
  }

  /** Where not all is there, no ledger speaks of what is published, so that the next mirror run looks for itself. */
  async #publish(composition: Composition): Promise<void> {
    if (this.#isSound) {
      await publishRepodata(this.#subdir, composition, await this.#vouchingLedger(undefined), this.#context);
      return;
    }
    const { store, now } = this.#context;
    const historyTag = store.schema.historyTag(now());
    const pushed = await pushRepodata(this.#subdir, composition, { ...this.#context, historyTag });
    await moveLatest(store, this.#subdir, 'repodata.json', pushed, this.#context);
  }

  async #repairLedger(isPublished: boolean): Promise<void> {
    const lostKept = this.places.some(({ findings }) => findings.some(({ code }) => code === 'LEDGER_KEPT'));
    const isWrong =
      isPublished || lostKept || this.ledgerFindings.some(({ severity }) => severity === 'fault');
    if (!isWrong) return;
    const { latest } = this.repodata;
    if (this.#isSound && latest !== undefined) {
      const { store, signal } = this.#context;
      const repository = store.metadataRepository(this.#subdir, 'repodata.json');
      const now = (await repository.fetchManifest(LATEST, { signal }))?.descriptor.digest;
      if (now !== latest.digest) {
        throw new FerryError('TAG_MOVED', `\`${repository.name}:${LATEST}\` was written by somebody else`, {
          hint: 'run the command again: it looks at what is there now',
        });
      }
      await writeLedger(store, await this.#vouchingLedger(latest), { signal });
      this.places = this.places.map((audit) => without(audit, ({ code }) => code === 'LEDGER_KEPT'));
    }
    const { findings } = await checkLedger(this.#subdir, latest, this.#context);
    this.ledgerFindings = findings;
  }

  /** A ledger that is true of what was found, and lets the next mirror run look at its source anew. */
  async #vouchingLedger(latest: Descriptor | undefined): Promise<Ledger> {
    const { store } = this.#context;
    const { source } = this.#options;
    const before =
      this.#faults.ledger ?? firstLedger(store, this.#subdir, { kind: 'mirror', source: source.url });
    const isOurs =
      this.#faults.ledger !== undefined && before.repodata === this.#faults.repodata.latest?.digest;
    const isTouched =
      this.ledgerFindings.some(({ severity }) => severity === 'fault') || this.dropped.length > 0;
    const { running: _, source: seen, repodata: __, ...rest } = before;
    const lost = new Set(this.places.flatMap(({ bad }) => [...bad]));
    const dropped = new Set(this.dropped);
    const kept = Object.entries(before.kept).filter(([filename]) => !lost.has(filename));
    return {
      ...rest,
      schema: store.schema.id,
      filters: filtersDigest(store),
      ...(seen === undefined || isTouched ? {} : { source: seen }),
      ...(latest === undefined ? {} : { repodata: latest.digest }),
      unchanged: before.unchanged && isOurs && this.dropped.length === 0,
      complete: before.complete && isOurs && this.dropped.length === 0,
      kept: Object.fromEntries(kept),
      foreign: (isOurs ? before.foreign : await this.#foreign()).filter((filename) => !dropped.has(filename)),
    };
  }

  /** Listed archives that are not the source's: the next mirror run must not take them for removed. */
  async #foreign(): Promise<readonly string[]> {
    const source = await this.#source();
    const listed = this.repodata.published?.repodata.filenames() ?? [];
    return [...listed].filter((filename) => source?.has(filename) !== true);
  }
}

/** An artifact without the findings of some archives. */
function without(audit: PlaceAudit, isGone: (finding: Finding) => boolean): PlaceAudit {
  const gone = new Set(audit.findings.filter(isGone).map(({ filename }) => filename));
  return {
    ...audit,
    findings: audit.findings.filter((finding) => !isGone(finding)),
    bad: new Set([...audit.bad].filter((filename) => !gone.has(filename))),
  };
}
