/** Programs of others that `scripts/peers.mjs` builds, and where it says they are. */
const VARIABLES = {
  oras: 'CONDA_FERRY_PEER_ORAS',
  olareg: 'CONDA_FERRY_PEER_OLAREG',
  distribution: 'CONDA_FERRY_PEER_DISTRIBUTION',
  conformance: 'CONDA_FERRY_PEER_CONFORMANCE',
} as const;

/** A program of others to test with. */
export type Peer = keyof typeof VARIABLES;

/** Path of a peer's program. */
export function peer(name: Peer): string {
  const path = process.env[VARIABLES[name]];
  if (path !== undefined && path !== '') return path;
  throw new Error(
    `no ${name} to test with: run \`npm run test:interop\`, which builds it (Go is needed), or set ${VARIABLES[name]} to its path`,
  );
}
