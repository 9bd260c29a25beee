import type { RunEnds } from '../queue/run-record.js';

/** What a run is about: `https://conda.example/ch to oci://ghcr.io/me/ch, schema v0, label dev`. */
export function runWords(ends: RunEnds): string {
  const { source = '?', destination = '?', schema, label } = ends;
  return [
    `${String(source)} to ${String(destination)}`,
    ...(schema === undefined ? [] : [`schema ${String(schema)}`]),
    ...(label === undefined ? [] : [`label ${String(label)}`]),
  ].join(', ');
}
