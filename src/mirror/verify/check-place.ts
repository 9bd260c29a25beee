/** One artifact against the records that point to it. */
import type { RepodataRecord } from '../../conda/package-record.js';
import { layersOf, type PackageArtifactLayers } from '../../artifact/package-artifact.js';
import { FerryError, IntegrityError, isFerryError, messageOf } from '../../errors.js';
import type { Bytes } from '../../io/bytes.js';
import { sha256Digest } from '../../io/digest.js';
import type { Descriptor } from '../../oci/descriptor.js';
import { parseImageManifest, type ImageManifest } from '../../oci/manifest.js';
import type { Repository } from '../../oci/storage.js';
import { takeRoom } from '../archive-room.js';
import { receiveArchive } from '../receive.js';
import { readFault } from './check-repodata.js';
import { finding, type Finding, type FindingCode } from './findings.js';
import type { Place, PlacedArchive } from './places.js';
import { faultOrThrow, type VerifyContext } from './verify-context.js';

/** What one artifact turned out to be. */
export interface PlaceAudit {
  readonly place: Place;
  readonly findings: readonly Finding[];
  /** Archives that are not as they should be, by file name. */
  readonly bad: ReadonlySet<string>;
  /** Whether its info or index layer is missing or damaged, or the config. */
  readonly isBare: boolean;
  /** Package layers that are as they should be, by the archive's file name. */
  readonly good: ReadonlyMap<string, Descriptor>;
  /** Blobs that the manifest names and that are not there, or damaged. */
  readonly lost: ReadonlySet<string>;
  /** Package layers that no record points to; they must not be lost. */
  readonly strangers: PackageArtifactLayers['packages'];
  /** Content that is there and damaged: it has to make room before it can be written again. */
  readonly damaged: readonly Descriptor[];
}

/** Looks at one artifact. @throws what the store throws where it cannot be asked */
export async function checkPlace(place: Place, context: VerifyContext): Promise<PlaceAudit> {
  const look = new PlaceLook(place, context);
  await look.run();
  return look;
}

class PlaceLook implements PlaceAudit {
  readonly place: Place;
  readonly findings: Finding[] = [];
  readonly bad = new Set<string>();
  isBare = false;
  readonly good = new Map<string, Descriptor>();
  readonly lost = new Set<string>();
  strangers: PackageArtifactLayers['packages'] = [];
  readonly damaged: Descriptor[] = [];
  readonly #context: VerifyContext;
  readonly #repository: Repository;

  constructor(place: Place, context: VerifyContext) {
    this.place = place;
    this.#context = context;
    this.#repository = context.store.packageRepository(place.subdir, place.place);
  }

  async run(): Promise<void> {
    const manifest = await this.#readManifest();
    if (manifest === undefined) return;
    const layers = layersOf(manifest);
    const expected = new Set(this.place.archives.map(({ record }) => record.extension));
    this.strangers = layers.packages.filter(({ extension }) => !expected.has(extension));
    for (const archive of this.place.archives) await this.#checkArchive(archive, layers);
    await this.#checkRest(manifest, layers);
  }

  get #where(): string {
    return `${this.#repository.name}:${this.place.place.tag}`;
  }

  async #readManifest(): Promise<ImageManifest | undefined> {
    const { signal } = this.#context;
    const { tag } = this.place.place;
    try {
      // Some registries cannot read for a moment what others are writing: absence is believed the second time.
      const stored =
        (await this.#repository.fetchManifest(tag, { signal })) ??
        (await this.#repository.fetchManifest(tag, { signal }));
      if (stored !== undefined) {
        await this.#checkManifest(stored.descriptor);
        return parseImageManifest(stored.bytes);
      }
      this.#addToAll('ARTIFACT_MISSING', `\`${this.#where}\` is not there`);
    } catch (error) {
      const fault = await faultOrThrow(error, this.place.subdir, this.#context);
      if (isFerryError(fault, 'DIGEST_MISMATCH') || isFerryError(fault, 'SIZE_EXCEEDED')) {
        const damaged = await this.#repository.resolve(tag, { signal });
        if (damaged !== undefined) this.damaged.push(damaged);
      }
      this.#addToAll('MANIFEST_UNREADABLE', `\`${this.#where}\`: ${messageOf(fault)}`);
    }
    return undefined;
  }

  /**
   * By tag, a registry's bytes are taken for what they are, since not every registry tells the right digest. One that
   * has other bytes under the digest it tells has damaged ones.
   * @throws IntegrityError `DIGEST_MISMATCH`
   */
  async #checkManifest({ digest }: Descriptor): Promise<void> {
    if (this.#context.depth !== 'deep') return;
    const { signal } = this.#context;
    const told = await this.#repository.resolve(this.place.place.tag, { signal });
    if (told !== undefined && told.digest !== digest)
      await this.#repository.fetchManifest(told.digest, { signal });
  }

  async #checkArchive(archive: PlacedArchive, { packages }: PackageArtifactLayers): Promise<void> {
    const { record } = archive;
    const wanted = record.sha256 === undefined ? undefined : sha256Digest(record.sha256);
    const layers = packages
      .filter(({ extension }) => extension === record.extension)
      .map(({ descriptor }) => descriptor);
    const layer = layers.find(({ digest }) => digest === wanted) ?? layers[0];
    if (layer === undefined) {
      this.#add(archive, 'LAYER_MISSING', `\`${this.#where}\` does not hold it`);
      return;
    }
    const difference = differenceOf(record, layer, this.#context.store.schema.md5Annotation);
    if (difference !== undefined) {
      this.#add(archive, 'LAYER_DIFFERS', `\`${this.#where}\` ${difference}`);
      return;
    }
    // Of what is only kept, nobody relies on more than the ledger does.
    const depth = this.#context.depth === 'deep' && !archive.isListed ? 'full' : this.#context.depth;
    if (depth === 'deep') await this.#readArchive(archive, layer);
    else if (depth === 'manifests' || (await this.#checkBlob(layer, archive))) {
      this.good.set(record.filename, layer);
    }
  }

  /** Reads an archive: its bytes against the record, and its `info/index.json` against its name and place. */
  async #readArchive(archive: PlacedArchive, layer: Descriptor): Promise<void> {
    const { record } = archive;
    const source = { openArchive: (): Bytes => this.#repository.fetch(layer, this.#context) };
    try {
      using _ = await takeRoom(this.#context.temp, [record], this.#context);
      await using received = await receiveArchive(record, { ...this.#context, source, uploadTo: undefined });
      const { md5 } = received.packed.layer;
      this.good.set(record.filename, layer);
      if (record.md5 === undefined || record.md5 === md5) return;
      const message = `its md5 is ${md5}, where ${record.md5} is listed; the sha256 is the listed one`;
      this.findings.push(finding('ARCHIVE_WRONG', this.#whereOf(archive), message, false));
    } catch (error) {
      if (isFerryError(error) && /^(?:ARCHIVE_|RECORD_INVALID)/.test(error.code)) {
        this.good.set(record.filename, layer);
        const message = `${error.message} (${error.code})`;
        this.findings.push(finding('ARCHIVE_WRONG', this.#whereOf(archive), message, false));
        return;
      }
      this.#addBlobFault(layer, await faultOrThrow(error, this.place.subdir, this.#context), archive);
    }
  }

  /** Info, index and config: no client reads them, and all that is made out of artifacts does. */
  async #checkRest({ config }: ImageManifest, { info, index }: PackageArtifactLayers): Promise<void> {
    const leader = this.#leader();
    if (info === undefined || index === undefined) {
      const lacks = [info === undefined ? 'info' : '', index === undefined ? 'index' : ''].filter(Boolean);
      this.isBare = true;
      this.#add(leader, 'INFO_MISSING', `\`${this.#where}\` has no ${lacks.join(' and no ')} layer`);
    }
    if (this.#context.depth === 'manifests') return;
    for (const blob of [info, index, config]) {
      if (blob === undefined) continue;
      const isThere =
        this.#context.depth === 'deep'
          ? await this.#readBlob(blob, leader)
          : await this.#checkBlob(blob, leader);
      if (!isThere) this.isBare = true;
    }
  }

  async #checkBlob(blob: Descriptor, archive: PlacedArchive): Promise<boolean> {
    try {
      if (await this.#repository.exists(blob, this.#context)) return true;
      this.lost.add(blob.digest);
      this.#add(archive, 'BLOB_MISSING', this.#describe(blob));
    } catch (error) {
      this.#addBlobFault(blob, await faultOrThrow(error, this.place.subdir, this.#context), archive);
    }
    return false;
  }

  async #readBlob(blob: Descriptor, archive: PlacedArchive): Promise<boolean> {
    const fault = await readFault(this.place.subdir, blob, this.#repository, this.#context);
    if (fault !== undefined) this.#addBlobFault(blob, fault, archive);
    return fault === undefined;
  }

  #addBlobFault(blob: Descriptor, fault: FerryError, archive: PlacedArchive): void {
    this.lost.add(blob.digest);
    if (fault.code === 'NOT_FOUND') {
      this.#add(archive, 'BLOB_MISSING', this.#describe(blob));
      return;
    }
    this.damaged.push(blob);
    const found = fault instanceof IntegrityError ? `it is ${fault.actual}` : messageOf(fault);
    this.#add(archive, 'BLOB_DAMAGED', `${this.#describe(blob)}: ${found}`);
  }

  #describe({ mediaType, digest }: Descriptor): string {
    return `\`${this.#where}\`, ${mediaType.replace('application/vnd.conda.', '')} ${digest}`;
  }

  /** The archive that info and index come from; a fault of theirs is told of it. */
  #leader(): PlacedArchive {
    const { archives } = this.place;
    const leader = archives.find(({ record }) => record.extension === 'conda') ?? archives[0];
    if (leader === undefined) throw new FerryError('INTERNAL', `\`${this.#where}\` has no archive`);
    return leader;
  }

  #addToAll(code: FindingCode, message: string): void {
    this.isBare = true;
    for (const archive of this.place.archives) this.#add(archive, code, message);
  }

  #add(archive: PlacedArchive, code: FindingCode, message: string): void {
    const { filename } = archive.record;
    const isOwn = code !== 'INFO_MISSING' && !this.good.has(filename);
    if (isOwn) this.bad.add(filename);
    // What is only kept is the ledger's to know of: mending that is striking it out.
    const asKept = !archive.isListed && isOwn ? 'LEDGER_KEPT' : code;
    const found = finding(asKept, this.#whereOf(archive), message, true);
    this.findings.push(found);
  }

  #whereOf({ record }: PlacedArchive): Pick<Finding, 'subdir' | 'filename'> {
    return { subdir: this.place.subdir, filename: record.filename };
  }
}

function differenceOf(record: RepodataRecord, layer: Descriptor, md5Annotation: string): string | undefined {
  const wanted = record.sha256 === undefined ? undefined : sha256Digest(record.sha256);
  if (wanted !== undefined && layer.digest !== wanted) return `holds ${layer.digest}, listed is ${wanted}`;
  if (record.size !== undefined && layer.size !== record.size) {
    return `holds ${String(layer.size)} bytes, listed are ${String(record.size)}`;
  }
  const md5 = layer.annotations?.[md5Annotation];
  // With a sha256, only reading the bytes tells which of the two md5 is wrong.
  if (wanted !== undefined || record.md5 === undefined || md5 === undefined || md5 === record.md5)
    return undefined;
  return `holds md5:${md5}, listed is md5:${record.md5}`;
}
