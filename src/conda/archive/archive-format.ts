/** The two archive formats, as their file names end: `.conda` and `.tar.bz2`. @see CEP 35 */
export type ArchiveFormat = 'conda' | 'tar.bz2';

/** Tells the format from the end of a file name, such as `conda` for `zlib-1.2.11-h7b6447c_3.conda`. */
export function archiveFormatOf(filename: string): ArchiveFormat | undefined {
  if (filename.endsWith('.conda')) return 'conda';
  return filename.endsWith('.tar.bz2') ? 'tar.bz2' : undefined;
}
