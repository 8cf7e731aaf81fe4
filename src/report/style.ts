// The page's style: system type, one column, colours for light and dark from the same names. Text has a contrast of at
// least 4.5, marks of at least 3, against their background.

/** Goes into the page's style element. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1e22; --soft: #565d66; --rule: #d4d8dd; --tint: #f3f5f7;
  --c0: #8790a0; --c1: #0b62c4; --c2: #b8540a; --c3: #0a7a58; --c4: #8a3ab9; --c5: #a31f4d;
  --good: #0a6e45; --bad: #a8201a; --warn: #fff4d6; --warn-rule: #c98a00;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --paper: #15181b; --ink: #e4e7ea; --soft: #a3abb4; --rule: #363c43; --tint: #1f2327;
    --c0: #808b9a; --c1: #5ba8ff; --c2: #ff9d57; --c3: #4cc79a; --c4: #c792ea; --c5: #ff7fa3;
    --good: #5fd0a0; --bad: #ff8a80; --warn: #33290f; --warn-rule: #d9a520;
  }
}
* { box-sizing: border-box; }
html { background: var(--paper); color: var(--ink); -webkit-text-size-adjust: 100%; }
body {
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif;
  max-width: 54rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem;
}
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0 0 .4rem; font-weight: 650; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 3rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--rule); font-weight: 650; }
h3 { font-size: 1rem; margin: 2rem 0 .5rem; font-weight: 650; overflow-wrap: anywhere; }
p { margin: 0 0 .75rem; max-width: 42rem; }
.small, figcaption + .small { color: var(--soft); font-size: .875rem; }
data { white-space: nowrap; }
.none { color: var(--soft); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 1rem; margin: 1.5rem 0 0; }
.facts div { border-top: 3px solid var(--c1); padding-top: .5rem; }
.facts dt { color: var(--soft); font-size: .875rem; }
.facts dd { margin: 0; font-size: 1.25rem; line-height: 1.3; font-weight: 600; font-variant-numeric: tabular-nums; }
.facts dd small { display: block; font-size: .875rem; font-weight: 400; color: var(--soft); }
.warnings { background: var(--warn); border-left: 4px solid var(--warn-rule); padding: .75rem 1rem; margin: 1.5rem 0 0; }
.warnings ul { margin: 0; padding-left: 1.1rem; }
nav { margin: 1.5rem 0 0; font-size: .9375rem; }
nav a { margin-right: 1rem; white-space: nowrap; }
a { color: var(--c1); text-underline-offset: .15em; }
figure { margin: 1rem 0 1.25rem; break-inside: avoid; }
figcaption, caption { font-weight: 600; font-size: .9375rem; text-align: left; margin-bottom: .4rem; }
caption { padding: 0 0 .4rem; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 .5rem; padding: 0; font-size: .875rem; }
svg { display: block; overflow: visible; }
.legend svg { display: inline-block; margin-right: .4rem; }
svg text { font-size: 13px; fill: var(--ink); }
svg text.tick, svg text.value { font-size: 12px; fill: var(--soft); font-variant-numeric: tabular-nums; }
.plot { display: flex; }
.plot .axis { flex: none; width: 3.75rem; }
.plot .area { flex: 1; min-width: 0; }
.grid { stroke: var(--rule); stroke-width: 1; }
.f0 { fill: var(--c0); } .f1 { fill: var(--c1); } .f2 { fill: var(--c2); }
.f3 { fill: var(--c3); } .f4 { fill: var(--c4); } .f5 { fill: var(--c5); }
.l0, .l1, .l2, .l3, .l4, .l5 { stroke-width: 1.75; stroke-linejoin: round; }
.l0 { fill: none; stroke: var(--c0); } .l1 { fill: none; stroke: var(--c1); }
.l2 { fill: none; stroke: var(--c2); stroke-dasharray: 7 3; } .l3 { fill: none; stroke: var(--c3); stroke-dasharray: 2 3; }
.l4 { fill: none; stroke: var(--c4); stroke-dasharray: 9 3 2 3; } .l5 { fill: none; stroke: var(--c5); stroke-dasharray: 12 5; }
.scroll { overflow-x: auto; margin: 0 0 1.25rem; }
table { border-collapse: collapse; font-size: .875rem; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--rule); vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
th { font-weight: 600; }
thead th { vertical-align: bottom; color: var(--soft); border-bottom: 1px solid var(--soft); }
tbody th { font-weight: 400; unicode-bidi: isolate; overflow-wrap: anywhere; min-width: 7rem; }
.left, tbody th, thead th:first-child, tfoot th { text-align: left; }
tfoot td, tfoot th { font-weight: 600; border-bottom: 0; }
td { white-space: nowrap; unicode-bidi: isolate; }
td.left { white-space: normal; overflow-wrap: anywhere; min-width: 7rem; }
details { margin: 0 0 1.25rem; }
summary { cursor: pointer; color: var(--c1); font-size: .9375rem; padding: .2rem 0; }
details > .scroll, details > pre { margin-top: .5rem; }
pre { background: var(--tint); padding: .75rem 1rem; font-size: .8125rem; line-height: 1.45; overflow-x: auto; white-space: pre-wrap; overflow-wrap: anywhere; }
pre, code { font-family: ui-monospace, "Cascadia Mono", Menlo, Consolas, "DejaVu Sans Mono", "Liberation Mono", monospace; }
.samples { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: 1rem; }
.sample { border: 1px solid var(--rule); border-radius: 6px; padding: .9rem; break-inside: avoid; min-width: 0; }
.sample img { display: inline-block; height: 7rem; max-width: 100%; object-fit: contain; object-position: left; margin: 0 .5rem .5rem 0; background: var(--tint); outline: 1px solid var(--rule); }
.sample p { white-space: pre-line; overflow-wrap: anywhere; unicode-bidi: isolate; font-size: .9375rem; }
.sample dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem .9rem; margin: 0; font-size: .875rem; }
.sample dt { color: var(--soft); }
.sample dd { margin: 0; overflow-wrap: anywhere; white-space: pre-line; unicode-bidi: isolate; }
.right { color: var(--good); } .wrong { color: var(--bad); }
.mark { white-space: nowrap; font-weight: 600; }
footer { margin-top: 3rem; padding-top: .75rem; border-top: 1px solid var(--rule); }
@media (max-width: 30rem) {
  body { padding-top: 1.5rem; }
  .plot .axis { width: 3.25rem; }
}
@media print {
  :root { color-scheme: light; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  h2, h3, figcaption, caption { break-after: avoid; }
  tr, .facts { break-inside: avoid; }
  .scroll { overflow: visible; }
  details:not([open])::details-content { content-visibility: visible; display: block; block-size: auto; }
  .samples { display: block; } .sample { margin-bottom: .75rem; }
  .warnings, .f0, .f1, .f2, .f3, .f4, .f5 { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
}
`;
