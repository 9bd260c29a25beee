/**
 * The sidecar with an archive's attestations, as a document: its bundles by their form, and the statements in them against
 * the archive. Whether a signature holds, and who signed, is not looked at: that takes a verifier with keys and trust.
 */
import type { CheckLog } from '../check-log.js';
import { checkDocument } from '../documents.js';
import { parseBoundedJson } from '../parse-json.js';
import { asJsonObject, isJsonObject, pointTo, quote, type JsonObject } from './json-value.js';

/** Values of a sidecar, or of a statement in it. */
const MAX_VALUES = 1_000_000;
const BUNDLE_TYPE =
  /^application\/vnd\.dev\.sigstore\.bundle(?:\.v\d+\.\d+)?\+json(?:;version=\d+(?:\.\d+)*)?$/;
const IN_TOTO = 'application/vnd.in-toto+json';
/** Statements of conda's own kinds; those of others may stand in the same file, by rules of their own. */
const CONDA_PREDICATES = 'https://schemas.conda.org/';
const BASE64_PATTERN = /^[A-Za-z0-9+/_-]+={0,2}$/;

/** What {@link checkSidecar} looks at. */
export interface SidecarSubject {
  readonly bytes: Uint8Array;
  /** The archive, as the repodata lists it. */
  readonly filename: string;
  /** Its SHA-256 in lower-case hex, where the record has one. */
  readonly sha256: string | undefined;
  /** The place of the sidecar, such as `noarch/foo-1.0-0.conda.sigs`. */
  readonly where: string;
}

/** Checks a sidecar: an array of Sigstore bundles, and what they state of the archive. */
export function checkSidecar(subject: SidecarSubject, log: CheckLog): void {
  const { bytes, where } = subject;
  const bundles = readArray(bytes);
  log.expect('cep142/array', typeof bundles !== 'string', () => ({
    where,
    found: String(bundles),
    expected: 'a JSON array of Sigstore bundles',
  }));
  if (typeof bundles === 'string') return;
  log.expect('cep142/not-empty', bundles.length > 0, () => ({
    where,
    found: 'an empty array',
    expected: 'at least one bundle, or neither the sidecar nor `attestations_sha256` of the record',
  }));
  for (const [position, bundle] of bundles.entries()) checkBundle(bundle, position, subject, log);
}

/** Tells whether a file is a sidecar that holds something. */
export function hasAttestations(bytes: Uint8Array): boolean {
  const bundles = readArray(bytes);
  return typeof bundles !== 'string' && bundles.length > 0;
}

/** The elements, or why there are none. */
function readArray(bytes: Uint8Array): readonly unknown[] | string {
  const parsed = parseBoundedJson(bytes, MAX_VALUES);
  if (!('value' in parsed)) return parsed.message;
  return Array.isArray(parsed.value) ? parsed.value : 'no array';
}

function checkBundle(bundle: unknown, position: number, subject: SidecarSubject, log: CheckLog): void {
  const where = pointTo(subject.where, position);
  const fault = bundleFault(bundle);
  const isBundle = log.expect('cep142/bundle', fault === undefined, () => ({
    where,
    found: fault ?? '',
    expected: 'a Sigstore bundle',
  }));
  if (!isBundle) return;
  const { dsseEnvelope: envelope, verificationMaterial: material } = asJsonObject(bundle);
  const entries = asJsonObject(material)['tlogEntries'];
  const isLogged = Array.isArray(entries) && entries.length > 0;
  log.expect('cep27/signed', envelope !== undefined && isLogged, () => ({
    where,
    found: envelope === undefined ? 'no DSSE envelope' : 'no entry of a transparency log',
    expected: 'a DSSE envelope, with proof from the transparency log',
  }));
  if (envelope !== undefined) checkPayload(asJsonObject(envelope), position, subject, log);
}

/** What a bundle lacks of the form that Sigstore's have. @see https://github.com/sigstore/protobuf-specs */
function bundleFault(bundle: unknown): string | undefined {
  if (!isJsonObject(bundle)) return quote(bundle);
  const { mediaType, verificationMaterial: material, dsseEnvelope: envelope, messageSignature } = bundle;
  if (typeof mediaType !== 'string' || !BUNDLE_TYPE.test(mediaType))
    return `\`mediaType\` ${quote(mediaType)}`;
  if (!isJsonObject(material)) return 'no `verificationMaterial`';
  if (envelope === undefined) return isJsonObject(messageSignature) ? undefined : 'no `dsseEnvelope`';
  if (!isJsonObject(envelope)) return `\`dsseEnvelope\` ${quote(envelope)}`;
  const { payload, payloadType, signatures } = envelope;
  if (typeof payload !== 'string' || !BASE64_PATTERN.test(payload)) return 'a `payload` that is no base64';
  if (typeof payloadType !== 'string') return 'no `payloadType`';
  return Array.isArray(signatures) && signatures.some(isJsonObject) ? undefined : 'no `signatures`';
}

function checkPayload(envelope: JsonObject, position: number, subject: SidecarSubject, log: CheckLog): void {
  const { payload, payloadType } = envelope;
  const where = pointTo(subject.where, position, 'dsseEnvelope', 'payload');
  const parsed = parseBoundedJson(Buffer.from(String(payload), 'base64'), MAX_VALUES);
  const statement = 'value' in parsed ? parsed.value : undefined;
  const isStatement = log.expect(
    'cep27/statement-type',
    payloadType === IN_TOTO && isJsonObject(statement),
    () => ({
      where,
      found: payloadType === IN_TOTO ? 'no JSON object' : `a payload of type ${quote(payloadType)}`,
      expected: 'an in-toto statement',
    }),
  );
  if (!isStatement || !isJsonObject(statement)) return;
  const { predicateType } = statement;
  if (typeof predicateType === 'string' && !predicateType.startsWith(CONDA_PREDICATES)) return;
  checkDocument('publish-attestation', statement, where, log);
  checkSubject(statement, subject, where, log);
}

/** Whether the statement speaks of this archive; what has no subject of the right form, the schema has said. */
function checkSubject(
  statement: JsonObject,
  { filename, sha256 }: SidecarSubject,
  where: string,
  log: CheckLog,
): void {
  const subjects = statement['subject'];
  if (!Array.isArray(subjects) || subjects.length !== 1) return;
  const { name, digest } = asJsonObject(subjects[0]);
  if (typeof name === 'string' && /\.(?:conda|tar\.bz2)$/.test(name) && !name.includes('/')) {
    log.expect('cep27/subject-name', name === filename, () => ({
      where: pointTo(where, 'subject', 0, 'name'),
      found: quote(name),
      expected: `\`${filename}\`, the archive that the sidecar lies beside`,
    }));
  }
  const stated = asJsonObject(digest)['sha256'];
  if (sha256 === undefined || typeof stated !== 'string' || !/^[0-9a-f]{64}$/.test(stated)) return;
  log.expect('cep27/subject-digest', stated === sha256, () => ({
    where: pointTo(where, 'subject', 0, 'digest', 'sha256'),
    found: quote(stated),
    expected: `\`${sha256}\`, as the record of the archive says`,
  }));
}
