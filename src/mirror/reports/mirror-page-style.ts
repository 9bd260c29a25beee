/** What the page of a mirror has beside the style of all pages. */
export const MIRROR_PAGE_STYLE = `
:root { --bar: #2f6fd0; }
@media (prefers-color-scheme: dark) { :root { --bar: #7fb0ff; } }
figure { margin: 0 0 1.5rem; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; gap: 0 1rem; margin-bottom: .4rem; }
.bars { display: block; width: 100%; height: 7rem; border-bottom: 1px solid var(--line); }
.bars .slot { fill: var(--panel); }
.bars .bar { fill: var(--bar); }
.bars .cut { opacity: .55; }
.bars .mark { fill: var(--error); opacity: .45; }
.axis { display: flex; justify-content: space-between; color: var(--dim); font-size: .85rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 22rem), 1fr)); gap: 0 2rem; }
.columns h3 { margin: .5rem 0; font-size: 1rem; }
time { white-space: nowrap; }
td.code { white-space: nowrap; }
ul { margin: 0; padding-left: 1.2rem; }
@media (max-width: 34rem) {
  .cards, .cards tbody { display: block; }
  .cards thead { position: absolute; clip-path: inset(50%); width: 1px; height: 1px; overflow: hidden; }
  .cards tr { display: grid; grid-template-columns: 1fr 1fr; column-gap: 1.2rem; padding: .5rem 0; border-bottom: 1px solid var(--line); }
  .cards th, .cards td { display: flex; justify-content: space-between; gap: .6rem; padding: .1rem 0; border: 0; text-align: right; }
  .cards th, .cards .wide { display: block; grid-column: 1 / -1; text-align: left; }
  .cards th { font-weight: 600; }
  .cards .wide[data-label]::before { margin-right: .6rem; }
  .cards time { white-space: nowrap; }
td.code { white-space: normal; }
  .cards td::before { content: attr(data-label); color: var(--dim); font-weight: 400; }
  .cards td.number { white-space: normal; }
  .cards .empty { display: none; }
}
`;
