/** What the gateway's pages have beside the style of all pages. */
export const PAGES_STYLE = `
.skip { position: absolute; left: -100vw; padding: .5rem 1rem; background: var(--panel); }
.skip:focus { left: .5rem; top: .5rem; }
a:focus-visible, button:focus-visible, input:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
dd, td, th, li, h1, h2, h3 { unicode-bidi: isolate; }
header { margin-bottom: 1.25rem; }
.trail { display: flex; flex-wrap: wrap; gap: .15rem .5rem; margin: 0; padding: 0; list-style: none; }
.trail li + li::before { content: '/'; margin-right: .5rem; color: var(--dim); }
h3 { margin: 1.25rem 0 .4rem; font-size: 1rem; }
h1 code, h3 code { font-size: .95em; font-weight: 700; }
.facts { margin: 0 0 1rem; }
.summary { margin: 0 0 1rem; font-size: 1.1rem; }
.notice { margin: 0 0 1rem; padding: .6rem .9rem; border: 1px solid; border-radius: 6px; }
.verdict p { margin: .4rem 0 0; color: var(--text); }
ul { margin: 0; padding-left: 1.2rem; }
form { margin: 1.25rem 0; }
label { display: block; margin-bottom: .3rem; font-weight: 600; }
form div { display: flex; flex-wrap: wrap; gap: .5rem; }
input, button { min-height: 2.75rem; padding: .4rem .75rem; border: 1px solid var(--dim); border-radius: 6px; font: inherit; }
input { flex: 1 1 12rem; min-width: 0; max-width: 32rem; background: var(--page); color: var(--text); }
button { background: var(--link); border-color: var(--link); color: var(--page); font-weight: 600; cursor: pointer; }
pre {
  margin: 0; padding: .6rem .9rem; border: 1px solid var(--line); border-radius: 6px; background: var(--panel);
  white-space: pre-wrap; overflow-wrap: anywhere;
}
details pre { border-width: 1px 0 0; border-radius: 0 0 6px 6px; }
.commands { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: .75rem 1.25rem; }
.commands h3 { margin: 0 0 .3rem; font-size: .95rem; font-weight: 600; }
.letters { display: flex; flex-wrap: wrap; gap: .25rem; margin: .75rem 0; padding: 0; list-style: none; }
.letters a { display: block; min-width: 2rem; padding: .25rem .5rem; border: 1px solid var(--line); border-radius: 6px; text-align: center; }
.names { padding: 0; list-style: none; columns: 17rem auto; column-gap: 2rem; }
.names li { padding: .2rem 0; break-inside: avoid; }
.names .dim { font-size: .85rem; }
.pager { display: flex; flex-wrap: wrap; gap: .5rem 1.25rem; margin: 1.25rem 0; }
.builds { padding: 0; list-style: none; }
.builds details > .facts, .builds details > .actions { margin: 0; padding: .6rem .9rem; }
.builds .actions + .facts { padding-top: 0; }
.builds .of { margin-right: .75rem; color: var(--dim); font-size: .9rem; }
.builds .of:empty { display: none; }
.builds .file { margin-right: .75rem; }
.builds summary .file code { font-weight: 600; }
.tag { display: inline-block; padding: 0 .5rem; border: 1px solid; border-radius: 1rem; color: var(--note); font-size: .8rem; }
.actions { display: flex; flex-wrap: wrap; gap: .4rem 1.25rem; margin: 0 0 1rem; }
.specs { padding: 0; list-style: none; }
time { white-space: nowrap; }
.files tbody th { width: 45%; }
.from { display: block; min-width: 10rem; color: var(--dim); overflow-wrap: anywhere; }
td.whole, td.state { overflow-wrap: normal; }
td.state code { overflow-wrap: break-word; }
.nowrap { white-space: nowrap; }
td.digest { color: var(--dim); font-size: .8rem; }
@media (max-width: 34rem) {
  .facts { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dd { margin-bottom: .5rem; }
}
@media not all and (min-width: 60rem) {
  .cards, .cards tbody, .cards caption { display: block; }
  .cards thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .cards .from { min-width: 0; }
  .cards tr { display: grid; grid-template-columns: 1fr 1fr; column-gap: 1.2rem; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .cards th, .cards td { display: flex; justify-content: space-between; gap: .6rem; padding: .1rem 0; border: 0; text-align: right; }
  .cards th, .cards .wide { display: block; grid-column: 1 / -1; width: auto; text-align: left; }
  .cards th { font-weight: 600; }
  .cards td::before { content: attr(data-label); color: var(--dim); }
  .cards .wide::before { margin-right: .6rem; }
  .cards td.number { white-space: normal; }
  .cards .empty { display: none; }
}
@media (forced-colors: active) { .tag, .notice, .verdict { border-color: currentColor; } }
@media print { .skip, form, .pager, .letters { display: none; } }
`;
