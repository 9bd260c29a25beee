import { visibleText } from './visible-text.js';

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Text longer than this is cut, so that one absurd name does not make a report that no browser opens. */
const MAX_LENGTH = 2000;

/** Makes untrusted text fit for the content or a quoted attribute of HTML and XML 1.0; what is unseen becomes visible. */
export function escapeMarkup(text: string): string {
  return visibleText(text, MAX_LENGTH).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}
