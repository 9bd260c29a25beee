/** Files of our own in the folder of a plain channel. Both who mirrors into it and who indexes it know them. */

/** Whoever writes to the channel holds it. */
export const FOLDER_LOCK = '.conda-ferry-export.lock';
/** What a mirror into the folder remembers. */
export const EXPORT_STATE = '.conda-ferry-export.json';
/** Folder of what `index` remembers of archives, to be made anew at any time. */
export const INDEX_CACHE = '.conda-ferry/index';
