/** What the HTML report of a check has beside the style of all pages. */
export const HTML_STYLE = `
summary code { margin-right: .35rem; }
summary .head code { margin: 0; }
summary .count { color: var(--dim); white-space: nowrap; }
.badge {
  display: inline-block; margin-right: .35rem; padding: 0 .5rem; border: 1px solid; border-radius: 1rem;
  font-size: .8rem; font-weight: 600;
}
.error .badge { background: var(--error-panel); }
.warning .badge { background: var(--warning-panel); }
.note .badge { background: var(--note-panel); }
.clause { margin: 0; padding: .7rem .9rem; }
.clause p { margin: 0 0 .3rem; }
ol { margin: 0; padding: 0; list-style: none; }
li { padding: .6rem .9rem; border-top: 1px solid var(--line); }
li .where { font-weight: 600; }
.rest { border-top: 1px solid var(--line); }
@media print {
  .clause { break-after: avoid; }
  details.findings::details-content { display: block; content-visibility: visible; block-size: auto; }
  .passed { display: none; }
}
`;
