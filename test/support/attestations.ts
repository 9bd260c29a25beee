/** What an in-toto statement says, to be bent. */
export type Statement = Record<string, unknown>;

/** A publish attestation of an archive. @see CEP 27 */
export function statementOf(filename: string, sha256: string): Statement {
  return {
    _type: 'https://in-toto.io/Statement/v1',
    subject: [{ name: filename, digest: { sha256 } }],
    predicateType: 'https://schemas.conda.org/attestations-publish-1.schema.json',
    predicate: { targetChannel: 'https://ferry.example/channel' },
  };
}

/** A Sigstore bundle around a statement, as far as its form goes: nobody signed it. */
export function bundleOf(statement: unknown): Record<string, unknown> {
  return {
    mediaType: 'application/vnd.dev.sigstore.bundle.v0.3+json',
    verificationMaterial: { tlogEntries: [{ logIndex: '1' }], certificate: { rawBytes: 'AAAA' } },
    dsseEnvelope: {
      payload: Buffer.from(JSON.stringify(statement)).toString('base64'),
      payloadType: 'application/vnd.in-toto+json',
      signatures: [{ sig: 'AAAA' }],
    },
  };
}

/** A sidecar with these bundles. */
export function sidecarOf(...bundles: readonly unknown[]): Uint8Array {
  return Buffer.from(JSON.stringify(bundles));
}
