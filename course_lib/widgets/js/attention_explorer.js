// Attention explorer: a patch of an image, and where it looks, by layer and head, or by rollout (chapters 12 and 13).
// One ES module; Jupyter, Colab and the static page all run this file.
import { Cells, DIGITS, LEVELS, Parts, WEIGHTS, briefPercent, colour, count, h, legend, numbers, onScale, paint, percent, place, put, scaleLegend, slider, stage, stored, topOf } from "./explorer.js";

const CSS = `
  .ax-controls { display: grid; grid-template-columns: minmax(0, 1fr); gap: 10px; align-content: start; }
  .ax-images { display: flex; flex-wrap: wrap; gap: 6px; }
  .ax-images button { width: 50px; }
  .ax-extra { display: flex; flex-wrap: wrap; gap: 6px; margin: 0 0 6px; }
  .ax-extra button { display: flex; align-items: center; gap: 8px; min-height: 32px; padding: 3px 10px 3px 4px; border: 1px solid var(--edge); font-size: 13px; }
  .ax-extra button::before { content: ""; width: 22px; height: 22px; border: 1px solid var(--line); border-radius: 3px; background: var(--heat, none); forced-color-adjust: none; }
  .ax-extra button[aria-pressed="true"] { border-color: var(--q); box-shadow: 0 0 0 1.5px var(--q); }
  .xp-readout { min-height: 82px; }
  @container (min-width: 620px) {
    .xp-grid { grid-template-columns: minmax(0, 11fr) minmax(0, 10fr); }
    .ax-wide { grid-column: 1 / -1; }
    .xp-readout { min-height: 61px; }
  }
`;

const MODES = { head: "one head", mean: "mean of heads", rollout: "rollout", lens: "logit lens" };
const whole = (share) => `${(100 * share).toFixed(0)}\u00a0%`;

/** Rows of attention as they are stored: a part is (heads, tokens, tokens), in levels or bytes; (tokens, tokens) is a mean. */
class Maps {
  constructor(tokens) {
    Object.assign(this, { tokens, known: new Map() });
  }

  head(part, which, query) {
    const { tokens } = this;
    const from = (which * tokens + query) * tokens;
    return Float64Array.from(part.subarray(from, from + tokens), part instanceof Uint8Array ? (i) => DIGITS[i] : stored);
  }

  mean(part, query) {
    const { tokens } = this;
    const heads = part.length / tokens ** 2;
    const bytes = part instanceof Uint8Array;
    const sum = new Float64Array(tokens);
    for (let which = 0; which < heads; which += 1) {
      const from = (which * tokens + query) * tokens;
      for (let i = 0; i < tokens; i += 1) sum[i] += bytes ? DIGITS[part[from + i]] : part[from + i];
    }
    return sum.map(bytes ? (total) => total / heads : (total) => stored(total / heads));
  }

  /** A row that sums to 1: what the middles of steps make too much of it is taken from numbers in the lowest step, or else from all. */
  settle(row) {
    const low = 1 / LEVELS;
    const lowest = row.reduce((n, x) => n + (x < low), 0);
    const over = (row.reduce((a, b) => a + b, 0) - 1) / (lowest || row.length);
    return row.map((x) => (lowest && x >= low ? x : Math.max(0, x - over)));
  }

  /** (tokens * tokens,): the mean over heads, plus the identity for the residual, with rows that sum to 1. */
  mixed(part) {
    if (!this.known.has(part)) {
      const { tokens } = this;
      const all = new Float64Array(tokens * tokens);
      for (let query = 0; query < tokens; query += 1) {
        const row = this.settle(this.mean(part, query));
        row[query] += 1;
        const total = row.reduce((a, b) => a + b, 0);
        all.set(row.map((x) => x / total), query * tokens);
      }
      this.known.set(part, all);
    }
    return this.known.get(part);
  }

  /** One row of the product of the layers, from the last to the first: no need for the whole of it. */
  rollout(parts, query) {
    const { tokens } = this;
    let row = new Float64Array(tokens);
    row[query] = 1;
    for (const part of [...parts].reverse()) {
      const [mixed, next] = [this.mixed(part), new Float64Array(tokens)];
      for (let k = 0; k < tokens; k += 1) {
        if (row[k]) for (let i = 0; i < tokens; i += 1) next[i] += row[k] * mixed[k * tokens + i];
      }
      row = next;
    }
    return row;
  }
}

function render({ model, el }) {
  const get = (name) => model.get(name);
  const [rows, columns] = get("grid");
  const [images, labels] = [get("images"), get("labels")];
  const [layers, heads, tokens] = [get("layers"), get("heads"), get("tokens")];
  const extra = get("extra"); // names of the tokens before the patches
  const [brief, oneScale] = [get("brief"), get("one_scale")];
  const maps = new Maps(tokens);
  const lens = (get("lens") ?? []).map((text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0))); // of images, then of twins; pages from before it have none
  const fields = ["image", "layer", "head", "mode", "query", "random", "strength"];
  const { root, words, on, change, refresh, say, begin, end } = stage({ model, el }, "attention-explorer", CSS, fields, draw);
  const bytes = brief && typeof model.send !== "function"; // files of bytes, and means beside them
  const parts = new Parts(model, heads * tokens * tokens, refresh, { bytes });
  const means = bytes ? new Parts(model, tokens * tokens, refresh, { kind: "mean." }) : parts;
  const set = (values) => { parts.fault = means.fault = ""; change(values); };

  // ---- elements ------------------------------------------------------------------------------------------------
  const photo = h("img", { alt: "the image under the map" });
  const heat = h("canvas", { "aria-hidden": "true" });
  let pointed = null;
  const cells = new Cells(on, "Patch that looks", { choose: (i) => set({ query: extra.length + i }), hover: (i) => { pointed = i; point(); } });
  cells.resize(rows, columns);
  const picture = h("div.xp-picture", {}, photo, heat, cells.node);
  const before = extra.map((name, i) => {
    const [button, share] = [h("button", { type: "button" }, name), h("span.xp-note")];
    button.append(share);
    on(button, "click", () => set({ query: i }));
    return { button, share };
  });
  const scale = oneScale ? { line: scaleLegend(WEIGHTS, 1 / tokens), set: () => {} } : legend(WEIGHTS, "0", "");
  const says = legend(WEIGHTS, "0", "100\u00a0%").line;
  const line = h("p.xp-pointed");
  const title = h("span.xp-title");
  const what = h("span.xp-note");
  const table = numbers("All numbers of this map");
  on(table.box, "toggle", refresh);

  const group = (label, spec, ...nodes) => h(spec, { role: "group", "aria-label": label }, ...nodes);
  const choices = images.map((source, i) => {
    const button = h("button.xp-tile", { type: "button", "aria-label": labels[i] }, h("img", { src: source, alt: labels[i] }), h("span", {}, labels[i]));
    on(button, "click", () => set({ image: i }));
    return button;
  });
  const name = `ax-${Math.random().toString(36).slice(2)}`; // a group of its own for each widget of the page
  const modes = Object.entries(MODES).filter(([mode]) => mode !== "lens" || lens.length).map(([mode, label]) => {
    const input = h("input", { type: "radio", name, value: mode });
    on(input, "change", () => set({ mode }));
    return { input, line: h("label", {}, input, h("span", {}, label)) };
  });
  const twin = h("input", { type: "checkbox", role: "switch" });
  on(twin, "change", () => set({ random: twin.checked }));
  const layer = slider("layer", { min: 1, max: layers, step: 1 });
  const which = slider("head", { min: 1, max: heads, step: 1 });
  const strength = slider("strength", { min: 0, max: 100, step: 1 });
  on(layer.input, "input", () => set({ layer: layer.input.value - 1 }));
  on(which.input, "input", () => set({ head: which.input.value - 1, mode: "head" }));
  on(strength.input, "input", () => change({ strength: strength.input.value / 100 }));
  const tiles = count(Math.max(layers, heads)).map((i) => {
    const [canvas, most] = [h("canvas", { "aria-hidden": "true", width: columns, height: rows }), h("span")];
    const button = h("button.xp-tile", { type: "button" }, canvas, h("span", {}, h("span", {}, `${i + 1}`), most));
    on(button, "click", () => set(["rollout", "lens"].includes(get("mode")) ? { layer: i } : { head: i, mode: "head" }));
    return { button, canvas, most };
  });
  const few = h("span.xp-title");
  let shown = null; // (tokens,) numbers of the map over the image

  // ---- drawing -------------------------------------------------------------------------------------------------
  /** How the numbers of the map are written. */
  const text = () => (get("mode") === "lens" ? whole : brief && (get("random") || get("mode") === "head") ? briefPercent : percent);
  const named = (i) => (i < extra.length ? `the ${extra[i]}` : place(i - extra.length, columns));
  function describe(values) {
    const [query, depth, mode] = [get("query"), get("layer") + 1, get("mode")];
    const which = `${images.length > 1 ? `Image “${labels[get("image")]}”. ` : ""}${get("random") ? "Random weights. " : ""}`;
    if (mode === "lens") {
      const said = values.subarray(extra.length);
      const chosen = query < extra.length ? "" : ` ${named(query).replace(/^./, (c) => c.toUpperCase())}: ${whole(values[query])}.`;
      return `${which}Logit lens after layer ${depth}: the patches say ${whole(Math.min(...said))} to ${whole(Math.max(...said))}.${chosen}`;
    }
    const asker = query < extra.length ? named(query) : `patch ${named(query)},`;
    const top = topOf(values);
    const target = top === query ? "itself" : named(top);
    const start = {
      head: `Layer ${depth}, head ${get("head") + 1}: ${asker} looks most at`,
      mean: `Layer ${depth}, mean of ${heads} heads: ${asker} looks most at`,
      rollout: `Rollout through ${depth === 1 ? "layer 1" : `layers 1 to ${depth}`}: ${asker} draws most on`,
    }[mode];
    return `${which}${start} ${target}: ${text()(values[top])}. Spread evenly, it would be ${percent(1 / tokens)}.`;
  }

  function point() {
    cells.point(pointed);
    if (pointed === null) line.textContent = `Point to read a number, click to choose ${get("mode") === "lens" ? "a patch" : "who looks"}.`;
    else line.replaceChildren(`${place(pointed, columns)}: `, h("b", {}, shown ? text()(shown[extra.length + pointed]) : "…"));
  }

  /** Where a number stands among the colours: on the one scale, or from 0 to the map's own largest (a class token with
   *  much more leaves the patches visible). */
  const level = (share, most) => (get("mode") === "lens" ? share : oneScale ? onScale(share) : share / most);

  /** (tokens,): what the patches say after a layer; nothing at the tokens before them. */
  function said(depth) {
    const values = new Float64Array(tokens);
    const from = lens[(get("random") ? images.length : 0) + get("image")].subarray(depth * rows * columns, (depth + 1) * rows * columns);
    values.set(Float64Array.from(from, (byte) => byte / 255), extra.length);
    return values;
  }

  /** A map on a canvas; returns its largest number. */
  function fill(canvas, values) {
    const most = Math.max(...values.subarray(extra.length)) || 1;
    paint(canvas, rows, columns, WEIGHTS, (i) => level(values[extra.length + i], most));
    return most;
  }

  /** What the controls say, whether the numbers are here or not. */
  function drawControls() {
    const [image, depth, mode, query] = [get("image"), get("layer"), get("mode"), get("query")];
    if (photo.dataset.image !== String(image)) {
      put(photo, { src: images[image], "data-image": image });
      put(cells.node, { "aria-description": `Image ${labels[image]}, ${rows} rows and ${columns} columns of patches` });
    }
    choices.forEach((button, i) => put(button, { "aria-pressed": i === image }));
    for (const { input } of modes) input.checked = input.value === mode;
    layer.input.value = depth + 1;
    layer.value.textContent = mode === "rollout" ? `1 to ${depth + 1}` : `${depth + 1} of ${layers}`;
    which.input.value = get("head") + 1;
    which.input.disabled = mode !== "head";
    which.value.textContent = { head: `${get("head") + 1} of ${heads}`, lens: "none" }[mode] ?? "all";
    twin.checked = get("random");
    strength.input.value = Math.round(100 * get("strength"));
    strength.value.textContent = `${strength.input.value}\u00a0%`;
    before.forEach(({ button }, i) => put(button, { "aria-pressed": i === query }));
    cells.choose(query < extra.length ? null : query - extra.length, named(query));
    what.textContent = { head: `layer ${depth + 1}, head ${get("head") + 1}`, mean: `layer ${depth + 1}, mean of heads`, rollout: `rollout to layer ${depth + 1}`, lens: `logit lens, layer ${depth + 1}` }[mode];
    title.textContent = mode === "lens" ? "What the patches say" : "Where it looks";
    scale.line.hidden = mode === "lens";
    says.hidden = mode !== "lens";
  }

  /** The chosen map over the image; null while its numbers are on their way. */
  function drawMap(found) {
    heat.style.opacity = found ? get("strength") : 0;
    for (const { button, share } of before) {
      share.textContent = "";
      button.style.removeProperty("--heat");
    }
    if (!found) return null;
    const query = get("query");
    const values = { head: () => maps.head(found[0], get("head"), query), mean: () => maps.mean(found[0], query), rollout: () => maps.rollout(found, query), lens: () => said(get("layer")) }[get("mode")]();
    const most = fill(heat, values);
    scale.set(WEIGHTS, "0", percent(most));
    if (get("mode") !== "lens") before.forEach(({ button, share }, i) => {
      button.style.setProperty("--heat", colour(WEIGHTS, level(values[i], most)));
      share.textContent = text()(values[i]);
    });
    table.fill(rows, columns, (i) => text()(values[extra.length + i]), query - extra.length);
    return values;
  }

  /** Small maps to choose from: the heads of the layer, or the rollout to each layer. */
  function drawTiles(partOf, averages) {
    const [depth, mode, query] = [get("layer"), get("mode"), get("query")];
    const [rolled, lensed] = [mode === "rollout", mode === "lens"];
    const deep = rolled || lensed; // a map for each layer, and not for each head
    few.textContent = rolled ? "Rollout to each layer" : lensed ? "After each layer" : `Heads of layer ${depth + 1}`;
    tiles.forEach(({ button, canvas, most }, i) => {
      button.hidden = i >= (deep ? layers : heads);
      if (button.hidden) return;
      const here = lensed ? [] : rolled ? averages.have(count(i + 1).map(partOf)) : parts.have([partOf(depth)]);
      const write = lensed ? whole : brief && (!rolled || get("random")) ? briefPercent : percent;
      const top = here && write(fill(canvas, lensed ? said(i) : rolled ? maps.rollout(here, query) : maps.head(here[0], i, query)));
      canvas.style.visibility = here ? "" : "hidden";
      most.textContent = top ?? "";
      put(button, { "aria-label": `${rolled ? "to layer" : lensed ? "after layer" : "head"} ${i + 1}${here ? `, at most ${top}` : ""}`,
        "aria-pressed": deep ? i === depth : mode === "head" && i === get("head") });
    });
  }

  function draw() {
    drawControls();
    const [depth, mode, random] = [get("layer"), get("mode"), get("random")];
    const partOf = (i) => ((random ? images.length : 0) + get("image")) * layers + i;
    const averages = random ? parts : means; // what the mean over heads is made of
    const from = mode === "head" ? parts : averages;
    if (mode === "mean" && from !== parts) parts.take([partOf(depth)]); // for the small maps
    shown = drawMap(mode === "lens" ? [] : from.take(mode === "rollout" ? count(depth + 1).map(partOf) : [partOf(depth)]));
    drawTiles(partOf, averages);
    root.dataset.shown = JSON.stringify(shown && [...shown]);
    point();
    say(shown ? describe(shown) : from.news);
  }

  put(picture, { style: `aspect-ratio: ${get("aspect")}` });
  begin(h("div.xp-grid", {},
    h("section", {}, h("div.xp-head", {}, title, what),
      extra.length ? group("Tokens that are not patches", "div.ax-extra", ...before.map(({ button }) => button)) : "",
      picture, scale.line, says, line),
    h("section.ax-controls", {},
      images.length > 1 ? group("Image", "div.ax-images", ...choices) : "",
      get("twin") ? h("label.xp-switch", {}, twin, "the same in a random twin") : "",
      h("div.xp-choices", { role: "radiogroup", "aria-label": "What is shown" }, ...modes.map((mode) => mode.line)),
      h("div", {}, layer.line, which.line, strength.line),
      h("div", {}, h("div.xp-head", {}, few), group("Maps", "div.xp-tiles", ...tiles.map((tile) => tile.button)))),
    h("div.ax-wide", {}, words), h("div.ax-wide", {}, table.box)));

  return () => { parts.close(); means.close(); end(); };
}

export default { render };
