// Attention playground: one query, a few keys and values in the plane (chapter 01).
// One ES module with no dependency; Jupyter, Colab and the static page all run this file.

// Nested in a list with an id, which lifts the specificity over whatever a host page says of tables and paragraphs.
const CSS = `
.attention-playground, #ap-above-host-styles {
  --q: var(--course-query, var(--ap-query, #D55E00));
  --k: var(--course-key, var(--ap-key, #0072B2));
  --v: var(--course-value, var(--ap-value, #009E73));
  --o: var(--course-output, var(--ap-output, #CC79A7));
  --ink: var(--course-ink, var(--jp-content-font-color1, var(--colab-primary-text-color, currentColor)));
  --muted: var(--course-muted, color-mix(in srgb, var(--ink) 72%, var(--paper)));
  --paper: var(--course-paper, var(--jp-layout-color0, var(--colab-primary-surface-color, #fff)));
  --line: var(--course-line, color-mix(in srgb, var(--ink) 18%, var(--paper)));
  --edge: var(--course-line-strong, color-mix(in srgb, var(--ink) 50%, var(--paper)));
  container-type: inline-size;
  box-sizing: border-box; width: 100%; min-width: 0;
  color: var(--ink); font-family: var(--course-ui, inherit); font-size: 14px; line-height: 1.45; text-align: left;
  font-variant-numeric: tabular-nums;
  :is(body[data-jp-theme-light="false"], html[theme="dark"], body.vscode-dark) & {
    --ap-query: #F28A3C; --ap-key: #56B4E9; --ap-value: #2CC79A; --ap-output: #E19AC3;
  }
  *, *::before { box-sizing: border-box; }
  .ap-grid {
    display: grid; gap: 14px 22px; padding: 5px; grid-template-columns: minmax(0, 1fr);
    grid-template-areas: "query" "values" "weights" "controls" "readout";
  }
  .ap-query { grid-area: query; }
  .ap-values { grid-area: values; }
  .ap-weights { grid-area: weights; }
  .ap-controls { grid-area: controls; }
  .ap-readout { grid-area: readout; }
  section { min-width: 0; margin: 0; }
  p { max-width: none; }
  .ap-head {
    display: flex; flex-wrap: wrap; align-items: center; justify-content: space-between; gap: 0 10px;
    min-height: 30px; margin: 0 0 4px; padding: 0;
  }
  .ap-title { font-weight: 650; font-size: 14px; }
  .ap-formula { color: var(--muted); font-size: 13px; white-space: nowrap; }
  svg {
    display: block; width: 100%; aspect-ratio: 6 / 5; overflow: hidden;
    background: var(--paper); border: 1px solid var(--line); border-radius: 8px;
    user-select: none; -webkit-user-select: none; -webkit-tap-highlight-color: transparent;
  }
  .ap-query svg { cursor: crosshair; }
  .ap-dragging svg { cursor: grabbing; }
  text {
    font-size: 13px; font-weight: 600; fill: var(--ink);
    text-anchor: middle; dominant-baseline: central; pointer-events: none;
  }
  .ap-halo { paint-order: stroke; stroke: var(--paper); stroke-width: 4px; stroke-linejoin: round; }
  .ap-tick { font-size: 11px; font-weight: 400; fill: var(--muted); text-anchor: start; }
  .ap-gridline { stroke: var(--line); stroke-width: 1; opacity: .55; shape-rendering: crispEdges; }
  .ap-axis { stroke: var(--muted); stroke-width: 1; opacity: .55; shape-rendering: crispEdges; }
  .ap-shaft { stroke-width: 2.25; stroke-linecap: round; fill: none; }
  .ap-k .ap-shaft { stroke: var(--k); }
  .ap-k .ap-tip { fill: var(--k); stroke: var(--paper); stroke-width: .75; }
  .ap-k .ap-hit { stroke: transparent; stroke-width: 16; fill: none; }
  .ap-off .ap-shaft { stroke-dasharray: 2 5; }
  svg .ap-off { opacity: .55; }
  .ap-foot { stroke: var(--k); stroke-width: 1.5; stroke-dasharray: 1 4; stroke-linecap: round; opacity: 0; }
  .ap-footdot { fill: var(--paper); stroke: var(--k); stroke-width: 1.75; opacity: 0; }
  .ap-ray { stroke: var(--q); stroke-width: 1.25; stroke-dasharray: 1 5; stroke-linecap: round; opacity: .75; }
  .ap-q .ap-shaft { stroke: var(--q); stroke-width: 3; }
  .ap-q .ap-tip { fill: var(--q); }
  .ap-handle { cursor: grab; touch-action: none; outline: none; }
  .ap-dragging .ap-handle { cursor: grabbing; }
  .ap-handle .ap-reach { fill: transparent; touch-action: none; }
  .ap-handle .ap-glow { fill: var(--q); opacity: .2; transition: opacity .15s; }
  .ap-handle:hover .ap-glow, .ap-dragging .ap-glow { opacity: .38; }
  .ap-handle .ap-disc { fill: var(--q); stroke: var(--paper); stroke-width: 1.5; }
  .ap-handle text { fill: #111; font-style: italic; font-weight: 700; font-size: 15px; }
  .ap-handle .ap-ring { fill: none; stroke: var(--ink); stroke-width: 2.5; opacity: 0; }
  .ap-handle:focus-visible .ap-ring { opacity: 1; }
  .ap-hull { fill: color-mix(in srgb, var(--v) 9%, transparent); stroke: var(--v); stroke-width: 1.25;
    stroke-dasharray: 5 4; stroke-linejoin: round; opacity: .8; }
  .ap-string { stroke: var(--o); stroke-linecap: round; opacity: .5; }
  .ap-v .ap-blob { fill: var(--v); opacity: .42; }
  .ap-v .ap-dot { fill: var(--v); stroke: var(--paper); stroke-width: 1; }
  .ap-v.ap-off .ap-dot { fill: var(--paper); stroke: var(--v); stroke-width: 1.5; stroke-dasharray: 2 2; }
  .ap-o path { fill: var(--o); stroke: var(--ink); stroke-width: 1.5; stroke-linejoin: round; }
  .ap-lit .ap-shaft { stroke-width: 3.5; }
  .ap-lit .ap-foot, .ap-lit .ap-footdot { opacity: 1; }
  .ap-lit .ap-blob { opacity: .7; }
  .ap-string.ap-lit { opacity: .95; }
  table { width: 100%; min-width: 0; margin: 0; font-family: inherit; line-height: inherit; border-collapse: collapse; border: 0; font-size: 14px; table-layout: fixed;
    background: none; color: inherit; }
  :is(thead, tbody, tr, th, td) { background: none; border: 0; color: inherit; }
  :is(th, td) { padding: 0; height: 30px; vertical-align: middle; text-align: left; font-weight: 400; }
  thead th { height: 22px; color: var(--muted); font-size: 12px; white-space: nowrap; }
  col:nth-child(1) { width: 78px; }
  col:nth-child(2) { width: 58px; }
  col:nth-child(4) { width: 52px; }
  :is(th, td):nth-child(2) { text-align: right; padding-right: 12px; }
  .ap-weight { text-align: right; font-weight: 600; }
  tbody tr.ap-lit { background: color-mix(in srgb, var(--k) 10%, transparent); }
  tbody label { display: flex; align-items: center; gap: 8px; min-height: 28px; margin: 0; padding: 0 0 0 2px; cursor: pointer; font-weight: 600; }
  input[type="checkbox"] { width: 18px; height: 18px; margin: 0; accent-color: var(--k); cursor: pointer; flex: none; }
  .ap-track { height: 14px; border-radius: 3px; background: color-mix(in srgb, var(--ink) 8%, transparent); overflow: hidden; }
  .ap-fill { height: 100%; width: 100%; transform-origin: 0 50%; background: var(--k); border-radius: 0 2px 2px 0; }
  tr.ap-off .ap-track { background: repeating-linear-gradient(135deg, color-mix(in srgb, var(--ink) 16%, transparent) 0 2px, transparent 2px 6px); }
  tr.ap-off .ap-score { color: var(--muted); text-decoration: line-through; }
  .ap-shared { margin: 4px 0 0; color: var(--muted); font-size: 13px; }
  .ap-controls { border: 0; padding: 0; }
  .ap-slider { display: grid; grid-template-columns: 62px minmax(0, 1fr) 50px; align-items: center; gap: 0 8px; min-height: 30px; }
  .ap-slider label { display: contents; font-weight: 400; }
  .ap-slider output { text-align: right; font-weight: 600; }
  input[type="range"] { appearance: none; -webkit-appearance: none; width: 100%; height: 28px; margin: 0; padding: 0;
    background: transparent; border: 0; cursor: pointer; border-radius: 6px; --thumb: var(--ink); }
  .ap-of-q input[type="range"] { --thumb: var(--q); }
  input[type="range"]::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: var(--edge); }
  input[type="range"]::-moz-range-track { height: 4px; border-radius: 2px; background: var(--edge); }
  input[type="range"]::-webkit-slider-thumb { -webkit-appearance: none; width: 20px; height: 20px; margin-top: -8px; border-radius: 50%;
    background: var(--thumb); border: 2px solid var(--paper); box-shadow: 0 0 0 1px var(--thumb); }
  input[type="range"]::-moz-range-thumb { width: 18px; height: 18px; border-radius: 50%; background: var(--thumb); border: 2px solid var(--paper);
    box-shadow: 0 0 0 1px var(--thumb); }
  .ap-presets { display: grid; grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 6px; margin: 4px 0 0; }
  button { display: inline-flex; align-items: center; justify-content: center; min-height: 30px; margin: 0; padding: 0 10px; font: inherit; font-size: 13px; line-height: 1; color: var(--ink); background: transparent;
    border: 1px solid var(--edge); border-radius: 15px; cursor: pointer; white-space: nowrap; }
  button:hover { background: color-mix(in srgb, var(--ink) 8%, transparent); }
  button[aria-pressed="true"] { background: var(--ink); color: var(--paper); border-color: var(--ink); }
  .ap-reset { margin-left: auto; border-radius: 6px; }
  :is(input, button):focus-visible { outline: 2.5px solid var(--ink); outline-offset: 2px; }
  .ap-readout { margin: 0; padding: 10px 12px; border-left: 3px solid var(--o); border-radius: 0 6px 6px 0;
    background: color-mix(in srgb, var(--ink) 5%, transparent); min-height: 150px; font-size: 14px; }
  .ap-readout span { display: block; }
  .ap-note { font-weight: 600; margin-bottom: 2px; }
  @container (min-width: 500px) {
    .ap-grid { grid-template-columns: repeat(2, minmax(0, 1fr));
      grid-template-areas: "query values" "weights controls" "readout readout"; }
    svg { aspect-ratio: 1; }
    .ap-readout { min-height: 86px; }
  }
  @container (min-width: 940px) {
    .ap-grid { grid-template-columns: minmax(0, 1fr) 264px minmax(0, 1fr); gap: 14px 24px;
      grid-template-areas: "query weights values" "query controls values" "readout readout readout"; grid-template-rows: auto 1fr auto; }
    :is(.ap-query, .ap-values) { display: flex; flex-direction: column; }
    svg { flex: 1 1 0; min-height: 280px; aspect-ratio: auto; }
    .ap-readout { min-height: 66px; }
  }
  @media (forced-colors: active) {
    svg { forced-color-adjust: none; }
    .ap-fill { background: Highlight; forced-color-adjust: none; }
    .ap-track { border: 1px solid CanvasText; }
    input[type="range"] { appearance: auto; -webkit-appearance: auto; }
    button[aria-pressed="true"] { border-width: 3px; }
  }
  @media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
}
`;

const SVG = "http://www.w3.org/2000/svg";

/** h("tag.class", {attributes}, ...children): an HTML element; s(...): the same in SVG. */
function build(create, spec, attributes, children) {
  const [tag, ...classes] = spec.split(".");
  const node = create(tag);
  if (classes.length) node.setAttribute("class", classes.join(" "));
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, value);
  node.append(...children);
  return node;
}
const h = (spec, attributes, ...children) => build((tag) => document.createElement(tag), spec, attributes, children);
const s = (spec, attributes, ...children) => build((tag) => document.createElementNS(SVG, tag), spec, attributes, children);
const put = (node, attributes) => { for (const name in attributes) node.setAttribute(name, attributes[name]); };

const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
const dot = (a, b) => a[0] * b[0] + a[1] * b[1];
const round = (x, digits) => Math.round(x * 10 ** digits) / 10 ** digits + 0;

/** A number with a true minus sign and no "−0.00". */
function show(x, digits) {
  const text = Math.abs(x).toFixed(digits);
  return (x < 0 && Number(text) !== 0 ? "−" : "") + text;
}
const point = (p) => `(${show(p[0], 2)}, ${show(p[1], 2)})`;

/** softmax(scale * q.k) over the keys that may be attended to, and the weighted average of the values. */
export function attend({ query, keys, values, scale, mask }) {
  const scores = keys.map((key) => dot(query, key));
  const top = Math.max(...scores.filter((_, i) => mask[i]).map((x) => scale * x));
  const powers = scores.map((x, i) => (mask[i] ? Math.exp(scale * x - top) : 0));
  const total = powers.reduce((a, b) => a + b, 0);
  const weights = powers.map((x) => (total > 0 ? x / total : 0));
  const output = [0, 1].map((c) => values.reduce((sum, value, i) => sum + weights[i] * value[c], 0));
  const entropy = -weights.reduce((sum, w) => sum + (w > 0 ? w * Math.log(w) : 0), 0);
  return { scores, weights, output, entropy, allowed: mask.some(Boolean) };
}

/** The state in words. */
function describe({ query, scale, mask }, { weights, output, entropy, allowed }) {
  const start = `Query ${point(query)}, scale ${show(scale, 3)}. `;
  if (!allowed) return `${start}No key may be attended to: every weight is 0 and the output is the zero vector (0.00, 0.00).`;
  const each = weights.map((w, i) => `k${i + 1} ${show(w, 3)}${mask[i] ? "" : " (masked)"}`).join(", ");
  return `${start}Weights: ${each}, as if ${show(Math.exp(entropy), 1)} keys shared the weight. Output ${point(output)}.`;
}

/** One sentence on what is worth seeing in this state. */
function remark({ query, keys, scale, mask }, { scores, weights, allowed }) {
  const some = mask.map((ok, i) => (ok ? i : -1)).filter((i) => i >= 0);
  const best = (list) => some.reduce((a, b) => (list[b] > list[a] ? b : a), some[0]);
  const size = Math.hypot(...query);
  if (!allowed) return "Nothing to attend to: no weights to share out, so no average.";
  if (some.length === 1) return `Only k${some[0] + 1} is left: it gets all the weight, whatever the query.`;
  if (scale === 0) return "Scale 0: every allowed key weighs the same, and the output is the plain average.";
  if (size < 0.05) return "A query of length zero prefers no key: the output is the plain average.";
  const winner = best(weights);
  if (weights[winner] > 0.99) return `Almost one-hot: the output has all but become v${winner + 1}.`;
  const cosines = keys.map((key, i) => scores[i] / (Math.hypot(...key) * size || 1));
  const nearest = best(cosines);
  if (nearest !== winner && weights[winner] - weights[nearest] > 0.02) {
    return `k${nearest + 1} points closest to the query, yet k${winner + 1} wins: a longer key makes a larger dot product.`;
  }
  return "The output is a weighted average: it never leaves the outlined region.";
}

/** Convex hull of a few points, counter-clockwise. */
function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (list) => {
    const out = [];
    for (const p of list) {
      while (out.length > 1) {
        const [a, b] = out.slice(-2);
        if ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0) break;
        out.pop();
      }
      out.push(p);
    }
    return out;
  };
  if (sorted.length < 3) return sorted;
  return [...half(sorted).slice(0, -1), ...half(sorted.reverse()).slice(0, -1)];
}

/** Shaft and head of an arrow between two pixels; the head shrinks with a short arrow. */
function arrow(from, to, head) {
  const [dx, dy] = [to[0] - from[0], to[1] - from[1]];
  const length = Math.hypot(dx, dy);
  if (length < 1) return { shaft: "", tip: "" };
  const [ux, uy] = [dx / length, dy / length];
  const size = Math.min(head, length * 0.7);
  const at = (back, side) => `${(to[0] - ux * back - uy * side).toFixed(1)} ${(to[1] - uy * back + ux * side).toFixed(1)}`;
  return {
    shaft: `M${from[0].toFixed(1)} ${from[1].toFixed(1)}L${at(size * 0.8, 0)}`,
    tip: `M${at(0, 0)}L${at(size, size * 0.46)}L${at(size * 0.76, 0)}L${at(size, -size * 0.46)}Z`,
  };
}

const TURNS = [0, 30, -30, 60, -60, 90, -90, 125, -125, 180].map((a) => (a * Math.PI) / 180);

/** The direction around `anchor` in which a label of the given half size is least in the way of `obstacles` [x, y, radius]. */
function freeDirection(anchor, prefer, reach, half, obstacles, frame) {
  const cost = (angle) => {
    const x = anchor[0] + Math.cos(angle) * (reach + half[0]);
    const y = anchor[1] + Math.sin(angle) * (reach + half[1]);
    let sum = 4 * (1 - Math.cos(angle - prefer));
    for (const [ox, oy, r] of obstacles) {
      const gap = Math.hypot(Math.max(0, Math.abs(x - ox) - half[0]), Math.max(0, Math.abs(y - oy) - half[1])) - r;
      if (gap < 6) sum += 6 - gap;
    }
    const out = Math.max(half[0] + 2 - x, x + half[0] + 2 - frame[0], half[1] + 2 - y, y + half[1] + 2 - frame[1], 0);
    return sum + 10 * out;
  };
  return TURNS.map((turn) => prefer + turn).reduce((a, b) => (cost(b) < cost(a) - 1e-9 ? b : a));
}

/** A square-ruled plane: equal units on both axes, whatever the size of its box. */
class Plane {
  constructor(label, limit) {
    this.limit = limit;
    this.back = s("g", { "aria-hidden": "true" });
    this.image = s("g", { role: "img", "aria-label": label });
    this.svg = s("svg", { role: "group", "aria-label": label }, this.back, this.image);
    this.resize(300, 300);
  }

  resize(width, height) {
    [this.width, this.height] = [width, height];
    this.unit = (Math.min(width, height) - 36) / (2 * this.limit);
    put(this.svg, { viewBox: `0 0 ${width} ${height}` });
    this.rule();
  }

  px([x, y]) { return [this.width / 2 + x * this.unit, this.height / 2 - y * this.unit]; }

  data(clientX, clientY) {
    const box = this.svg.getBoundingClientRect();
    const x = ((clientX - box.left - this.svg.clientLeft) * this.width) / this.svg.clientWidth;
    const y = ((clientY - box.top - this.svg.clientTop) * this.height) / this.svg.clientHeight;
    return [(x - this.width / 2) / this.unit, (this.height / 2 - y) / this.unit];
  }

  rule() {
    const { width, height } = this;
    const step = [0.5, 1, 2, 5, 10, 20, 50].find((size) => this.limit / size < 4) ?? this.limit;
    const lines = [];
    const reach = Math.floor(Math.max(width, height) / 2 / this.unit / step);
    for (let i = -reach; i <= reach; i += 1) {
      const [x, y] = this.px([i * step, i * step]).map((v) => Math.round(v) + 0.5);
      const kind = i === 0 ? "line.ap-axis" : "line.ap-gridline";
      lines.push(s(kind, { x1: x, x2: x, y1: 0, y2: height }), s(kind, { x1: 0, x2: width, y1: y, y2: y }));
      const name = show(i * step, step < 1 ? 1 : 0);
      if (i && x > 30 && x < width - 20) lines.push(s("text.ap-tick", { x: x + 4, y: height - 9 }, name));
      if (i && y > 20 && y < height - 24) lines.push(s("text.ap-tick", { x: 6, y: y - 8 }, name));
    }
    this.back.replaceChildren(...lines);
  }
}

function render({ model, el }) {
  const state = () => ({ keys: model.get("key"), values: model.get("value"), query: model.get("query"), scale: model.get("scale"),
    mask: model.get("mask"), limit: model.get("limit") });
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const clean = [];
  const on = (target, type, handler, options) => {
    target.addEventListener(type, handler, options);
    clean.push(() => target.removeEventListener(type, handler, options));
  };
  let now = state();
  const count = now.keys.length;
  const names = [...Array(count).keys()];
  const balanced = 1 / Math.sqrt(2);

  // ---- elements ----------------------------------------------------------------------------------------------
  const left = new Plane("The plane of the keys and the query", now.limit);
  const right = new Plane("The plane of the values and the output", 1);

  const ray = s("line.ap-ray");
  const keyArrows = names.map((i) => {
    const parts = { foot: s("line.ap-foot"), dot: s("circle.ap-footdot", { r: 3.5 }), hit: s("path.ap-hit"), shaft: s("path.ap-shaft"),
      tip: s("path.ap-tip"), label: s("text.ap-halo", {}, `k${i + 1}`) };
    parts.group = s("g.ap-k", {}, parts.foot, parts.dot, parts.hit, parts.shaft, parts.tip);
    return parts;
  });
  const q = { shaft: s("path.ap-shaft"), tip: s("path.ap-tip") };
  left.image.append(ray, ...keyArrows.map((k) => k.group), s("g.ap-q", {}, q.shaft, q.tip));
  const handle = s("g.ap-handle", { tabindex: 0, role: "slider", "aria-roledescription": "point in the plane",
      "aria-label": "Query: arrow keys move it, with Shift in larger steps", "aria-valuemin": -now.limit, "aria-valuemax": now.limit },
    s("circle.ap-reach", { r: 24 }), s("circle.ap-glow", { r: 18 }), s("circle.ap-ring", { r: 17 }), s("circle.ap-disc", { r: 12 }),
    s("text", { y: -1, "aria-hidden": "true" }, "q"));
  left.svg.append(handle, s("g", { "aria-hidden": "true" }, ...keyArrows.map((k) => k.label)));

  const outline = s("polygon.ap-hull");
  const strings = names.map(() => s("line.ap-string"));
  const valuePoints = names.map((i) => {
    const parts = { blob: s("circle.ap-blob"), dot: s("circle.ap-dot", { r: 4 }), label: s("text.ap-halo", {}, `v${i + 1}`) };
    parts.group = s("g.ap-v", {}, parts.blob, parts.dot);
    return parts;
  });
  const out = { mark: s("path", { d: "M0 -9L9 0L0 9L-9 0Z" }), label: s("text.ap-halo", {}, "output") };
  out.group = s("g.ap-o", {}, out.mark);
  right.image.append(outline, ...strings, ...valuePoints.map((v) => v.group), out.group, ...valuePoints.map((v) => v.label), out.label);

  const rows = names.map((i) => {
    const parts = { box: h("input", { type: "checkbox", "aria-label": `may attend to k${i + 1}` }), score: h("td.ap-score"),
      fill: h("div.ap-fill"), weight: h("td.ap-weight") };
    parts.row = h("tr", {}, h("th", { scope: "row" }, h("label", {}, parts.box, h("span", {}, `k${i + 1}`))), parts.score,
      h("td", {}, h("div.ap-track", {}, parts.fill)), parts.weight);
    return parts;
  });
  const formula = h("span.ap-formula");
  const shared = h("p.ap-shared");
  const slider = (name, label, low, high, step) => {
    const parts = { input: h("input", { type: "range", min: low, max: high, step, name }), value: h("output") };
    parts.line = h("div.ap-slider", {}, h("label", {}, h("span", {}, label), parts.input), parts.value);
    return parts;
  };
  const queryX = slider("query-x", "query x", -now.limit, now.limit, 0.05);
  const queryY = slider("query-y", "query y", -now.limit, now.limit, 0.05);
  const scale = slider("scale", "scale", 0, 5, 0.01);
  const presets = [[0, "0 average"], [balanced, `1/√d = ${show(balanced, 3)}`], [1, "1 unscaled"], [5, "5 sharp"]].map(([value, text]) => ({
    value, button: h("button", { type: "button", "aria-label": `scale ${text}` }, text) }));
  const reset = h("button.ap-reset", { type: "button" }, "Reset");
  const note = h("span.ap-note");
  const words = h("span.ap-words");

  const head = (title, side) => h("div.ap-head", {}, h("span.ap-title", {}, title), side);
  const root = h("div.attention-playground", { role: "group", "aria-label": "Attention playground" },
    h("style", {}, CSS),
    h("div.ap-grid", {},
      h("section.ap-query", {}, head("Keys and query", h("span.ap-formula", {}, "drag q or use arrow keys")), left.svg),
      h("section.ap-weights", {}, head("Weights", formula),
        h("table", {}, h("colgroup", {}, h("col"), h("col"), h("col"), h("col")), h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "may attend"), h("th", { scope: "col" }, "q·k"),
          h("th", { scope: "col", colspan: 2 }, "weight"))), h("tbody", {}, ...rows.map((r) => r.row))),
        shared),
      h("section.ap-values", {}, head("Values and output", h("span.ap-formula", {}, "Σ weight · value")), right.svg),
      h("section.ap-controls", {}, head("Controls", reset),
        h("div.ap-of-q", {}, queryX.line, queryY.line), scale.line,
        h("div.ap-presets", { role: "group", "aria-label": "Scale presets" }, ...presets.map((p) => p.button))),
      h("p.ap-readout", { role: "status", "aria-live": "polite" }, note, words)));

  // JupyterLab keeps the arrow keys to itself in command mode, unless what has the focus says this.
  for (const node of root.querySelectorAll("input, button, .ap-handle")) put(node, { "data-lm-suppress-shortcuts": "true" });

  // ---- drawing -----------------------------------------------------------------------------------------------
  let result;
  let shown = null; // what the geometry shows: [query x, y, output x, y, ...weights], eased towards the state
  let ease = null;
  let frame = 0;
  let dragging = null;
  let tap = false;
  let outputAngle = 0;

  function layout() {
    const reach = Math.max(...now.values.flat().map(Math.abs));
    right.limit = Math.max(1, Math.ceil((reach + 0.15) * 2) / 2);
    for (const plane of [left, right]) plane.resize(plane.svg.clientWidth || 300, plane.svg.clientHeight || 300);
    const origin = left.px([0, 0]);
    const tips = now.keys.map((key) => left.px(key));
    const marks = tips.flatMap((tip) => [[...tip, 3], ...[0.35, 0.55, 0.75, 0.9].map((f) => [origin[0] + f * (tip[0] - origin[0]), origin[1] + f * (tip[1] - origin[1]), 1])]);
    marks.push([...left.px(model.get("start").query), 20]);
    keyArrows.forEach((k, i) => {
      const { shaft, tip } = arrow(origin, tips[i], 12);
      put(k.hit, { d: shaft });
      put(k.shaft, { d: shaft });
      put(k.tip, { d: tip });
      const outward = Math.atan2(tips[i][1] - origin[1], tips[i][0] - origin[0]);
      const angle = freeDirection(tips[i], outward, 5, [9, 8], marks, [left.width, left.height]);
      const at = [tips[i][0] + Math.cos(angle) * 15, tips[i][1] + Math.sin(angle) * 13];
      put(k.label, { x: at[0].toFixed(1), y: at[1].toFixed(1) });
      marks.push([...at, 9]);
    });
    const spots = now.values.map((value) => right.px(value));
    const middle = [0, 1].map((c) => spots.reduce((sum, p) => sum + p[c], 0) / count);
    valuePoints.forEach((v, i) => {
      const outward = Math.atan2(spots[i][1] - middle[1], spots[i][0] - middle[0]);
      v.at = spots[i];
      v.angle = freeDirection(spots[i], outward, 16, [9, 8], spots.filter((_, j) => j !== i).map((p) => [...p, 12]), [right.width, right.height]);
      put(v.blob, { cx: spots[i][0], cy: spots[i][1] });
      put(v.dot, { cx: spots[i][0], cy: spots[i][1] });
      put(strings[i], { x1: spots[i][0], y1: spots[i][1] });
    });
  }

  function geometry([qx, qy, ox, oy, ...weights]) {
    const origin = left.px([0, 0]);
    const tip = left.px([qx, qy]);
    const length = Math.hypot(tip[0] - origin[0], tip[1] - origin[1]);
    const stop = Math.max(0, length - 13) / (length || 1);
    const { shaft, tip: point } = arrow(origin, [origin[0] + stop * (tip[0] - origin[0]), origin[1] + stop * (tip[1] - origin[1])], 11);
    put(q.shaft, { d: shaft });
    put(q.tip, { d: point });
    put(handle, { transform: `translate(${tip[0].toFixed(1)} ${tip[1].toFixed(1)})` });
    const size = Math.hypot(qx, qy);
    const far = size ? (4 * left.limit) / size : 0;
    const ends = [left.px([-far * qx, -far * qy]), left.px([far * qx, far * qy])];
    put(ray, { x1: ends[0][0], y1: ends[0][1], x2: ends[1][0], y2: ends[1][1] });
    keyArrows.forEach((k, i) => {
      const along = size ? dot([qx, qy], now.keys[i]) / size ** 2 : 0;
      const [from, foot] = [left.px(now.keys[i]), left.px([along * qx, along * qy])];
      put(k.foot, { x1: from[0], y1: from[1], x2: foot[0], y2: foot[1] });
      put(k.dot, { cx: foot[0], cy: foot[1] });
    });
    const at = right.px([ox, oy]);
    const blocks = [];
    names.forEach((i) => {
      const w = weights[i];
      const v = valuePoints[i];
      const radius = 24 * Math.sqrt(w); // area proportional to weight
      put(v.blob, { r: radius.toFixed(2) });
      const away = Math.max(radius, 4) + 4;
      const x = clamp(v.at[0] + Math.cos(v.angle) * (away + 8), 11, right.width - 11);
      const y = clamp(v.at[1] + Math.sin(v.angle) * (away + 7), 10, right.height - 10);
      put(v.label, { x: x.toFixed(1), y: y.toFixed(1) });
      blocks.push([...v.at, Math.max(radius, 5)], [x, y, 8]);
      put(strings[i], { x2: at[0].toFixed(1), y2: at[1].toFixed(1), "stroke-width": (w > 0.002 ? 0.6 + 7 * w : 0).toFixed(2) });
      rows[i].fill.style.transform = `scaleX(${w.toFixed(4)})`;
    });
    put(out.group, { transform: `translate(${at[0].toFixed(1)} ${at[1].toFixed(1)})` });
    outputAngle = freeDirection(at, outputAngle, 13, [24, 7], blocks, [right.width, right.height]);
    put(out.label, { x: (at[0] + Math.cos(outputAngle) * 37).toFixed(1), y: (at[1] + Math.sin(outputAngle) * 20).toFixed(1) });
  }

  function numbers() {
    const { query, mask } = now;
    root.dataset.weights = JSON.stringify(result.weights);
    root.dataset.output = JSON.stringify(result.output);
    formula.textContent = `softmax(${show(now.scale, 3)} · q·k)`;
    rows.forEach((r, i) => {
      r.box.checked = mask[i];
      r.score.textContent = show(result.scores[i], 2);
      r.weight.textContent = show(result.weights[i], 3);
    });
    names.forEach((i) => {
      for (const node of [rows[i].row, keyArrows[i].group, keyArrows[i].label, valuePoints[i].group, valuePoints[i].label]) {
        node.classList.toggle("ap-off", !mask[i]);
      }
    });
    const shape = hull(now.values.filter((_, i) => mask[i]));
    put(outline, { points: shape.map((p) => right.px(p).map((v) => v.toFixed(1)).join(",")).join(" ") });
    shared.textContent = result.allowed ? `As if ${show(Math.exp(result.entropy), 1)} keys shared the weight.` : "No weight to share.";
    for (const [parts, value, digits] of [[queryX, query[0], 2], [queryY, query[1], 2], [scale, now.scale, 3]]) {
      parts.input.value = value;
      parts.value.textContent = show(value, digits);
      put(parts.input, { "aria-valuetext": show(value, digits) });
    }
    for (const p of presets) put(p.button, { "aria-pressed": Math.abs(p.value - now.scale) < 1e-9 });
    put(handle, { "aria-valuenow": query[0], "aria-valuetext": `x ${show(query[0], 2)}, y ${show(query[1], 2)}` });
  }

  // The live line speaks when the hand rests, and at least once a second while it moves.
  let lastSaid = 0;
  let saying = 0;
  function say() {
    window.clearTimeout(saying);
    saying = 0;
    lastSaid = performance.now();
    const [a, b] = [remark(now, result), describe(now, result)].map((text) => text.replace(/\b(k\d|Output) (?=[\d(])/g, "$1\u00a0"));
    if (note.textContent !== a) note.textContent = a;
    if (words.textContent !== b) words.textContent = b;
  }
  function sayLater() {
    window.clearTimeout(saying);
    saying = window.setTimeout(say, performance.now() - lastSaid > 1000 ? 0 : 250);
  }

  const target = () => [...now.query, ...result.output, ...result.weights];

  function draw(time) {
    frame = 0;
    if (dirty) {
      dirty = false;
      now = state();
      result = attend(now);
      numbers();
      sayLater();
      ease = shown && !dragging && !calm.matches ? { from: shown, start: time } : null;
    }
    const t = ease ? clamp((time - ease.start) / 260, 0, 1) : 1;
    const k = 1 - (1 - t) ** 3;
    const goal = target();
    shown = ease ? goal.map((x, i) => ease.from[i] + k * (x - ease.from[i])) : goal;
    geometry(shown);
    if (t < 1) frame = requestAnimationFrame(draw);
    else ease = null;
  }
  let dirty = true;
  function schedule() {
    dirty = true;
    frame ||= requestAnimationFrame(draw);
  }

  // ---- input -------------------------------------------------------------------------------------------------
  function change(values) {
    for (const [name, value] of Object.entries(values)) model.set(name, value);
    save();
    schedule();
  }
  let saveFrame = 0;
  function save() {
    saveFrame ||= requestAnimationFrame(() => { saveFrame = 0; model.save_changes(); });
  }
  const limit = now.limit;
  const moveTo = (x, y) => change({ query: [x, y].map((v) => round(clamp(v, -limit, limit), 2)) });

  on(left.svg, "pointerdown", (event) => {
    const grabbed = handle.contains(event.target);
    tap = event.pointerType === "touch" && !grabbed; // a finger on the plane may be scrolling: wait for the click
    if (tap || event.button !== 0 || dragging) return;
    event.preventDefault();
    const at = left.data(event.clientX, event.clientY);
    const query = model.get("query");
    dragging = { id: event.pointerId, offset: grabbed ? [query[0] - at[0], query[1] - at[1]] : [0, 0] };
    left.svg.setPointerCapture(event.pointerId);
    root.classList.add("ap-dragging");
    handle.focus({ preventScroll: true });
    if (!grabbed) moveTo(...at);
  });
  on(left.svg, "pointermove", (event) => {
    if (dragging?.id !== event.pointerId) return;
    const at = left.data(event.clientX, event.clientY);
    moveTo(at[0] + dragging.offset[0], at[1] + dragging.offset[1]);
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) {
    on(left.svg, type, (event) => {
      if (dragging?.id !== event.pointerId) return;
      dragging = null;
      root.classList.remove("ap-dragging");
    });
  }
  on(left.svg, "click", (event) => { if (tap) moveTo(...left.data(event.clientX, event.clientY)); });
  on(handle, "touchstart", (event) => event.preventDefault(), { passive: false });
  on(handle, "keydown", (event) => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowDown: [0, -1], ArrowUp: [0, 1] }[event.key];
    if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation();
    const size = event.shiftKey ? 0.25 : 0.05;
    const [x, y] = model.get("query");
    moveTo(x + size * step[0], y + size * step[1]);
  });
  on(queryX.input, "input", () => change({ query: [Number(queryX.input.value), model.get("query")[1]] }));
  on(queryY.input, "input", () => change({ query: [model.get("query")[0], Number(queryY.input.value)] }));
  on(scale.input, "input", () => {
    const value = Number(scale.input.value);
    change({ scale: Math.abs(value - balanced) < 0.005 ? balanced : value });
  });
  for (const p of presets) on(p.button, "click", () => change({ scale: p.value }));
  rows.forEach((r, i) => on(r.box, "change", () => change({ mask: model.get("mask").map((ok, j) => (j === i ? r.box.checked : ok)) })));
  on(reset, "click", () => change(structuredClone(model.get("start"))));

  // A row, its key and its value light up together; the key then shows its projection on the query.
  names.forEach((i) => {
    const linked = [rows[i].row, keyArrows[i].group, valuePoints[i].group, strings[i]];
    const light = (lit) => linked.forEach((node) => node.classList.toggle("ap-lit", lit));
    for (const node of [rows[i].row, keyArrows[i].group, valuePoints[i].group]) {
      on(node, "pointerenter", () => light(true));
      on(node, "pointerleave", () => light(false));
    }
    on(rows[i].box, "focus", () => light(true));
    on(rows[i].box, "blur", () => light(false));
  });

  // ---- life --------------------------------------------------------------------------------------------------
  const relayout = () => {
    now = state();
    result = attend(now);
    layout();
    numbers();
    shown = target();
    ease = null;
    geometry(shown);
  };
  const fields = ["query", "scale", "mask"];
  for (const name of fields) model.on(`change:${name}`, schedule);
  for (const name of ["key", "value"]) model.on(`change:${name}`, relayout);
  el.append(root);
  relayout();
  dirty = false;
  say();
  const sizes = new ResizeObserver(() => {
    if (left.svg.clientWidth && (left.svg.clientWidth !== left.width || left.svg.clientHeight !== left.height)) relayout();
  });
  sizes.observe(left.svg);

  return () => {
    for (const name of fields) model.off(`change:${name}`, schedule);
    for (const name of ["key", "value"]) model.off(`change:${name}`, relayout);
    for (const undo of clean) undo();
    sizes.disconnect();
    cancelAnimationFrame(frame);
    cancelAnimationFrame(saveFrame);
    window.clearTimeout(saying);
    root.remove();
  };
}

export default { render };
