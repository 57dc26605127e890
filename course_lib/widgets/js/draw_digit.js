// Draw a digit: a Vision Transformer reads what is drawn, while it is drawn, and shows where every head looks.
// Jupyter, Colab and the static page run this file. The model itself runs in a worker (draw_digit_worker.js, vit.js).
import { WEIGHTS, count, h, percent, place, put, topOf } from "./explorer.js";

// Nested in a list with an id, which lifts the specificity over whatever a host page says of tables and paragraphs.
const CSS = `
.draw-digit, #dd-above-host-styles {
  --query: var(--course-query, var(--dd-query, #D55E00));
  --key: var(--course-key, var(--dd-key, #0072B2));
  --ink: var(--course-ink, var(--jp-content-font-color1, var(--colab-primary-text-color, currentColor)));
  --muted: var(--course-muted, color-mix(in srgb, var(--ink) 72%, var(--paper)));
  --paper: var(--course-paper, var(--jp-layout-color0, var(--colab-primary-surface-color, #fff)));
  --raised: var(--course-raised, var(--paper));
  --line: var(--course-line, color-mix(in srgb, var(--ink) 18%, var(--paper)));
  --edge: var(--course-line-strong, color-mix(in srgb, var(--ink) 50%, var(--paper)));
  container-type: inline-size;
  box-sizing: border-box; width: 100%; min-width: 0; margin: 0;
  color: var(--ink); font-family: var(--course-ui, inherit); font-size: 14px; line-height: 1.4; text-align: left;
  font-variant-numeric: tabular-nums;
  :is(body[data-jp-theme-light="false"], html[theme="dark"], body.vscode-dark) & { --dd-query: #F28A3C; --dd-key: #56B4E9; }
  *, *::before, *::after { box-sizing: border-box; }
  [hidden] { display: none !important; }
  :is(p, ul, ol, li, fieldset, legend, figure) { margin: 0; padding: 0; border: 0; max-width: none; list-style: none; font-size: inherit; min-width: 0; }
  .dd-grid { display: grid; gap: 22px 26px; grid-template-columns: minmax(0, 1fr); padding: 4px;
    grid-template-areas: "draw" "says" "looks" "take" "large" "sees" "readout"; }
  .dd-draw { grid-area: draw; } .dd-take { grid-area: take; } .dd-says { grid-area: says; } .dd-looks { grid-area: looks; }
  .dd-sees { grid-area: sees; } .dd-large { grid-area: large; } .dd-readout { grid-area: readout; }
  section { min-width: 0; margin: 0; display: flex; flex-direction: column; }
  .dd-head { display: flex; flex-wrap: wrap; align-items: baseline; justify-content: space-between; gap: 0 10px; min-height: 26px; }
  .dd-draw > .dd-head { display: none; } /* on a phone the place is needed */
  .dd-title { font-weight: 650; font-size: 15px; }
  .dd-side { color: var(--muted); font-size: 13px; }
  .dd-caption { color: var(--muted); font-size: 13px; margin-top: 6px; min-height: 37px; }
  canvas { display: block; width: 100%; height: 100%; image-rendering: pixelated; }

  .dd-field { position: relative; aspect-ratio: 1; background: var(--raised); border: 1.5px solid var(--edge); border-radius: 14px; overflow: hidden;
    cursor: crosshair; touch-action: none; user-select: none; -webkit-user-select: none; -webkit-tap-highlight-color: transparent; }
  .dd-field svg { position: absolute; inset: 0; width: 100%; height: 100%; }
  .dd-field path { fill: none; stroke: var(--ink); stroke-linecap: round; stroke-linejoin: round; }
  .dd-stencil { background: currentColor; mask: var(--image) center / contain no-repeat; -webkit-mask: var(--image) center / contain no-repeat; }
  .dd-field .dd-stencil { position: absolute; inset: 0; pointer-events: none; }
  .dd-hint { position: absolute; inset: auto 0 0; padding: 0 12px 12px; text-align: center; color: var(--muted); font-size: 15px; pointer-events: none; }
  .dd-tools { display: flex; flex-wrap: wrap; align-items: center; gap: 8px; margin-top: 10px; }
  button { display: inline-flex; align-items: center; justify-content: center; min-height: 34px; margin: 0; padding: 0 14px; font: inherit; line-height: 1;
    color: var(--ink); background: transparent; border: 1px solid var(--edge); border-radius: 8px; cursor: pointer; white-space: nowrap; }
  button:hover:not(:disabled) { background: color-mix(in srgb, var(--ink) 8%, transparent); }
  button:disabled { color: var(--muted); border-color: var(--line); cursor: default; }
  .dd-caption button { min-height: 26px; padding: 0 10px; font-size: 13px; }
  .dd-switch { display: inline-flex; align-items: center; gap: 8px; min-height: 34px; margin: 0 0 0 auto; font-weight: 400; cursor: pointer; }
  .dd-switch input { appearance: none; -webkit-appearance: none; position: relative; width: 36px; height: 20px; margin: 0; border-radius: 10px; flex: none;
    background: transparent; border: 1.5px solid var(--edge); cursor: pointer; }
  .dd-switch input::before { content: ""; position: absolute; top: 2.5px; left: 2.5px; width: 12px; height: 12px; border-radius: 50%; background: var(--edge);
    transition: transform .12s; }
  .dd-switch input:checked { background: var(--query); border-color: var(--query); }
  .dd-switch input:checked::before { transform: translateX(16px); background: var(--paper); }
  .dd-take legend { float: none; width: auto; color: var(--muted); font-size: 13px; line-height: 1.4; margin-bottom: 6px; }
  .dd-take div { display: grid; grid-template-columns: repeat(5, minmax(0, 1fr)); gap: 6px; }
  .dd-take button { display: block; min-height: 0; aspect-ratio: 1; padding: 0; border-radius: 6px; border-color: var(--line); overflow: hidden; }
  .dd-take span { display: block; width: 100%; height: 100%; }

  .dd-result { display: flex; gap: 8px 20px; flex: 1; }
  .dd-answer { flex: none; width: 96px; }
  .dd-digit { display: block; font-size: 64px; line-height: 1.05; font-weight: 700; }
  .dd-sure { font-size: 17px; font-weight: 600; }
  .dd-second { color: var(--muted); }
  .dd-bars { display: grid; grid-template-columns: repeat(10, minmax(0, 1fr)); gap: 4px; flex: 1; min-height: 110px; }
  .dd-bars li { display: flex; flex-direction: column; text-align: center; position: relative; }
  .dd-track { flex: 1; display: flex; align-items: flex-end; border-bottom: 1.5px solid var(--edge); }
  .dd-fill { width: 100%; height: 100%; transform: scaleY(0); transform-origin: 50% 100%; background: color-mix(in srgb, var(--key) 55%, var(--paper));
    border-radius: 3px 3px 0 0; transition: transform .1s linear; }
  .dd-best .dd-fill { background: var(--key); }
  &.dd-random .dd-fill { background: color-mix(in srgb, var(--query) 55%, var(--paper)); }
  &.dd-random .dd-best .dd-fill { background: var(--query); }
  .dd-best .dd-name { font-weight: 700; color: var(--ink); }
  .dd-name { font-size: 15px; line-height: 1.5; color: var(--muted); }
  .dd-share { font-size: 11.5px; line-height: 1.2; color: var(--muted); white-space: nowrap; }

  .dd-depth { margin-top: 12px; }
  ol.dd-steps { display: grid; gap: 4px 8px; grid-template-columns: repeat(auto-fit, minmax(80px, 1fr)); margin-top: 5px; }
  .dd-steps li { display: grid; grid-template-columns: 30px minmax(0, 1fr); gap: 0 6px; align-items: center; color: var(--muted); font-size: 11.5px; line-height: 1.25; }
  .dd-steps canvas { width: 30px; height: auto; aspect-ratio: var(--aspect); border-radius: 3px; border: 1px solid var(--line); grid-row: 1 / 3; }
  .dd-steps b { font-size: 15px; color: var(--ink); margin-right: 3px; }
  .dd-steps span { white-space: nowrap; }

  .dd-maps { display: grid; gap: 5px; align-items: center; grid-template-columns: auto repeat(var(--heads), minmax(24px, 1fr)); }
  .dd-maps > span { color: var(--muted); font-size: 12px; text-align: center; white-space: nowrap; }
  .dd-map { display: block; margin: 0; cursor: pointer; position: relative; aspect-ratio: var(--aspect); border-radius: 5px; overflow: hidden; border: 1px solid var(--line); }
  .dd-map input { position: absolute; inset: 0; width: 100%; height: 100%; margin: 0; opacity: 0; cursor: pointer; }
  .dd-map:hover { border-color: var(--ink); }
  .dd-map:has(:checked) { outline: 2.5px solid var(--query); outline-offset: 1px; }
  .dd-map:has(:focus-visible) { outline: 2.5px solid var(--ink); outline-offset: 2.5px; }
  .dd-scale { display: grid; grid-template-columns: auto minmax(0, 1fr); align-items: center; gap: 0 8px; margin-top: 10px; color: var(--muted); font-size: 12px; }
  .dd-scale canvas { height: 9px; border-radius: 4px; }
  .dd-ticks { grid-column: 2; position: relative; height: 17px; }
  .dd-ticks span { position: absolute; transform: translateX(-50%); white-space: nowrap; }
  .dd-ticks span:first-child { transform: none; } .dd-ticks span:last-child { transform: translateX(-100%); }

  .dd-picture { position: relative; aspect-ratio: var(--aspect); border-radius: 8px; overflow: hidden; border: 1px solid var(--line); width: 100%; }
  .dd-picture canvas { position: absolute; inset: 0; }
  .dd-cells { position: absolute; inset: 0; display: grid; grid-template-columns: repeat(var(--columns), 1fr); grid-template-rows: repeat(var(--rows), 1fr); }
  .dd-cells > * { display: block; min-height: 0; padding: 0; border: .75px solid var(--line); border-radius: 0; background: none; }
  .dd-cells button:hover:not(:disabled) { background: none; }
  .dd-large .dd-cells > * { border: 0; }
  .dd-large svg { position: absolute; inset: 0; width: 100%; height: 100%; }
  .dd-large path { fill: none; stroke-linejoin: round; stroke-linecap: round; stroke: var(--paper); stroke-width: .6; }
  .dd-large path + path { stroke: var(--ink); stroke-width: .28; }
  .dd-cells .dd-from { box-shadow: inset 0 0 0 2.5px var(--query); }
  .dd-cells :focus-visible { outline: 2.5px solid var(--ink); outline-offset: -1px; z-index: 1; }

  .dd-readout { padding: 10px 14px; border-left: 3px solid var(--key); border-radius: 0 6px 6px 0; min-height: 41px;
    background: color-mix(in srgb, var(--ink) 5%, transparent); }
  .dd-failed { border-left-color: var(--query); }
  :is(input, button):focus-visible { outline: 2.5px solid var(--ink); outline-offset: 2px; }

  @container (min-width: 560px) {
    .dd-grid { grid-template-columns: repeat(2, minmax(0, 1fr)); grid-template-rows: 1fr auto auto auto auto;
      grid-template-areas: "draw says" "draw looks" "take take" "sees large" "readout readout"; }
    .dd-draw > .dd-head { display: flex; }
    .dd-take div { grid-template-columns: repeat(10, minmax(0, 1fr)); }
    .dd-result { flex-direction: column; }
    .dd-answer { display: flex; align-items: center; gap: 14px; width: auto; }
  }
  @container (min-width: 860px) {
    .dd-grid { grid-template-columns: minmax(0, 1.42fr) repeat(2, minmax(0, 1fr)); grid-template-rows: auto auto 1fr auto;
      grid-template-areas: "draw says looks" "draw sees large" "take sees large" "readout readout readout"; }
    .dd-take div { grid-template-columns: repeat(5, minmax(0, 1fr)); }
  }
  @media (forced-colors: active) {
    :is(.dd-field, .dd-map, .dd-picture, .dd-fill, .dd-switch input, .dd-stencil) { forced-color-adjust: none; }
  }
  @media (prefers-reduced-motion: reduce) { * { transition: none !important; } }
}
`;

const SIDE = 28;
const PEN = 0.085; // of the field's side: a digit that fills the field gets lines as thick as MNIST's
const FULL = 0.5; // the attention weight that gets the darkest colour
const TICKS = [[0, "0"], [0.02, "2 %"], [0.1, "10 %"], [0.25, "25 %"], [FULL, "50 %"]];
/** Points [x, y, x, y, ...] on an ellipse, angles in degrees, 0 to the right and 90 down. */
const arc = (x, y, wide, high, from, to, steps = 20) => count(steps + 1).map((i) => {
  const angle = ((from + ((to - from) * i) / steps) * Math.PI) / 180;
  return [x + wide * Math.cos(angle), y + high * Math.sin(angle)];
}).flat();
// What draws itself when the page opens: a 3, as someone might write it.
const OPENING = [...arc(0.47, 0.325, 0.175, 0.165, -155, 80), ...arc(0.47, 0.66, 0.215, 0.18, -80, 150)];
const OPENING_MS = 1500;

/** s("tag", {attributes}, ...children): an SVG element. */
function s(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  put(node, attributes);
  node.append(...children);
  return node;
}

const whole = (share) => `${share > 0 && share < 0.01 ? "< 1" : Math.round(100 * share)}\u00a0%`;
/** Places from the largest number to the smallest. */
const ranked = (numbers) => [...numbers.keys()].sort((a, b) => numbers[b] - numbers[a]);
const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const toBase64 = (bytes) => btoa(String.fromCharCode(...bytes));

/** Where a weight stands on the colour scale, 0 to 1: by its square root, or else all but the largest would look alike. */
const onScale = (weight) => Math.sqrt(Math.min(1, weight / FULL));

/** Paint a small canvas pixel by pixel; colour(i) gives [r, g, b, alpha]. */
function paint(canvas, colour) {
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  for (let i = 0; i < canvas.width * canvas.height; i += 1) image.data.set(colour(i), 4 * i);
  context.putImageData(image, 0, 0);
}
/** The edge between pixels above and below half, as a path in units of pixels. */
function edgeOf(pixels) {
  const dark = (x, y) => x >= 0 && x < SIDE && y >= 0 && y < SIDE && pixels[y * SIDE + x] > 127;
  let path = "";
  for (let y = 0; y <= SIDE; y += 1) {
    for (let x = 0; x <= SIDE; x += 1) {
      if (dark(x, y) !== dark(x - 1, y)) path += `M${x} ${y}v1`;
      if (dark(x, y) !== dark(x, y - 1)) path += `M${x} ${y}h1`;
    }
  }
  return path;
}
/** A mask as the address of an image: opaque where the pixels are high. The colour comes from the style sheet. */
function stencil(pixels) {
  const canvas = h("canvas", { width: SIDE, height: SIDE });
  paint(canvas, (i) => [0, 0, 0, pixels[i]]);
  return `url(${canvas.toDataURL()})`;
}

async function download(url) {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${response.status} for ${response.url}`);
  return response.arrayBuffer();
}

/** The worker, and a promise of its weights: files beside this module on a page; in a notebook the kernel sends them. */
async function prepare(model) {
  if (!model.send) { // the page's stand-in for a model has nobody to send to
    const worker = new Worker(new URL("draw_digit_worker.js", import.meta.url), { type: "module" });
    return [worker, download(new URL(model.get("weights"), import.meta.url))];
  }
  const [sources, weights] = await new Promise((done) => {
    const receive = (content, [buffer]) => {
      model.off("msg:custom", receive);
      done([content.sources, new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength).slice().buffer]);
    };
    model.on("msg:custom", receive);
    model.send({ wanted: "model" });
  });
  const file = (text) => URL.createObjectURL(new Blob([text], { type: "text/javascript" }));
  const worker = sources["draw_digit_worker.js"].replace("./vit.js", file(sources["vit.js"]));
  return [new Worker(file(worker), { type: "module" }), Promise.resolve(weights)];
}

async function render({ model, el }) {
  const calm = window.matchMedia("(prefers-reduced-motion: reduce)");
  const stop = new AbortController();
  const on = (node, type, listener, options) => node.addEventListener(type, listener, { signal: stop.signal, ...options });
  const [worker, arriving] = await prepare(model);
  const config = await new Promise((done, fail) => {
    worker.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : done(data.config));
    worker.onerror = (event) => fail(new Error(event.message ?? "the worker does not start"));
    arriving.then((weights) => worker.postMessage({ start: { weights, mean: model.get("mean"), std: model.get("std") } }, [weights])).catch(fail);
  });
  const [rows, columns] = [SIDE / config.patch_size, SIDE / config.patch_size];
  const { depth: layers, num_heads: heads } = config;
  const prefix = config.global_pool === "token" ? 1 : 0;
  const tokens = prefix + rows * columns;
  const examples = model.get("examples").map(({ label, image }) => ({ label, pixels: fromBase64(image) }));

  // ---- elements ------------------------------------------------------------------------------------------------
  const head = (title, ...side) => h("div.dd-head", {}, h("span.dd-title", {}, title), ...side);
  const where = (patch) => place(patch, columns);
  const cells = (make) => count(rows * columns).map((i) => make(where(i)));

  const lines = s("path", { "stroke-width": PEN });
  const still = h("div.dd-stencil", { hidden: "" });
  const hint = h("div.dd-hint");
  const field = h("div.dd-field", { role: "img", "aria-label": "Drawing field: draw a digit with mouse, finger or pen. The examples beside it need no drawing." },
    s("svg", { viewBox: "0 0 1 1", "aria-hidden": "true" }, lines), still, hint);
  const undo = h("button", { type: "button" }, "Undo");
  const clear = h("button", { type: "button" }, "Clear");
  const random = h("input", { type: "checkbox", role: "switch" });
  const exampleButtons = examples.map(({ label, pixels }) => h("button", { type: "button", "aria-label": `example: a ${label}`, title: `a ${label}` },
    h("span.dd-stencil", { style: `--image: ${stencil(pixels)}` })));

  const digit = h("span.dd-digit");
  const sure = h("div.dd-sure");
  const second = h("div.dd-second");
  const bars = count(config.num_classes).map((i) => {
    const parts = { fill: h("div.dd-fill"), share: h("span.dd-share") };
    parts.item = h("li", {}, h("div.dd-track", {}, parts.fill), h("span.dd-name", {}, `${i}`), parts.share);
    return parts;
  });

  const depthName = (i) => (i === 0 ? "before" : `block ${i}`);
  const steps = count(layers + 1).map((i) => {
    const parts = { canvas: h("canvas", { width: columns, height: rows, "aria-hidden": "true" }), digit: h("b"), share: h("span") };
    parts.item = h("li", {}, parts.canvas, h("span", {}, depthName(i)), h("span", {}, parts.digit, parts.share));
    return parts;
  });

  const group = `dd-head-${Math.random().toString(36).slice(2)}`;
  const maps = count(layers * heads).map((i) => {
    const name = `layer ${Math.floor(i / heads) + 1}, head ${(i % heads) + 1}`;
    const parts = { name, canvas: h("canvas", { width: columns, height: rows }), input: h("input", { type: "radio", name: group, value: i, "aria-label": name }) };
    parts.label = h("label.dd-map", { title: name }, parts.canvas, parts.input);
    return parts;
  });
  const mapGrid = [h("span"), ...count(heads).map((i) => h("span", { "aria-hidden": "true" }, heads > 6 ? `${i + 1}` : `head ${i + 1}`))];
  for (let layer = 0; layer < layers; layer += 1) {
    mapGrid.push(h("span", { "aria-hidden": "true" }, `layer ${layer + 1}`), ...maps.slice(layer * heads, (layer + 1) * heads).map((m) => m.label));
  }
  const scale = h("canvas", { width: 256, height: 1 });
  const ticks = TICKS.map(([weight, text]) => h("span", { style: `left: ${100 * onScale(weight)}%` }, text));

  const seen = h("canvas", { width: SIDE, height: SIDE });
  const patches = cells((name) => h("button", { type: "button", tabindex: -1, "aria-pressed": "false", "aria-label": `look from ${name}` }));
  patches[0].tabIndex = 0;
  const back = h("button.dd-back", { type: "button" }, "Back");
  const source = h("span");
  back.hidden = true;

  const heat = h("canvas", { width: columns, height: rows });
  const outlines = [s("path"), s("path")]; // the digit's edge, on a halo
  const spots = cells(() => h("span"));
  const largeName = h("span.dd-side");
  const weightOf = h("p.dd-caption");
  const readout = h("p.dd-readout", { role: "status", "aria-live": "polite" });

  const picture = (...inside) => h("div.dd-picture", {}, ...inside);
  const root = h("div.draw-digit", { role: "group", "aria-label": "Draw a digit", style: `--heads: ${heads}; --rows: ${rows}; --columns: ${columns}; --aspect: ${columns} / ${rows}` },
    h("style", {}, CSS),
    h("div.dd-grid", {},
      h("section.dd-draw", {}, head("What you draw"), field,
        h("div.dd-tools", {}, undo, clear, h("label.dd-switch", {}, random, "as a random model sees it"))),
      h("fieldset.dd-take", {}, h("legend", {}, "Or take one that somebody wrote (MNIST, test split)"), h("div", {}, ...exampleButtons)),
      h("section.dd-says", {}, head("What it reads"), h("div.dd-result", {}, h("div.dd-answer", {}, digit, h("div", {}, sure, second)),
        h("ul.dd-bars", { "aria-label": "probability of each digit in per cent" }, ...bars.map((b) => b.item))),
        h("div.dd-depth", {}, h("span.dd-side", {}, "After each block, and how sure each patch is of the answer"),
          h("ol.dd-steps", { "aria-label": "what the model would answer before the first block and after each" }, ...steps.map((step) => step.item)))),
      h("section.dd-looks", {}, head("Where it looks", h("span.dd-side", {}, `${layers} layers, ${heads} heads`)),
        h("div.dd-maps", { role: "radiogroup", "aria-label": "attention head to show large" }, ...mapGrid),
        h("div.dd-scale", { "aria-hidden": "true" }, h("span", {}, "weight"), scale, h("div.dd-ticks", {}, ...ticks))),
      h("section.dd-sees", {}, head("What it gets", h("span.dd-side", {}, `${SIDE} × ${SIDE} pixels, ${rows * columns} patches`)),
        picture(seen, h("div.dd-cells", { role: "group", "aria-label": "patches: choose the one to look from" }, ...patches)), h("p.dd-caption", {}, source, " ", back)),
      h("section.dd-large", {}, head("One head", largeName), picture(heat, s("svg", { viewBox: `0 0 ${SIDE} ${SIDE}`, "aria-hidden": "true" }, ...outlines), h("div.dd-cells", { "aria-hidden": "true" }, ...spots)), weightOf),
      readout));
  // JupyterLab keeps the arrow keys to itself in command mode, unless what has the focus says this.
  for (const node of root.querySelectorAll("input, button")) node.setAttribute("data-lm-suppress-shortcuts", "true");

  // ---- state ---------------------------------------------------------------------------------------------------
  let drawing = { strokes: [] }; // or {pixels, label} of an example
  const before = []; // for Undo
  let answer = null; // the worker's last one
  let chosen = (layers - 1) * heads; // layer and head shown large
  let pinned = null; // the patch to look from, or null for the average (or the class token)
  let pointed = null; // the same while the pointer or the focus is on a patch
  let colours = WEIGHTS.table;
  let dark = false;

  const empty = () => !drawing.pixels && drawing.strokes.length === 0;

  /** (N,) weights of one map on the patches, seen from the chosen patch, the class token, or all patches on average. */
  function lookedAt(map) {
    const from = pointed ?? pinned;
    const at = map * tokens * tokens;
    const out = new Float64Array(rows * columns);
    const row = (query, share) => { for (let j = 0; j < out.length; j += 1) out[j] += share * answer.maps[at + query * tokens + prefix + j]; };
    if (from !== null) row(prefix + from, 1);
    else if (prefix) row(0, 1);
    else for (let query = 0; query < tokens; query += 1) row(query, 1 / tokens);
    return out;
  }
  const fromWords = () => {
    const from = pointed ?? pinned;
    if (from !== null) return `from patch ${from + 1} of ${rows * columns} (${where(from)})`;
    return prefix ? "from the class token" : "averaged over all patches";
  };

  // ---- showing -------------------------------------------------------------------------------------------------
  function showDrawing() {
    lines.setAttribute("d", (drawing.strokes ?? []).map((p) => {
      let path = `M${p[0]} ${p[1]}`;
      for (let i = 2; i < p.length; i += 2) path += `L${p[i]} ${p[i + 1]}`;
      return p.length > 2 ? path : `${path}h0`;
    }).join(""));
    still.hidden = !drawing.pixels;
    if (drawing.pixels) still.style.setProperty("--image", stencil(drawing.pixels));
    undo.disabled = before.length === 0;
    clear.disabled = empty();
    hint.textContent = empty() ? "Draw here" : opening || drawing.ours ? "Now you: draw over it" : "";
  }

  function showAnswer() {
    const shares = answer ? [...answer.probabilities] : bars.map(() => 0);
    const order = ranked(shares);
    bars.forEach((bar, i) => {
      bar.fill.style.transform = `scaleY(${shares[i].toFixed(4)})`;
      bar.share.textContent = shares[i] >= 0.005 ? Math.round(100 * shares[i]) : "";
      bar.item.classList.toggle("dd-best", answer !== null && i === order[0]);
    });
    digit.textContent = answer ? order[0] : "–";
    sure.textContent = answer ? whole(shares[order[0]]) : "";
    second.textContent = answer ? `then ${order[1]}, ${whole(shares[order[1]])}` : "nothing drawn yet";
    const ink = dark ? [228, 226, 220] : [31, 36, 48];
    paint(seen, (i) => [...ink, answer ? answer.pixels[i] : 0]);
    for (const outline of outlines) outline.setAttribute("d", answer ? edgeOf(answer.pixels) : "");
    root.classList.toggle("dd-random", answer?.random ?? false);
    showSteps(order[0]);
    showMaps();
  }

  /** What the model would have answered at each depth, and how probable each patch finds the digit that it answers in the end. */
  function showSteps(last) {
    steps.forEach((step, i) => {
      const at = answer && topOf(answer.depths[i]);
      step.digit.textContent = answer ? at : "–";
      step.share.textContent = answer ? whole(answer.depths[i][at]) : "";
      const says = (j) => (answer ? answer.says[((i * tokens) + prefix + j) * config.num_classes + last] : 0);
      paint(step.canvas, (j) => [...colours[Math.round(255 * says(j))], 255]);
    });
  }

  function showMaps() {
    const colour = (weight) => [...colours[Math.round(255 * onScale(weight))], 255];
    const weights = maps.map((_, i) => (answer ? lookedAt(i) : new Float64Array(rows * columns)));
    maps.forEach(({ canvas }, i) => paint(canvas, (j) => colour(weights[i][j])));
    paint(heat, (j) => colour(weights[chosen][j]));
    showWeight();
    sayLater();
  }

  function showChoice() {
    const from = pointed ?? pinned;
    patches.forEach((patch, i) => {
      patch.classList.toggle("dd-from", i === from);
      patch.setAttribute("aria-pressed", i === pinned);
    });
    spots.forEach((spot, i) => spot.classList.toggle("dd-from", i === from));
    source.textContent = from === null ? "Point to a patch to see where it looks; click to keep it." : `Seen ${fromWords()}.`;
    back.hidden = pinned === null;
    maps[chosen].input.checked = true;
    largeName.textContent = maps[chosen].name;
    showMaps();
  }

  let under = null; // the patch under the pointer in the large picture
  function showWeight() {
    if (!answer) { weightOf.textContent = ""; return; }
    const weights = lookedAt(chosen);
    const at = under ?? topOf(weights);
    weightOf.textContent = `${under === null ? "Most of all at " : ""}${where(at)}: ${percent(weights[at])}. An even look would be ${percent(1 / tokens)}.`;
  }

  // The live line speaks when the hand rests.
  let saying = 0;
  function sayLater() {
    window.clearTimeout(saying);
    saying = window.setTimeout(say, 500);
  }
  function say() {
    readout.textContent = answer ? describe() : "Nothing is drawn yet. Draw a digit, or choose an example.";
    model.set("pixels", answer ? toBase64(answer.pixels) : "");
    model.set("probabilities", answer ? [...answer.probabilities] : []);
    model.save_changes();
  }
  function describe() {
    const order = ranked(answer.probabilities);
    const named = (i) => `${i} (${whole(answer.probabilities[i])})`;
    const weights = lookedAt(chosen);
    const most = topOf(weights);
    const who = answer.random ? "A model with random weights says" : "The model reads";
    const before = answer.depths.slice(0, -1).map((each) => `${topOf(each)} (${whole(each[topOf(each)])})`);
    return `${who} ${named(order[0])}, then ${named(order[1])}. Block by block it would have read ${before.join(", ")}. ${maps[chosen].name.replace("l", "L")}, ${fromWords()}, looks most at ${where(most)} (${percent(weights[most])}).`;
  }

  // ---- asking the model ----------------------------------------------------------------------------------------
  // One question at a time; while it is answered the drawing goes on, and only its newest state is asked about next.
  let asked = 0;
  let busy = false;
  let waiting = false;
  function ask() {
    if (empty()) {
      asked += 1; // an answer that is under way is about something that is gone
      waiting = false;
      answer = null;
      showAnswer();
      return;
    }
    root.dataset.busy = "";
    if (busy) { waiting = true; return; }
    [busy, waiting] = [true, false];
    asked += 1;
    worker.postMessage({ id: asked, strokes: drawing.strokes, pen: PEN, pixels: drawing.pixels, random: random.checked });
  }
  worker.onmessage = ({ data }) => {
    busy = false;
    if (data.error) { fail(data.error); return; }
    if (data.id === asked) {
      answer = data;
      showAnswer();
      root.dataset.probabilities = JSON.stringify([...data.probabilities]);
      root.dataset.answered = data.id;
    }
    if (waiting) ask();
    else if (!opening) delete root.dataset.busy;
  };
  const fail = (reason) => {
    readout.classList.add("dd-failed");
    readout.textContent = `The model has stopped (${reason}); reload the page to try again.`;
  };
  worker.onerror = (event) => fail(event.message);

  function change(next, { keep = true } = {}) {
    if (keep) before.push(drawing);
    drawing = next;
    showDrawing();
    ask();
  }

  // ---- the opening: a digit that draws itself --------------------------------------------------------------------
  let opening = 0; // its animation frame
  function drawOpening(from) {
    const points = OPENING, steps = points.length / 2 - 1;
    const until = (share) => {
      const at = share * steps, k = Math.min(steps - 1, Math.floor(at)), part = at - k;
      const end = [0, 1].map((c) => points[2 * k + c] + part * (points[2 * k + 2 + c] - points[2 * k + c]));
      return [[...points.slice(0, 2 * k + 2), ...end]];
    };
    const frame = (time) => {
      const share = calm.matches ? 1 : Math.min(1, Math.max(0, time - from) / OPENING_MS);
      opening = share < 1 ? requestAnimationFrame(frame) : 0;
      change({ strokes: until(share), ours: true }, { keep: false });
    };
    frame(from);
  }
  function endOpening() {
    cancelAnimationFrame(opening);
    opening = 0;
  }

  // ---- drawing -------------------------------------------------------------------------------------------------
  let pen = null; // the pointer that draws
  const spot = (event) => {
    const box = field.getBoundingClientRect();
    return [(event.clientX - box.left - field.clientLeft) / field.clientWidth, (event.clientY - box.top - field.clientTop) / field.clientHeight].map((v) => Math.round(v * 1e4) / 1e4);
  };
  on(field, "pointerdown", (event) => {
    if (event.button !== 0 || pen !== null) return;
    event.preventDefault();
    endOpening();
    pen = event.pointerId;
    field.setPointerCapture(pen);
    const old = drawing.pixels || drawing.ours ? [] : drawing.strokes; // an example makes room
    change({ strokes: [...old, spot(event)] });
  });
  on(field, "pointermove", (event) => {
    if (event.pointerId !== pen) return;
    const stroke = drawing.strokes.at(-1);
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) {
      const [x, y] = spot(each);
      if (Math.hypot(x - stroke.at(-2), y - stroke.at(-1)) > 0.003) stroke.push(x, y);
    }
    showDrawing();
    ask();
  });
  for (const type of ["pointerup", "pointercancel", "lostpointercapture"]) on(field, type, (event) => { if (event.pointerId === pen) pen = null; });
  on(field, "touchstart", (event) => event.preventDefault(), { passive: false });

  on(undo, "click", () => { endOpening(); change(before.pop() ?? { strokes: [] }, { keep: false }); });
  on(clear, "click", () => { endOpening(); change({ strokes: [] }); });
  on(random, "change", ask);
  exampleButtons.forEach((button, i) => on(button, "click", () => { endOpening(); change(examples[i]); }));

  // ---- choosing ------------------------------------------------------------------------------------------------
  maps.forEach(({ input }, i) => on(input, "change", () => { chosen = i; showChoice(); }));
  const point = (i) => { pointed = i; showChoice(); };
  const pin = (i) => { pinned = i; pointed = null; showChoice(); };
  patches.forEach((patch, i) => {
    on(patch, "pointerenter", (event) => { if (event.pointerType !== "touch") point(i); });
    on(patch, "pointerleave", () => point(null));
    on(patch, "focus", () => { if (patch.matches(":focus-visible")) point(i); });
    on(patch, "blur", () => point(null));
    on(patch, "click", () => pin(pinned === i ? null : i));
    on(patch, "keydown", (event) => {
      if (event.key === "Escape") pin(null);
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (!step || event.altKey || event.ctrlKey || event.metaKey) return;
      event.preventDefault();
      event.stopPropagation();
      const row = Math.min(rows - 1, Math.max(0, Math.floor(i / columns) + step[0]));
      const column = Math.min(columns - 1, Math.max(0, (i % columns) + step[1]));
      patch.tabIndex = -1;
      patches[row * columns + column].tabIndex = 0;
      patches[row * columns + column].focus();
    });
  });
  on(back, "click", () => { pin(null); patches[0].focus(); });
  spots.forEach((each, i) => {
    on(each, "pointerenter", () => { under = i; showWeight(); });
    on(each, "pointerleave", () => { under = null; showWeight(); });
  });

  // ---- life ----------------------------------------------------------------------------------------------------
  function dress() {
    if (!root.isConnected) return;
    const [r, g, b] = getComputedStyle(root).color.match(/[\d.]+/g).map(Number);
    dark = r + g + b > 384; // light ink on dark paper
    colours = dark ? WEIGHTS.table.toReversed() : WEIGHTS.table;
    paint(scale, (i) => [...colours[i], 255]);
    showAnswer();
  }
  const themes = new MutationObserver(dress);
  for (const node of [document.documentElement, document.body]) themes.observe(node, { attributes: true, attributeFilter: ["data-theme", "data-jp-theme-light", "theme", "class"] });
  const arrival = new ResizeObserver(dress); // the page puts `el` in its place after this function
  el.append(root);
  arrival.observe(root);
  showDrawing();
  showChoice();
  drawOpening(performance.now());

  return () => {
    stop.abort();
    themes.disconnect();
    arrival.disconnect();
    endOpening();
    window.clearTimeout(saying);
    worker.terminate();
    root.remove();
  };
}

export default { render };
