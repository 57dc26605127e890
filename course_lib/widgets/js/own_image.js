// Your own image: a small ViT reads a picture that stays on the reader's machine, and the attention explorer shows its maps.
// On the static page only. The model's weights are fetched when the first picture is chosen.
import explorer from "./attention_explorer.js";
import { count, h, head, percent, put, stage, toLevels } from "./explorer.js";

const CSS = `
  .oi-choose { display: flex; flex-wrap: wrap; align-items: center; gap: 10px 16px; padding: 14px; border: 1.5px dashed var(--edge); border-radius: 8px; }
  .oi-choose.oi-over { border-color: var(--q); background: color-mix(in srgb, var(--q) 8%, transparent); }
  .oi-choose input { font: inherit; color: inherit; max-width: 100%; min-height: 32px; padding: 3px; }
  .oi-choose input::file-selector-button { min-height: 30px; margin: 0 10px 0 0; padding: 3px 12px; font: inherit; font-weight: 600; color: var(--ink);
    background: var(--paper); border: 1px solid var(--edge); border-radius: 6px; cursor: pointer; }
  .oi-examples { display: flex; flex-wrap: wrap; gap: 6px; }
  .oi-examples button { width: 62px; }
  .oi-result { display: grid; grid-template-columns: minmax(0, 1fr); gap: 14px 26px; }
  .oi-sees { width: 160px; max-width: 100%; height: auto; aspect-ratio: 1; margin: 0; border: 1px solid var(--line); border-radius: 6px; image-rendering: pixelated; }
  .oi-maps { margin-top: 18px; }
  ul { display: grid; gap: 3px; margin: 0; padding: 0; list-style: none; max-width: none; }
  li { max-width: none; display: grid; grid-template-columns: 92px minmax(0, 1fr) 62px; align-items: center; gap: 8px; margin: 0; padding: 0; }
  li > div { height: 13px; border-bottom: 1px solid var(--line); }
  li > div > div { height: 100%; background: color-mix(in srgb, #0072b2 55%, var(--paper)); border-radius: 0 3px 3px 0; }
  li > span:last-child { text-align: right; color: var(--muted); }
  li.oi-best { font-weight: 650; }
  li.oi-best > div > div { background: #0072b2; }
  @container (min-width: 620px) { .oi-result { grid-template-columns: auto minmax(0, 1fr); } }
`;
const KEPT = ["layer", "head", "query", "mode", "random", "strength"]; // of the explorer, from picture to picture

/** A model for the explorer, with nobody to tell. */
function standIn(state) {
  const handlers = new Map();
  const of = (name) => handlers.get(name) ?? handlers.set(name, new Set()).get(name);
  return {
    get: (name) => state[name],
    set(name, value) { if (state[name] !== value) { state[name] = value; [...of(`change:${name}`)].forEach((each) => each()); } },
    on: (name, handler) => void of(name).add(handler),
    off: (name, handler) => void of(name).delete(handler),
    save_changes() {},
  };
}

function render({ model, el }) {
  const [classes, examples, side] = [model.get("classes"), model.get("examples"), model.get("side")];
  const { root, words, on, say, begin, end } = stage({ model, el }, "own-image", CSS, [], () => {});
  const file = h("input", { type: "file", accept: "image/*", "aria-label": "Choose an image of your own" });
  const field = h("div.oi-choose", {}, file, h("span.xp-note", {}, "or drop one here. It stays on your machine."));
  const buttons = examples.map(({ label, image }) => {
    const button = h("button.xp-tile", { type: "button", "aria-label": `example: ${label}` }, h("img", { src: image, alt: label }), h("span", {}, label));
    on(button, "click", async () => show(await (await fetch(image)).blob(), label));
    return button;
  });
  const sees = h("canvas.oi-sees", { width: side, height: side, role: "img", "aria-label": "the image as the model gets it" });
  const bars = classes.map((name) => {
    const [fill, share] = [h("div"), h("span")];
    return { fill, share, item: h("li", {}, h("span", {}, name), h("div", { "aria-hidden": "true" }, fill), share) };
  });
  const result = h("div.oi-result", { hidden: "" },
    h("section", {}, head("What it gets", h("span.xp-note", {}, `${side} × ${side}`)), sees),
    h("section", {}, head("What it says"), h("ul", { "aria-label": "probability of each class" }, ...bars.map((bar) => bar.item))));
  const place = h("div.oi-maps");

  // ---- the model: a worker, and its weights, once they are needed ------------------------------------------------
  let worker = null;
  let starting = null;
  let asked = 0;
  let answered = () => {};
  function start() {
    starting ??= (async () => {
      say("The model is on its way: 0.84 MB, once …");
      const response = await fetch(new URL(model.get("weights"), import.meta.url));
      if (!response.ok) throw new Error(`${response.status} for the weights`);
      const weights = await response.arrayBuffer();
      worker = new Worker(new URL("own_image_worker.js", import.meta.url), { type: "module" });
      return new Promise((done, fail) => {
        worker.onerror = (event) => fail(new Error(event.message ?? "the worker does not start"));
        worker.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : done(data.config));
        worker.postMessage({ start: { weights, mean: model.get("mean"), std: model.get("std") } }, [weights]);
      });
    })().catch((error) => { starting = null; throw error; });
    return starting;
  }
  const ask = (pixels, id) => new Promise((done, fail) => {
    worker.onmessage = ({ data }) => (data.error ? fail(new Error(data.error)) : answered(data));
    answered = (data) => { if (data.id === id) done(data); };
    worker.postMessage({ id, pixels });
  });

  // ---- a picture -------------------------------------------------------------------------------------------------
  async function show(blob, name) {
    asked += 1;
    const id = asked;
    try {
      const bitmap = await createImageBitmap(blob).catch(() => { throw new Error("this file is not an image that the browser can read"); });
      const config = await start();
      if (id !== asked) return; // another one was chosen meanwhile
      const short = Math.min(bitmap.width, bitmap.height); // the square in the middle, as in training
      const pen = sees.getContext("2d", { willReadFrequently: true });
      pen.clearRect(0, 0, side, side);
      Object.assign(pen, { fillStyle: "#fff", imageSmoothingEnabled: true, imageSmoothingQuality: "high" });
      pen.fillRect(0, 0, side, side); // behind what is transparent
      pen.drawImage(bitmap, (bitmap.width - short) / 2, (bitmap.height - short) / 2, short, short, 0, 0, side, side);
      const answer = await ask(pen.getImageData(0, 0, side, side).data, id);
      if (id === asked) present(config, answer, name);
    } catch (error) {
      if (id === asked) say(`That did not work: ${error.message}.`);
    }
  }

  let inner = null; // the explorer's state
  let close = () => {};
  function present(config, { probabilities, maps, twinMaps, took }, name) {
    const order = count(classes.length).sort((a, b) => probabilities[b] - probabilities[a]);
    bars.forEach(({ fill, share, item }, i) => {
      fill.style.width = `${100 * probabilities[i]}%`;
      share.textContent = percent(probabilities[i]);
      item.classList.toggle("oi-best", i === order[0]);
    });
    result.hidden = false;
    const rows = side / config.patch_size;
    const tokens = rows * rows + 1;
    const part = config.num_heads * tokens * tokens;
    const levels = [maps, twinMaps].flatMap((all) => count(config.depth).map((i) => toLevels(all.subarray(i * part, (i + 1) * part))));
    const before = inner ?? { layer: config.depth - 1, head: 0, query: 0, mode: "head", random: false, strength: 0.7 };
    inner = { images: [sees.toDataURL()], labels: [name], grid: [rows, rows], aspect: 1, layers: config.depth, heads: config.num_heads, tokens,
      extra: ["class token"], packed: [], files: "", brief: false, one_scale: true, twin: true, image: 0, levels };
    for (const key of KEPT) inner[key] = before[key];
    close();
    close = explorer.render({ model: standIn(inner), el: place });
    say(`The model says ${classes[order[0]]} (${percent(probabilities[order[0]])}), then ${classes[order[1]]} (${percent(probabilities[order[1]])}).`);
    put(root, { "data-answer": JSON.stringify([...probabilities]), "data-took": took.toFixed(1) });
  }

  on(file, "change", () => { if (file.files[0]) show(file.files[0], file.files[0].name); });
  on(root, "dragover", (event) => { event.preventDefault(); field.classList.add("oi-over"); });
  on(root, "dragleave", () => field.classList.remove("oi-over"));
  on(root, "drop", (event) => {
    event.preventDefault();
    field.classList.remove("oi-over");
    const dropped = event.dataTransfer.files[0];
    if (dropped) show(dropped, dropped.name);
    else say("That was no file: save the image first, then drop it.");
  });

  begin(h("div.xp-grid", {}, field,
    h("div", {}, head("Or one of these"), h("div.oi-examples", { role: "group", "aria-label": "Examples" }, ...buttons)), words, result), place);
  say("Nothing is chosen yet.");
  return () => { asked += 1; worker?.terminate(); close(); end(); };
}

export default { render };
