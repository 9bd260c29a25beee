/**
 * The style sheet that all pages share: light and dark, screen and paper, wide and narrow. Colours are said in words too:
 * not all see them, and not all printers have them.
 */
export const PAGE_STYLE = `
:root {
  color-scheme: light dark;
  --text: #1c2024; --dim: #5c636b; --page: #fff; --panel: #f5f6f8; --line: #d9dce1; --link: #0b57d0;
  --good: #14692f; --good-panel: #e6f4ea; --error: #b3161b; --error-panel: #fdeceb;
  --warning: #855300; --warning-panel: #fff4dc; --note: #2c5282; --note-panel: #e8f0fb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --text: #e6e8eb; --dim: #a2a9b2; --page: #15181c; --panel: #1e2227; --line: #363c44; --link: #8ab4f8;
    --good: #7ad391; --good-panel: #16301e; --error: #ff9a94; --error-panel: #3a1b1b;
    --warning: #f3bd5b; --warning-panel: #352a12; --note: #9dc1f5; --note-panel: #1b2a3f;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.5rem 1rem 3rem; max-width: 62rem; background: var(--page); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { margin: 0 0 1rem; font-size: 1.35rem; line-height: 1.3; }
h2 { margin: 2.25rem 0 .75rem; font-size: 1.15rem; }
code { font: .9em ui-monospace, 'SFMono-Regular', Menlo, Consolas, monospace; unicode-bidi: isolate; }
a { color: var(--link); }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; border-radius: 4px; }
.dim, footer { color: var(--dim); }
.verdict { padding: .9rem 1.1rem; border: 1px solid; border-left-width: .5rem; border-radius: 6px; }
.verdict strong { display: block; font-size: 1.3rem; line-height: 1.3; }
.verdict span { color: var(--text); }
.good { color: var(--good); background: var(--good-panel); }
.bad { color: var(--error); background: var(--error-panel); }
.partly { color: var(--warning); background: var(--warning-panel); }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: .15rem .9rem; margin: 0; }
dt { color: var(--dim); }
dd { margin: 0; }
.facts { margin: 1.1rem 0 0; }
table { width: 100%; border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { padding-bottom: .4rem; color: var(--dim); text-align: left; }
th, td { padding: .35rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
th { font-weight: 600; overflow-wrap: normal; }
th.number, td.number { text-align: right; white-space: nowrap; }
td.none { color: var(--dim); }
tbody th { font-weight: 400; }
tfoot th, tfoot td { border-bottom: 0; font-weight: 600; }
td.error, .error .badge { color: var(--error); }
td.warning, .warning .badge { color: var(--warning); }
td.note, .note .badge { color: var(--note); }
td.error, td.warning, td.note { font-weight: 600; }
details { margin: .6rem 0; border: 1px solid var(--line); border-radius: 6px; }
summary { padding: .6rem .9rem; border-radius: 6px; background: var(--panel); cursor: pointer; }
summary .head { font-weight: 600; }
details table { margin: 0; }
details > table th, details > table td { padding-left: .9rem; }
.rest { margin: 0; padding: .6rem .9rem; color: var(--dim); }
footer { margin-top: 2.5rem; font-size: .9rem; }
@media (max-width: 34rem) {
  body { padding: 1rem .75rem 2rem; }
  table { font-size: .85rem; }
  th, td { padding: .35rem .2rem; }
  dl { column-gap: .5rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  summary, li, tr { break-inside: avoid; }
  h2, summary { break-after: avoid; }
}
`;
