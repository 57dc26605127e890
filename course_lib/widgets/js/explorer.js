// What the explorers share: elements, colours, the cells of a picture, and tensors that arrive in parts.
// The static page imports this file; for Jupyter and Colab, Python puts it in front of each module (explorer.py).

// Nested in a list with an id, which lifts the specificity over whatever a host page says of tables and paragraphs.
const CSS = `
  --q: var(--course-query, var(--xp-query, #D55E00));
  --ink: var(--course-ink, var(--jp-content-font-color1, var(--colab-primary-text-color, currentColor)));
  --muted: var(--course-muted, color-mix(in srgb, var(--ink) 72%, var(--paper)));
  --paper: var(--course-paper, var(--jp-layout-color0, var(--colab-primary-surface-color, #fff)));
  --line: var(--course-line, color-mix(in srgb, var(--ink) 18%, var(--paper)));
  --edge: var(--course-line-strong, color-mix(in srgb, var(--ink) 50%, var(--paper)));
  container-type: inline-size;
  box-sizing: border-box; width: 100%; min-width: 0;
  color: var(--ink); font-family: var(--course-ui, inherit); font-size: 14px; line-height: 1.45; text-align: left;
  font-variant-numeric: tabular-nums;
  :is(body[data-jp-theme-light="false"], html[theme="dark"], body.vscode-dark) & { --xp-query: #F28A3C; }
  *, *::before { box-sizing: border-box; }
  [hidden] { display: none !important; }
  section, fieldset { min-width: 0; margin: 0; padding: 0; border: 0; }
  p { max-width: none; margin: 0; }
  .xp-grid { display: grid; gap: 16px 26px; padding: 5px; grid-template-columns: minmax(0, 1fr); }
  .xp-head {
    display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 10px;
    min-height: 26px; margin: 0 0 4px; padding: 0;
  }
  .xp-title { font-weight: 650; font-size: 14px; }
  .xp-note { color: var(--muted); font-size: 13px; }
  .xp-picture { position: relative; margin: 0; border: 1px solid var(--line); border-radius: 6px; }
  .xp-picture > :is(img, canvas) { display: block; position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; padding: 0;
    border: 0; border-radius: 5px; box-shadow: none; filter: none; max-width: none; background: none; image-rendering: pixelated; }
  .xp-cells { position: absolute; inset: 0; cursor: crosshair; touch-action: manipulation; outline: none; -webkit-tap-highlight-color: transparent; }
  .xp-picture:has(.xp-cells:focus-visible) { outline: 2.5px solid var(--ink); outline-offset: 2px; }
  .xp-ring { position: absolute; pointer-events: none; border-radius: 2px; }
  .xp-chosen { box-shadow: 0 0 0 2.5px var(--q), 0 0 0 4px #fdfcf9, inset 0 0 0 1px #fdfcf9; z-index: 2; }
  .xp-under { box-shadow: 0 0 0 1.5px #1f2430, 0 0 0 3px #fdfcf9; z-index: 1; }
  .xp-legend { display: grid; grid-template-columns: auto minmax(40px, 1fr) auto; align-items: center; gap: 0 8px; margin: 8px 0 0; font-size: 13px; }
  .xp-bar { height: 10px; border-radius: 2px; border: 1px solid var(--line); forced-color-adjust: none; }
  .xp-pointed { min-height: 20px; margin: 3px 0 0; color: var(--muted); font-size: 13px; }
  .xp-pointed b { color: var(--ink); font-weight: 650; }
  .xp-slider { display: grid; grid-template-columns: 76px minmax(0, 1fr) 62px; align-items: center; gap: 0 8px; min-height: 32px; }
  .xp-slider label { display: contents; font-weight: 400; }
  .xp-slider output { text-align: right; font-weight: 600; white-space: nowrap; }
  input[type="range"] { appearance: none; -webkit-appearance: none; width: 100%; height: 28px; margin: 0; padding: 0;
    background: transparent; border: 0; cursor: pointer; border-radius: 6px; --thumb: var(--ink); }
  input[type="range"]::-webkit-slider-runnable-track { height: 4px; border-radius: 2px; background: var(--edge); }
  input[type="range"]::-moz-range-track { height: 4px; border-radius: 2px; background: var(--edge); }
  input[type="range"]::-webkit-slider-thumb { -webkit-appearance: none; width: 20px; height: 20px; margin-top: -8px; border-radius: 50%;
    background: var(--thumb); border: 2px solid var(--paper); box-shadow: 0 0 0 1px var(--thumb); }
  input[type="range"]::-moz-range-thumb { width: 18px; height: 18px; border-radius: 50%; background: var(--thumb); border: 2px solid var(--paper);
    box-shadow: 0 0 0 1px var(--thumb); }
  input:disabled { opacity: .4; cursor: default; }
  button { margin: 0; padding: 0; font: inherit; color: inherit; background: none; border: 0; border-radius: 6px; cursor: pointer; }
  :is(input, button, summary):focus-visible { outline: 2.5px solid var(--ink); outline-offset: 2px; }
  .xp-choices { display: flex; flex-wrap: wrap; border: 1px solid var(--edge); border-radius: 8px; }
  .xp-choices label { position: relative; flex: 1 1 auto; display: flex; align-items: center; justify-content: center; min-height: 32px;
    margin: 0; padding: 0 10px; font-size: 13px; white-space: nowrap; cursor: pointer; }
  .xp-choices label:first-child { border-radius: 7px 0 0 7px; }
  .xp-choices label:last-child { border-radius: 0 7px 7px 0; }
  .xp-choices label + label { border-left: 1px solid var(--edge); }
  .xp-choices input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
  .xp-choices label:hover { background: color-mix(in srgb, var(--ink) 8%, transparent); }
  .xp-choices label:has(:checked) { background: var(--ink); color: var(--paper); }
  .xp-choices label:has(:focus-visible) { outline: 2.5px solid var(--ink); outline-offset: 2px; }
  .xp-switch { display: flex; align-items: center; gap: 10px; min-height: 32px; margin: 0; font-weight: 400; cursor: pointer; }
  .xp-switch input { appearance: none; -webkit-appearance: none; position: relative; flex: none; width: 40px; height: 24px; margin: 0;
    border: 1.5px solid var(--edge); border-radius: 12px; background: var(--paper); cursor: pointer; }
  .xp-switch input::before { content: ""; position: absolute; inset: 3px auto 3px 3px; width: 15px; border-radius: 50%; background: var(--edge); }
  .xp-switch input:checked { background: var(--q); border-color: var(--q); }
  .xp-switch input:checked::before { left: 19px; background: #fff; }
  .xp-scale { display: grid; grid-template-columns: auto minmax(0, 1fr); align-items: start; gap: 0 10px; margin: 8px 0 4px; line-height: 1; }
  .xp-scale > div { position: relative; }
  .xp-ticks { position: relative; height: 20px; font-size: 12px; color: var(--muted); line-height: 20px; }
  .xp-ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
  .xp-ticks span:first-child { transform: none; } .xp-ticks span:last-child { transform: translateX(-100%); }
  .xp-even { position: absolute; top: -3px; width: 2px; height: 15px; background: var(--q); }
  .xp-tiles { display: grid; gap: 8px; grid-template-columns: repeat(auto-fit, minmax(58px, 1fr)); }
  .xp-tile { display: block; padding: 3px; border: 1px solid transparent; font-size: 12px; line-height: 1.3; text-align: left; }
  .xp-tile:hover { border-color: var(--edge); }
  .xp-tile[aria-pressed="true"] { border-color: var(--ink); box-shadow: 0 0 0 1px var(--ink); }
  .xp-tile :is(canvas, img) { display: block; width: 100%; height: auto; margin: 0 0 2px; padding: 0; border: 1px solid var(--line); border-radius: 3px;
    box-shadow: none; filter: none; background: none; image-rendering: pixelated; }
  .xp-tile span { display: flex; justify-content: space-between; gap: 2px; white-space: nowrap; }
  .xp-tile span > :last-child { color: var(--muted); }
  .xp-readout { margin: 0; padding: 10px 12px; border-left: 3px solid var(--q); border-radius: 0 6px 6px 0;
    background: color-mix(in srgb, var(--ink) 5%, transparent); font-size: 14px; }
  details { margin: 0; padding: 0; border: 0; border-radius: 0; background: none; font-size: 13px; max-width: none; }
  details > summary { width: max-content; max-width: 100%; margin: 0; padding: 4px 4px 4px 0; font: inherit; font-weight: 600; color: inherit; cursor: pointer; list-style: revert; }
  details > summary::before { content: none; }
  details > summary:hover { background: none; color: inherit; text-decoration: underline; }
  details > div { overflow-x: auto; margin: 4px 0 0; padding: 0 2px 4px; }
  table { width: auto; min-width: 0; margin: 0; font-family: inherit; font-size: 12px; line-height: 1.3; border-collapse: collapse; border: 0; background: none; color: inherit; }
  :is(thead, tbody, tr, th, td) { background: none; border: 0; color: inherit; }
  :is(th, td) { padding: 2px 5px; text-align: right; vertical-align: middle; font-weight: 400; white-space: nowrap; }
  th { color: var(--muted); font-size: 12px; }
  td.xp-self { box-shadow: inset 0 0 0 2px var(--q); }
  @media (forced-colors: active) {
    .xp-picture, canvas, .xp-ring { forced-color-adjust: none; }
    input[type="range"] { appearance: auto; -webkit-appearance: auto; }
    .xp-choices label:has(:checked), .xp-tile[aria-pressed="true"] { outline: 3px solid Highlight; outline-offset: -3px; }
  }
  @media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
`;

/** h("tag.class", {attributes}, ...children): an HTML element. */
export function h(spec, attributes, ...children) {
  const [tag, ...classes] = spec.split(".");
  const node = document.createElement(tag);
  if (classes.length) node.className = classes.join(" ");
  put(node, attributes ?? {});
  node.append(...children);
  return node;
}
export const put = (node, attributes) => { for (const name in attributes) node.setAttribute(name, attributes[name]); };
export const clamp = (x, low, high) => Math.min(high, Math.max(low, x));
export const count = (n) => [...Array(n).keys()];
export const topOf = (numbers) => numbers.reduce((best, x, i) => (x > numbers[best] ? i : best), 0);
export const head = (title, note = "") => h("div.xp-head", {}, h("span.xp-title", {}, title), note);

/** A share of 1 as a percentage: one decimal, two below 1 %. */
export function percent(share) {
  const value = 100 * share;
  return `${value.toFixed(value < 0.995 ? 2 : 1)}\u00a0%`;
}

/** A percentage with as many digits as a byte allows: whole from 10 % on, one decimal below, two below 1 %. */
export const briefPercent = (share) => (100 * share < 9.95 ? percent(share) : `${(100 * share).toFixed(0)}\u00a0%`);

/** A number with a true minus sign and no "−0.00". */
export function signed(x, digits = 2) {
  const text = Math.abs(x).toFixed(digits);
  return (x < 0 && Number(text) !== 0 ? "−" : "") + text;
}

// ---- colours: those of course_lib.viz ------------------------------------------------------------------------
const ramp = (...stops) => {
  const rgb = stops.map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const table = count(256).map((i) => {
    const at = (i / 255) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    return rgb[low].map((x, c) => x + (at - low) * (rgb[low + 1][c] - x));
  });
  return { table, css: `linear-gradient(90deg, ${stops.join(", ")})` };
};
export const WEIGHTS = ramp("#fdfcf9", "#9ecae8", "#0072b2", "#0b2a4a"); // 0 is the paper, 1 is dark
export const SIGNED = ramp("#d55e00", "#f0b78f", "#fdfcf9", "#93c3e2", "#0072b2"); // below 0 vermilion, above 0 blue

const rgb = (colours, level) => colours.table[Math.floor(clamp(level * 256, 0, 255))];
export const colour = (colours, level) => `rgb(${rgb(colours, level).map(Math.round).join(" ")})`;

/** (rows * columns) numbers between 0 and 1 as the pixels of a canvas, one pixel a number. */
export function paint(canvas, rows, columns, colours, level) {
  if (canvas.width !== columns || canvas.height !== rows) Object.assign(canvas, { width: columns, height: rows });
  const pixels = new ImageData(columns, rows);
  for (let i = 0; i < rows * columns; i += 1) {
    pixels.data.set([...rgb(colours, level(i)), 255], 4 * i);
  }
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

// ---- tensors --------------------------------------------------------------------------------------------------
export const LEVELS = 60000;
/** The number between 0 and 1 that stands for a stored one: the middle of its step. */
export const stored = (level) => Math.min(1, (level + 0.5) / LEVELS);

// In one byte: 256 numbers that can be shown (tensor_explorer.py), 0.01 % apart below 1 %, then 0.1 %, 1 % and 2 %.
export const DIGITS = Float64Array.from({ length: 256 }, (_, i) => (
  i < 100 ? i / 1e4 : i < 190 ? (i - 90) / 1e3 : i < 230 ? (i - 180) / 100 : (i - 205) / 50));

/** Numbers between 0 and 1 as they are stored (tensor_explorer.py). */
export const toLevels = (shares) => Uint16Array.from(shares, (share) => clamp(Math.floor(share * LEVELS), 0, LEVELS));

/** A tensor in parts: in the state if it is small; else files beside the module, or answers of the kernel. */
export class Parts {
  /** `size`: how many numbers a part holds; `kind`: which of the files, `bytes`: whether they hold bytes. */
  constructor(model, size, changed, { kind = "", bytes = false } = {}) {
    Object.assign(this, { model, size, changed, kind, bytes, known: new Map(), waiting: new Set(), wanted: [], fault: "" });
    this.embedded = model.get("packed");
    this.files = model.get("files");
    this.live = typeof model.send === "function"; // the static page's model has nobody to send to
    (model.get("levels") ?? []).forEach((part, i) => this.known.set(i, part)); // computed in this page
    if (!this.embedded.length && !this.files && !this.live && !this.known.size) {
      throw new Error("its numbers are too large for the page; run its cell in a notebook");
    }
    this.answer = (content, buffers) => {
      if (content.part !== undefined && this.waiting.has(content.part)) this.arrive(content.part, buffers[0]);
    };
    if (this.live) model.on("msg:custom", this.answer);
    this.embedded.forEach((_, i) => this.load(i));
  }

  /** The parts as Uint16Arrays (or bytes) if all are here; otherwise null, and `changed` is called when one arrives. */
  take(indices) {
    this.wanted = indices;
    if (!this.fault) for (const i of indices) this.load(i);
    return this.have(indices);
  }

  /** The same, without asking for any. */
  have(indices) { return indices.every((i) => this.known.has(i)) ? indices.map((i) => this.known.get(i)) : null; }

  /** What to say while `take` gives null. */
  get news() {
    const [here, all] = [this.wanted.filter((i) => this.known.has(i)).length, this.wanted.length];
    return this.fault || (all > 1 ? `The numbers are on their way: ${here} of ${all} layers are here …` : "The numbers are on their way …");
  }

  async load(index) {
    if (this.known.has(index) || this.waiting.has(index)) return;
    this.waiting.add(index);
    try {
      if (this.embedded.length) this.arrive(index, Uint8Array.from(atob(this.embedded[index]), (c) => c.charCodeAt(0)));
      else if (this.live) this.model.send({ part: index });
      else {
        const url = new URL(`${this.files}.${this.kind}${index}.bin`, import.meta.url);
        const response = await fetch(url);
        if (!response.ok) throw new Error(`${response.status} for ${url.pathname.split("/").pop()}`);
        this.arrive(index, await response.arrayBuffer());
      }
    } catch (error) {
      this.fail(index, error);
    }
  }

  /** Unpack: zlib, then bytes as they are, or all high bytes and then all low bytes. */
  async arrive(index, bytes) {
    try {
      const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
      const both = new Uint8Array(await new Response(plain).arrayBuffer());
      const half = both.length / (this.bytes ? 1 : 2);
      if (half !== this.size) throw new Error(`${half} numbers came, not ${this.size}`);
      this.known.set(index, this.bytes ? both : new Uint16Array(half).map((_, i) => 256 * both[i] + both[half + i]));
      this.waiting.delete(index);
      this.changed();
    } catch (error) {
      this.fail(index, error);
    }
  }

  fail(index, error) {
    this.waiting.delete(index);
    this.fault = `The numbers could not be fetched: ${error.message}. Choose again to try once more.`;
    this.changed();
  }

  close() {
    if (this.live) this.model.off("msg:custom", this.answer);
  }
}

// ---- the stage: one frame at a time, one live line, and everything undone at the end --------------------------
/**
 * A root in `el` with the styles, and what every explorer needs around it: `on` listens until `end`, `change` sets
 * state, `refresh` asks for `draw` in the next frame (also whenever one of `names` changes), `say` speaks when the hand rests.
 */
export function stage({ model, el }, name, css, names, draw) {
  const root = h(`div.course-explorer.${name}`, {}, h("style", {}, `.course-explorer, #xp-above-host-styles {${CSS}}.${name}, #xp-above-host-styles.${name} {${css}}`));
  const words = h("p.xp-readout", { role: "status", "aria-live": "polite" });
  const clean = [];
  let frame = 0;
  let saving = 0;
  let speaking = 0;
  let spoken = performance.now();
  const on = (target, type, handler) => {
    target.addEventListener(type, handler);
    clean.push(() => target.removeEventListener(type, handler));
  };
  const refresh = () => { frame ||= requestAnimationFrame(() => { frame = 0; draw(); }); };
  function change(values) {
    for (const [key, value] of Object.entries(values)) model.set(key, value);
    saving ||= requestAnimationFrame(() => { saving = 0; model.save_changes(); });
    refresh();
  }
  function say(text) {
    window.clearTimeout(speaking);
    speaking = window.setTimeout(() => {
      spoken = performance.now();
      if (words.textContent !== text) words.textContent = text;
    }, performance.now() - spoken > 1000 ? 0 : 250);
  }
  function begin(...children) {
    root.append(...children);
    // JupyterLab keeps the arrow keys to itself in command mode, unless what has the focus says this.
    for (const node of root.querySelectorAll("input, button, summary, .xp-cells")) put(node, { "data-lm-suppress-shortcuts": "true" });
    el.append(root);
    for (const key of names) model.on(`change:${key}`, refresh);
    draw();
  }
  function end() {
    for (const key of names) model.off(`change:${key}`, refresh);
    for (const undo of clean) undo();
    cancelAnimationFrame(frame);
    cancelAnimationFrame(saving);
    window.clearTimeout(speaking);
    root.remove();
  }
  return { root, words, on, change, refresh, say, begin, end };
}

/** A labelled slider: {line, input, value}. */
export function slider(label, attributes) {
  const input = h("input", { type: "range", ...attributes });
  const value = h("output");
  return { line: h("div.xp-slider", {}, h("label", {}, h("span", {}, label), input), value), input, value };
}

/** One scale of colours for all maps: ten times as much in each of three parts. */
export const TICKS = [0.0004, 0.004, 0.04, 0.4];
export const onScale = (share) => clamp(Math.log10(share / TICKS[0]) / Math.log10(TICKS.at(-1) / TICKS[0]), 0, 1);

/** Its legend, with the numbers at their places, and a mark where a weight spread evenly would be. */
export function scaleLegend(colours, even) {
  const bar = h("div.xp-bar", { "aria-hidden": "true", style: `background: ${colours.css}` });
  const at = (share, ...inside) => h("span", { style: `left: ${100 * onScale(share)}%` }, ...inside);
  const names = TICKS.map((share, i) => at(share, `${i ? "" : "≤\u00a0"}${i === TICKS.length - 1 ? "≥\u00a0" : ""}${+(100 * share).toFixed(2)}\u00a0%`));
  return h("div.xp-scale", {}, h("span.xp-note", {}, "weight"), h("div", {}, bar, h("div.xp-ticks", {}, ...names),
    h("div.xp-even", { "aria-hidden": "true", title: "spread evenly", style: `left: ${100 * onScale(even)}%` })));
}

/** A legend: the numbers at both ends of the colours. */
export function legend(colours, from, to) {
  const [low, high, bar] = [h("span"), h("span"), h("div.xp-bar", { "aria-hidden": "true" })];
  const set = (ramp, start, end) => {
    bar.style.background = ramp.css;
    [low.textContent, high.textContent] = [start, end];
  };
  set(colours, from, to);
  return { line: h("div.xp-legend", {}, low, bar, high), set };
}

export const place = (index, columns) => `row ${Math.floor(index / columns) + 1}, column ${(index % columns) + 1}`;

/** Cells over a picture, row by row. A mouse hovers over them; a click, a tap or the arrow keys choose one. */
export class Cells {
  constructor(on, label, { choose, hover = () => {} }) {
    this.node = h("div.xp-cells", { tabindex: 0, role: "slider", "aria-label": `${label}: arrow keys choose`, "aria-valuemin": 1 });
    this.chosen = h("div.xp-ring.xp-chosen", { hidden: "" });
    this.under = h("div.xp-ring.xp-under", { hidden: "" });
    this.node.append(this.under, this.chosen);
    on(this.node, "pointermove", (event) => { if (event.pointerType !== "touch") hover(this.at(event)); });
    on(this.node, "pointerleave", () => hover(null));
    const pick = (cell) => { this.index = cell; choose(cell); }; // the next key may come before the next frame
    on(this.node, "click", (event) => { const cell = this.at(event); if (cell !== null) pick(cell); });
    on(this.node, "keydown", (event) => {
      const { rows, columns, total, index } = this;
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -index, End: total - 1 - index }[event.key];
      if (step === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      const next = index + step;
      const sideways = Math.abs(step) === 1 && columns > 1 && rows > 1 && !this.wraps;
      if (next < 0 || next >= total || (sideways && Math.floor(next / columns) !== Math.floor(index / columns))) return;
      pick(next);
    });
  }

  /** `total` cells in rows of `columns`; `wraps`: the next after the last of a row is the first of the row below. */
  resize(rows, columns, { total = rows * columns, wraps = false, unit = [100 / columns, 100 / rows] } = {}) {
    Object.assign(this, { rows, columns, total, wraps, unit });
    put(this.node, { "aria-valuemax": total });
  }

  at(event) {
    const box = this.node.getBoundingClientRect();
    const column = Math.floor((((event.clientX - box.left) / box.width) * 100) / this.unit[0]);
    const row = Math.floor((((event.clientY - box.top) / box.height) * 100) / this.unit[1]);
    const index = row * this.columns + column;
    return row >= 0 && column >= 0 && column < this.columns && index < this.total ? index : null;
  }

  choose(index, text) {
    this.index = index ?? 0;
    this.place(this.chosen, index);
    put(this.node, { "aria-valuenow": this.index + 1, "aria-valuetext": text });
  }

  point(index) { this.place(this.under, index); }

  place(ring, index) {
    ring.hidden = index === null || index < 0;
    if (ring.hidden) return;
    const [width, height] = this.unit;
    Object.assign(ring.style, { left: `${(index % this.columns) * width}%`, top: `${Math.floor(index / this.columns) * height}%`,
      width: `${width}%`, height: `${height}%` });
  }
}

/** A folded table of (rows, columns) numbers, written when it is open. */
export function numbers(title) {
  const table = h("table");
  const box = h("details", {}, h("summary", {}, title), h("div", { tabindex: 0, role: "region", "aria-label": title }, table));
  const fill = (rows, columns, text, self) => {
    if (!box.open) return;
    const names = h("tr", {}, h("td"), ...count(columns).map((c) => h("th", { scope: "col" }, `${c + 1}`)));
    const lines = count(rows).map((r) => h("tr", {}, h("th", { scope: "row" }, `${r + 1}`),
      ...count(columns).map((c) => h(r * columns + c === self ? "td.xp-self" : "td", {}, text(r * columns + c)))));
    table.replaceChildren(h("thead", {}, names), h("tbody", {}, ...lines));
  };
  return { box, fill };
}
