/**
 * Where an archive lies by `info.base_url`: in front of its file name, or of the `url` of its record. An absolute `url`
 * stands for itself.
 * @returns `https://example.org/files/a-1-0.conda`; relative where the base is
 * @see CEP 15; CEP draft, conda/ceps pull 151
 */
export function archiveUrl(base: string, filename: string, url?: string): string {
  const path = url ?? encodeURIComponent(filename);
  return /^[a-z][a-z0-9+.-]*:/i.test(path) ? path : `${base.replace(/\/+$/, '')}/${path}`;
}
