"""The look of the report page: light and dark by the reader's own setting, phone to laptop."""

CSS = """
:root {
  color-scheme: light dark; --bg: #f6f7f9; --card: #fff; --ink: #1f2328; --soft: #5b6470; --line: #dfe3e8;
  --accent: #0b62a8; --bar: #cfe3f5; --warn: #fff6e0; --warnline: #e2b63f; --code: #f0f2f5;
  --edge: rgb(0 0 0 / 22%); --blue: #0072b2
}
@media (prefers-color-scheme: dark) {
  :root {
    --bg: #0f1216; --card: #171b21; --ink: #e3e7ec; --soft: #9aa4b0; --line: #2b323b;
    --accent: #74b7f2; --bar: #1f4568; --warn: #2b2412; --warnline: #8a6d1f; --code: #20262e;
    --edge: rgb(255 255 255 / 28%); --blue: #4fa9e6
  }
}
* { box-sizing: border-box }
body {
  margin: 0; background: var(--bg); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif
}
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 48px }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 4px }
h2 { font-size: 1.15rem; margin: 0 0 10px }
h2.search { font-size: 1.35rem; margin: 34px 0 0; padding-top: 10px; border-top: 2px solid var(--line) }
p { margin: 6px 0 }
a, summary { color: var(--accent) }
.soft { color: var(--soft) }
.small, figcaption, footer { font-size: .87rem }
.lead { font-size: 1.05rem; margin: 0 0 16px }
section {
  background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px;
  margin: 16px 0
}
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px 20px;
  margin: 0
}
.facts dt { color: var(--soft); font-size: .78rem; text-transform: uppercase; letter-spacing: .04em }
.facts dd { margin: 0; font-weight: 600; overflow-wrap: anywhere }
details .facts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 380px), 1fr)); margin-top: 10px }
.facts + .scroll, .facts + details { margin-top: 14px }
.scroll {
  overflow-x: auto;
  background:  /* a shade where there is more beyond an edge; covers in the card's colour move with what is scrolled */
    linear-gradient(to right, var(--card) 40%, transparent) 0 0 / 36px 100% local no-repeat,
    linear-gradient(to left, var(--card) 40%, transparent) 100% 0 / 36px 100% local no-repeat,
    linear-gradient(to right, var(--edge), transparent) 0 0 / 12px 100% scroll no-repeat,
    linear-gradient(to left, var(--edge), transparent) 100% 0 / 12px 100% scroll no-repeat
}
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td {
  padding: 7px 12px 7px 0; border-bottom: 1px solid var(--line); text-align: right;
  white-space: nowrap
}
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 9rem }
th { color: var(--soft); font-weight: 500; font-size: .87rem }
table.left th, table.left td { text-align: left }
tbody tr:last-child td { border-bottom: 0 }
tr.first td { font-weight: 600 }
tr.first td:first-child { color: var(--accent) }
td.bar { min-width: 130px; width: 32%; padding-right: 0 }
td.bar i {
  display: block; height: 12px; border-radius: 3px; background: var(--bar); width: calc(var(--v) * 1%)
}
tr.first td.bar i { background: var(--accent) }
figure { margin: 0 }
.plot { position: relative; width: 100%; max-width: var(--w); min-width: var(--min) }
.plot svg, .small-plot svg { display: block; width: 100%; height: auto }
.plot svg.points { position: absolute; inset: 0; height: 100% }
.points circle { fill: transparent; stroke: none; outline: none }
.points .on, .points :focus-visible { stroke: var(--ink); stroke-width: 2 }
.points .open { stroke: var(--accent); stroke-width: 2.5 }
.tip {
  position: fixed; z-index: 9; max-width: min(620px, calc(100vw - 16px)); padding: 8px 11px; pointer-events: none;
  background: var(--card); border: 1px solid var(--soft); border-radius: 8px; font-size: .87rem;
  box-shadow: 0 4px 14px rgb(0 0 0 / 25%)
}
.tip p { margin: 4px 0 0; color: var(--soft); overflow-wrap: anywhere }
.small-plot { width: 580px; max-width: 100% }
.detail { margin-top: 16px; padding: 14px 16px; border: 2px solid var(--accent); border-radius: 10px }
.detail h3 { margin: 0 0 8px; font-size: 1rem }
.detail p, .detail pre { overflow-wrap: anywhere }
button {
  font: inherit; font-size: .87rem; padding: 5px 12px; border: 1px solid var(--soft); border-radius: 6px;
  background: var(--code); color: var(--ink); cursor: pointer
}
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
.code { position: relative }
.code .over { position: absolute; top: 4px; right: 4px; padding: 3px 9px }
.code pre { padding-right: 84px; white-space: pre-wrap; overflow-wrap: anywhere }
figcaption { color: var(--soft); margin-top: 4px }
.grid {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 420px), 1fr));
  gap: 18px 24px
}
.grid > figure { min-width: 0 }
.grid + figure { margin-top: 20px }
.note {
  background: var(--warn); border: 1px solid var(--warnline); border-radius: 10px; padding: 12px 18px;
  margin: 16px 0;
  overflow-wrap: anywhere
}
.note ul { margin: 4px 0 0; padding-left: 20px }
pre {
  background: var(--code); border-radius: 6px; padding: 9px 12px; margin: 4px 0 12px; overflow-x: auto;
  font: 13px/1.5 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace
}
details { margin-top: 12px }
summary { cursor: pointer }
footer { color: var(--soft); margin-top: 20px }
@media (max-width: 600px) {
  main { padding: 18px 8px 32px }
  section { padding: 14px 12px; border-radius: 8px }
  .detail { padding: 12px }
  h1 { font-size: 1.35rem }
  td.bar, th.bar { display: none }
  th, td { padding-right: 9px; font-size: .87rem }
  th:first-child, td:first-child { min-width: 6.4rem }
  th:last-child, td:last-child, th:has(+ .bar), td:has(+ .bar) { padding-right: 0 }
  .code pre { padding: 38px 12px 9px }
  .tip .small-plot { display: none }
}
@media print { body { background: #fff } section { break-inside: avoid } }
"""
