// Patchify: an image, its cuts, the strip of tokens that they give, and what each patch size costs (chapter 04).
// One ES module; Jupyter, Colab and the static page all run this file.
import { Cells, clamp, count, h, head, place, put, slider, stage } from "./explorer.js";

const CSS = `
  .xp-grid { grid-template-areas: "image" "size" "strip" "cost" "words"; }
  .pf-image { grid-area: image; }
  .pf-size { grid-area: size; }
  .pf-strip { grid-area: strip; }
  .pf-cost { grid-area: cost; display: grid; gap: 12px; align-content: start; }
  .pf-words { grid-area: words; }
  .pf-image .xp-picture { background: var(--line); }
  .pf-strip .xp-picture { height: 190px; border: 0; border-radius: 0; }
  .pf-strip canvas { border-radius: 0; }
  dl { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: 4px 12px; margin: 0; max-width: none; }
  dt { float: none; width: auto; margin: 0; padding: 0; font-weight: 400; color: var(--muted); }
  dd { float: none; width: auto; margin: 0; padding: 0; text-align: right; font-weight: 600; white-space: nowrap; }
  dd span { font-weight: 400; color: var(--muted); }
  dt::before { content: ""; display: inline-block; width: 10px; height: 10px; margin-right: 6px; border-radius: 2px; background: var(--mark); forced-color-adjust: none; }
  dt:not([style])::before { content: none; }
  .pf-share { display: flex; height: 14px; border-radius: 3px; overflow: hidden; background: var(--edge); forced-color-adjust: none; }
  .pf-share > div { width: 100%; background: var(--attention); transform-origin: 0 50%; }
  --attention: var(--course-key, #0072B2);
  .xp-readout { min-height: 102px; }
  @container (min-width: 560px) {
    .xp-grid { grid-template: "image size" "image cost" 1fr "strip strip" "words words" / minmax(0, 9fr) minmax(0, 10fr); }
    .pf-strip .xp-picture { height: 132px; }
    .xp-readout { min-height: 61px; }
  }
`;

const whole = (n) => n.toLocaleString("en");

/** Three digits and a unit. */
function large(n) {
  const [unit, name] = [[1, ""], [1e3, "k"], [1e6, "M"], [1e9, "G"]].find(([size]) => n < 999.5 * size) ?? [1e12, "T"];
  return unit === 1 ? `${n}` : `${(n / unit).toPrecision(3)}\u00a0${name}`;
}

/** What one patch size makes of an image: tokens, and the multiplications of one encoder block of width `dim`. */
function cost([height, width], channels, patch, dim) {
  const [rows, columns] = [height / patch, width / patch];
  const tokens = rows * columns;
  return { rows, columns, tokens, numbers: channels * patch ** 2, weights: tokens ** 2, attention: 2 * tokens ** 2 * dim, linear: 12 * tokens * dim ** 2 };
}

function render({ model, el }) {
  const [size, sizes, channels, dim] = ["size", "sizes", "channels", "dim"].map((name) => model.get(name));
  const { root, words, on, change, refresh, say, begin, end } = stage({ model, el }, "patchify", CSS, ["patch_size", "pixel"], draw);
  let now = null;
  let pointed = null;

  // ---- elements ------------------------------------------------------------------------------------------------
  const source = new Image();
  const [cut, strip] = [h("canvas", { "aria-hidden": "true" }), h("canvas", { "aria-hidden": "true" })];
  const choose = (i) => {
    const patch = model.get("patch_size");
    change({ pixel: [Math.floor(i / now.columns), i % now.columns].map((at) => at * patch + Math.floor(patch / 2)) });
  };
  const hover = (i) => { pointed = i; point(); };
  const ofImage = new Cells(on, "Patch of the image", { choose, hover });
  const ofStrip = new Cells(on, "Token of the strip", { choose, hover });
  const frame = h("div.xp-picture", { style: `aspect-ratio: ${size[1]} / ${size[0]}` }, cut, ofImage.node);
  const band = h("div.xp-picture", {}, strip, ofStrip.node);
  const patch = slider("patch size", { min: 0, max: sizes.length - 1, step: 1 });
  on(patch.input, "input", () => change({ patch_size: sizes[patch.input.value] }));
  const facts = ["tokens", "numbers", "weights", "attention", "linear"].map((name) => [name, h("dd")]);
  const fact = Object.fromEntries(facts);
  const row = (name, label, style) => [h("dt", style ? { style } : {}, label), fact[name]];
  const share = h("div");
  const line = h("p.xp-pointed");
  const order = h("span.xp-note");

  // ---- drawing -------------------------------------------------------------------------------------------------
  /** The image, with gaps where it is cut. */
  function drawCuts(step) {
    const scale = Math.max(1, Math.round(900 / Math.max(...size)));
    Object.assign(cut, { width: size[1] * scale, height: size[0] * scale });
    const pen = cut.getContext("2d");
    pen.imageSmoothingEnabled = false;
    pen.drawImage(source, 0, 0, cut.width, cut.height);
    const gap = clamp(Math.round(step * scale * 0.12), 1, 7);
    for (const i of count(now.columns - 1)) pen.clearRect((i + 1) * step * scale - gap / 2, 0, gap, cut.height);
    for (const i of count(now.rows - 1)) pen.clearRect(0, (i + 1) * step * scale - gap / 2, cut.width, gap);
  }

  /** All tokens in reading order, as large as the band allows. */
  function drawStrip(step) {
    const [width, height] = [band.clientWidth, band.clientHeight];
    let side = Math.min(72, height, width);
    while (Math.floor(width / side) * Math.floor(height / side) < now.tokens && side > 1) side -= side > 12 ? 1 : 0.25;
    const across = Math.min(now.tokens, Math.floor(width / side));
    const sharp = Math.min(3, Math.max(1, window.devicePixelRatio));
    Object.assign(strip, { width: width * sharp, height: height * sharp });
    const pen = strip.getContext("2d");
    pen.scale(sharp, sharp);
    pen.imageSmoothingEnabled = step > 2 * side;
    pen.strokeStyle = "rgb(128 128 128 / 50%)";
    const gap = clamp(side * 0.14, 0.5, 5);
    for (const i of count(now.tokens)) {
      const at = [(i % across) * side + gap / 2, Math.floor(i / across) * side + gap / 2, side - gap, side - gap];
      pen.drawImage(source, (i % now.columns) * step, Math.floor(i / now.columns) * step, step, step, ...at);
      if (side > 12) pen.strokeRect(...at); // a white token on white paper
    }
    ofStrip.resize(Math.ceil(now.tokens / across), across, { total: now.tokens, wraps: true, unit: [(100 * side) / width, (100 * side) / height] });
  }

  function describe(token) {
    const step = model.get("patch_size");
    const part = now.attention / (now.attention + now.linear);
    return `The image is cut into ${now.rows} × ${now.columns} = ${whole(now.tokens)} ${now.tokens === 1 ? "patch" : "patches"} of ${step} × ${step} pixels, ${whole(now.numbers)} numbers a patch. `
      + `In a block of width ${dim}, scores and average take ${(100 * part).toFixed(1)}\u00a0% of the multiplications. The patch in ${place(token, now.columns)} is token ${whole(token + 1)}.`;
  }

  function point() {
    ofImage.point(pointed);
    ofStrip.point(pointed);
    if (pointed === null) line.textContent = "Point at a patch to find its token, or at a token to find its patch.";
    else line.replaceChildren(`${place(pointed, now.columns)} is `, h("b", {}, `token ${whole(pointed + 1)}`));
  }

  let drawn = "";
  function draw() {
    const step = model.get("patch_size");
    const [y, x] = model.get("pixel");
    now = cost(size, channels, step, dim);
    const token = Math.floor(y / step) * now.columns + Math.floor(x / step);
    if (pointed !== null && pointed >= now.tokens) pointed = null;
    const wanted = [step, band.clientWidth, band.clientHeight, source.complete].join();
    if (wanted !== drawn && source.complete && band.clientWidth) {
      drawn = wanted;
      ofImage.resize(now.rows, now.columns);
      drawCuts(step);
      drawStrip(step);
    }
    if (drawn === wanted) {
      ofImage.choose(token, place(token, now.columns));
      ofStrip.choose(token, `token ${token + 1} of ${now.tokens}`);
    }
    patch.input.value = sizes.indexOf(step);
    put(patch.input, { "aria-valuetext": `${step} pixels` });
    patch.value.textContent = `${step}\u00a0px`;
    order.textContent = now.tokens === 1 ? "token 1" : `token 1 to ${whole(now.tokens)}, row by row`;
    fact.tokens.replaceChildren(h("span", {}, `${now.rows} · ${now.columns} = `), whole(now.tokens));
    fact.numbers.replaceChildren(h("span", {}, `${channels} · ${step}² = `), whole(now.numbers));
    fact.weights.replaceChildren(h("span", {}, `${whole(now.tokens)}² = `), whole(now.weights));
    fact.attention.replaceChildren(h("span", {}, "2 · N² · D = "), large(now.attention));
    fact.linear.replaceChildren(h("span", {}, "12 · N · D² = "), large(now.linear));
    share.style.transform = `scaleX(${(now.attention / (now.attention + now.linear)).toFixed(4)})`;
    root.dataset.shown = JSON.stringify({ token, ...now });
    point();
    say(describe(token));
  }

  on(source, "load", refresh);
  source.src = model.get("image");
  const resized = new ResizeObserver(refresh);
  resized.observe(band);
  begin(h("div.xp-grid", {},
    h("section.pf-image", {}, head("Image, cut", h("span.xp-note", {}, `${size[0]} × ${size[1]} pixels`)), frame),
    h("section.pf-size", {}, patch.line, line),
    h("section.pf-cost", {}, h("dl", {}, ...row("tokens", "tokens N"), ...row("numbers", "numbers a patch, C · P²"), ...row("weights", "scores a head, N²")),
      h("div", {}, head("Multiplications of one block", h("span.xp-note", {}, `width D = ${dim}`)), h("div.pf-share", { "aria-hidden": "true" }, share)),
      h("dl", {}, ...row("attention", "scores and average", "--mark: var(--attention)"), ...row("linear", "weights", "--mark: var(--edge)"))),
    h("section.pf-strip", {}, head("Strip of tokens", order), band),
    h("div.pf-words", {}, words)));

  return () => { resized.disconnect(); end(); };
}

export default { render };
