/**
 * The specification as data: the clauses of both schemas and of the conda standards, read from `spec/clauses/`. What a
 * rule finds is always said under a clause's id.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { z } from 'zod';
import { FerryError } from '../errors.js';

const FOLDER = new URL('../../spec/clauses/', import.meta.url);

/** How much a breach matters: errors break the standard, warnings its advice, notes what it leaves open. */
export type Severity = 'error' | 'warning' | 'info';

/** What a clause is about; reports are grouped by it, in this order. */
export const AREAS = [
  'general',
  'channel',
  'namespaces',
  'names',
  'tags',
  'metadata',
  'layers',
  'annotations',
  'media-types',
  'archive',
  'info',
  'repodata',
  'shards',
  'run-exports',
  'patches',
  'channeldata',
  'notices',
  'attestations',
  'clients',
] as const;

/** One of {@link AREAS}. */
export type Area = (typeof AREAS)[number];

/** Whom a clause can bind: what a channel holds, or one who works with channels. */
const PARTIES = ['channel', 'mirror', 'reader', 'client', 'server', 'indexer', 'verifier'] as const;

const clauseSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9-]+\/[A-Za-z0-9-]+$/),
  level: z.enum(['MUST', 'MUST NOT', 'SHOULD', 'SHOULD NOT', 'MAY', 'note']),
  /** Said by the text, concluded from it, unclear in it, or known from what deployed tools do. */
  basis: z.enum(['literal', 'derived', 'ambiguous', 'practice']),
  /** Who has to keep it. */
  binds: z.enum(PARTIES).default('channel'),
  area: z.enum(AREAS),
  subject: z.string().min(1),
  text: z.string().min(1),
  source: z.string().min(1),
  /** Where the level alone would say something else. */
  severity: z.enum(['error', 'warning', 'info']).optional(),
  /** Ids of known defects of the clause. */
  defects: z.array(z.string()).optional(),
});

const documentSchema = z.strictObject({
  document: z.string(),
  title: z.string(),
  url: z.string(),
  revision: z.string(),
  clauses: z.array(clauseSchema),
});

/** Names a clause with its document: `v1/N3`, `v0/D2`, `cep36/record-size`. */
export type ClauseId = `${string}/${string}`;

/** A text that clauses come from. */
export interface SpecificationDocument {
  /** Begins the ids of its clauses: `v1`, `cep36`. */
  readonly document: string;
  readonly title: string;
  readonly url: string;
  /** Date, commit or version of the text. */
  readonly revision: string;
}

/** One clause of a specification. */
export interface Clause extends z.infer<typeof clauseSchema> {
  readonly id: ClauseId;
  /** Where it stands; shared by all clauses of the text. */
  readonly document: SpecificationDocument;
  /** How much a breach of it matters. */
  readonly severity: Severity;
}

let loaded: ReadonlyMap<string, Clause> | undefined;

/** All clauses, in the order they stand. @see spec/README.md */
export function allClauses(): readonly Clause[] {
  return [...load().values()];
}

/** Finds a clause. @throws FerryError `INTERNAL` where there is none with that id */
export function clauseOf(id: ClauseId): Clause {
  const clause = load().get(id);
  if (clause === undefined) throw new FerryError('INTERNAL', `there is no clause \`${id}\``);
  return clause;
}

function load(): ReadonlyMap<string, Clause> {
  loaded ??= new Map(
    readdirSync(FOLDER)
      .filter((name) => name.endsWith('.json'))
      .sort()
      .flatMap((name) => readDocument(new URL(name, FOLDER)))
      .map((clause) => [clause.id, clause]),
  );
  return loaded;
}

function readDocument(file: URL): readonly Clause[] {
  const { clauses, ...document } = documentSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  return clauses.map((clause) => ({
    ...clause,
    document,
    id: clause.id as ClauseId,
    severity: clause.severity ?? severityOf(clause),
  }));
}

/** Errors are what the text itself demands; what is concluded from it or advised warns; the rest informs. */
function severityOf({ level, basis }: z.infer<typeof clauseSchema>): Severity {
  if (basis === 'ambiguous' || level === 'MAY' || level === 'note') return 'info';
  return basis === 'literal' && (level === 'MUST' || level === 'MUST NOT') ? 'error' : 'warning';
}
