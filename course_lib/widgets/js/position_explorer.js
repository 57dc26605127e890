// Position explorer: how similar the embedding of one position is to that of every other (chapters 05 and 11).
// One ES module; Jupyter, Colab and the static page all run this file.
import { Cells, Parts, SIGNED, WEIGHTS, count, h, head, legend, numbers, paint, place, signed, stage, stored, topOf } from "./explorer.js";

const CSS = `
  .px-all { background: var(--line); }
  .px-all canvas { image-rendering: auto; }
  .px-all .xp-chosen { margin: -1px; padding: 1px; }
  .px-stretch { display: inline-flex; align-items: center; gap: 8px; min-height: 28px; margin: 6px 0 0; cursor: pointer; }
  .px-stretch input { flex: none; width: 18px; height: 18px; margin: 0; accent-color: var(--course-key, #0072B2); cursor: pointer; }
  .xp-readout { min-height: 82px; }
  @container (min-width: 520px) {
    .xp-grid { grid-template-columns: repeat(2, minmax(0, 1fr)); }
    .px-wide { grid-column: 1 / -1; }
    .xp-readout { min-height: 61px; }
  }
`;

function render({ model, el }) {
  const [rows, columns] = model.get("grid");
  const total = rows * columns;
  const { root, words, on, change, refresh, say, begin, end } = stage({ model, el }, "position-explorer", CSS, ["position", "stretch"], draw);
  const parts = new Parts(model, total * total, refresh);
  const choose = (i) => {
    if (i === null) return;
    parts.fault = "";
    change({ position: [Math.floor(i / columns), i % columns] });
  };

  // ---- elements ------------------------------------------------------------------------------------------------
  let pointed = null;
  const tiles = h("canvas", { "aria-hidden": "true" });
  const map = h("canvas", { "aria-hidden": "true" });
  const ofTiles = new Cells(on, "Position among all tiles", { choose, hover: choose });
  const ofMap = new Cells(on, "Position in its own tile", { choose, hover: (i) => { pointed = i; point(); } });
  for (const cells of [ofTiles, ofMap]) cells.resize(rows, columns);
  const framed = (kind, ...nodes) => h(`div.xp-picture${kind}`, { style: `aspect-ratio: ${columns} / ${rows}` }, ...nodes);
  const line = h("p.xp-pointed");
  const which = h("span.xp-note");
  const scale = legend(SIGNED, "", "");
  const stretch = h("input", { type: "checkbox" });
  on(stretch, "change", () => change({ stretch: stretch.checked }));
  const table = numbers("All numbers of this tile");
  on(table.box, "toggle", refresh);

  // ---- drawing -------------------------------------------------------------------------------------------------
  let all = null; // (total * total,) similarities
  let row = null; // those of the chosen position
  let drawn = null; // how the tiles are coloured
  const smallest = () => all.reduce((least, level) => Math.min(least, level), Infinity);

  /** Colours from -1 to 1, or over the numbers that occur. */
  function colours() {
    if (!model.get("stretch")) return { ramp: SIGNED, low: -1, level: stored };
    const low = stored(smallest());
    return { ramp: WEIGHTS, low: 2 * low - 1, level: (level) => (stored(level) - low) / (1 - low || 1) };
  }

  /** Every tile, once: a picture of pictures. */
  function drawTiles({ ramp, level }) {
    const unit = Math.max(2, Math.floor(1000 / (columns * (columns + 1))));
    const [width, height] = [columns * unit + unit, rows * unit + unit]; // a tile and its margin
    Object.assign(tiles, { width: columns * width, height: rows * height });
    const [pen, one] = [tiles.getContext("2d"), document.createElement("canvas")];
    pen.imageSmoothingEnabled = false;
    for (const i of count(total)) {
      paint(one, rows, columns, ramp, (j) => level(all[i * total + j]));
      pen.drawImage(one, (i % columns) * width + unit / 2, Math.floor(i / columns) * height + unit / 2, columns * unit, rows * unit);
    }
  }

  function describe(index) {
    const others = row.map((x, i) => (i === index ? -Infinity : x));
    const [most, least] = [topOf(others), topOf(row.map((x) => -x))];
    const mean = (list) => signed(list.reduce((a, b) => a + b, 0) / list.length);
    const line = (same) => mean([...row].filter((_, i) => i !== index && same(i)));
    const [r, c] = [Math.floor(index / columns), index % columns];
    const start = `Position ${place(index, columns)}: most similar to ${place(most, columns)} (${signed(row[most])}), least to ${place(least, columns)} (${signed(row[least])}).`;
    return `${start} Mean with the rest of its row ${columns > 1 ? line((i) => Math.floor(i / columns) === r) : "–"}, of its column ${rows > 1 ? line((i) => i % columns === c) : "–"}, with all others ${line(() => true)}.`;
  }

  function point() {
    ofMap.point(pointed);
    if (pointed === null || !row) line.textContent = "Point to read a number, click to choose a position.";
    else line.replaceChildren(`${place(pointed, columns)}: `, h("b", {}, signed(row[pointed])));
  }

  function draw() {
    const [r, c] = model.get("position");
    const index = r * columns + c;
    for (const cells of [ofTiles, ofMap]) cells.choose(index, place(index, columns));
    which.textContent = place(index, columns);
    const found = parts.take([0]);
    stretch.checked = model.get("stretch");
    if (found) {
      [all] = found;
      const chosen = colours();
      if (drawn !== stretch.checked) {
        drawn = stretch.checked;
        drawTiles(chosen);
        scale.set(chosen.ramp, signed(chosen.low), "1");
      }
      const levels = all.subarray(index * total, (index + 1) * total);
      paint(map, rows, columns, chosen.ramp, (i) => chosen.level(levels[i]));
      row = Float64Array.from(levels, (level) => 2 * stored(level) - 1);
      table.fill(rows, columns, (i) => signed(row[i]), index);
      root.dataset.shown = JSON.stringify([...row]);
    }
    point();
    say(row ? describe(index) : parts.news);
  }

  begin(h("div.xp-grid", {},
    h("section", {}, head("All positions", h("span.xp-note", {}, `${rows} × ${columns} tiles`)), framed(".px-all", tiles, ofTiles.node),
      h("label.px-stretch", {}, stretch, "stretch the colours to the numbers")),
    h("section", {}, head("One position", which), framed("", map, ofMap.node), scale.line, line),
    h("div.px-wide", {}, words), h("div.px-wide", {}, table.box)));

  return () => { parts.close(); end(); };
}

export default { render };
