/**
 * Which folder of `src` may import which; `errors.ts` and `io` are open to all. Lint and a test both read it.
 * @type {Readonly<Record<string, readonly string[]>>}
 */
export const importTable = {
  io: [],
  http: [],
  oci: [],
  conda: [],
  registry: ['oci', 'http'],
  'image-layout': ['oci'],
  channel: ['conda', 'http'],
  artifact: ['oci', 'conda'],
  conformance: ['artifact', 'oci', 'conda'],
  provenance: ['artifact', 'oci', 'conda'],
  publish: ['conformance', 'provenance', 'artifact', 'oci', 'conda'],
  mirror: ['publish', 'conformance', 'provenance', 'artifact', 'oci', 'conda'],
  serve: ['mirror', 'publish', 'conformance', 'provenance', 'artifact', 'oci', 'conda'],
  queue: ['mirror', 'publish', 'conformance', 'provenance', 'artifact', 'oci', 'conda'],
  cli: [
    'http',
    'oci',
    'conda',
    'registry',
    'image-layout',
    'channel',
    'artifact',
    'conformance',
    'provenance',
    'publish',
    'mirror',
    'serve',
    'queue',
  ],
};
