// The thinking half of "Draw a digit": from strokes to an image like MNIST's, and through the model. Runs in a worker.
import { randomTensors, readSafetensors, softmax, softmaxRows, VisionTransformer } from "./vit.js";

const SIDE = 28; // MNIST's images
const BOX = 20; // and the box that a digit is scaled to
const FINE = 280; // pixels of the bitmap that strokes are drawn in
const SMALLEST = 0.2; // of the field's side: a drawing smaller than this is enlarged no further, so that a dot stays a dot
const SEED = 0; // of the random model

/**
 * Strokes as ink, black or white: a round pen along each line.
 * @param {number[][]} strokes each [x, y, x, y, ...], from 0 to 1 across the field.
 * @param {number} pen its diameter, in the same unit.
 * @param {number} size side of the bitmap.
 * @returns {Uint8Array} (size, size), 255 where there is ink.
 */
export function inkOf(strokes, pen, size = FINE) {
  const bitmap = new Uint8Array(size * size);
  const reach = pen * size / 2;
  const clip = (value) => Math.min(size - 1, Math.max(0, Math.round(value)));
  for (const stroke of strokes) {
    const points = stroke.map((value) => value * size - 0.5); // pixel i has its middle at i
    for (let i = 0; i < points.length; i += 2) {
      const [bx, by] = [points[i], points[i + 1]];
      const [ax, ay] = i ? [points[i - 2], points[i - 1]] : [bx, by];
      const [dx, dy] = [bx - ax, by - ay];
      const squared = dx * dx + dy * dy || 1;
      for (let y = clip(Math.min(ay, by) - reach); y <= clip(Math.max(ay, by) + reach); y += 1) {
        for (let x = clip(Math.min(ax, bx) - reach); x <= clip(Math.max(ax, bx) + reach); x += 1) {
          const along = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / squared));
          if ((ax + along * dx - x) ** 2 + (ay + along * dy - y) ** 2 <= reach * reach) bitmap[y * size + x] = 255;
        }
      }
    }
  }
  return bitmap;
}

/** First and last row (or column) with ink, as [first, count]; null if there is none. */
function extent(bitmap, size, step, across) {
  const inked = Array.from({ length: size }, (_, i) => {
    for (let j = 0; j < size; j += 1) if (bitmap[i * step + j * across]) return true;
    return false;
  });
  const first = inked.indexOf(true);
  return first < 0 ? null : [first, inked.lastIndexOf(true) - first + 1];
}

/** Pixels onto a line of `BOX` cells: for each of `count` pixels, [cell, share of the cell that it covers] pairs. */
function shares(count, scale) {
  return Array.from({ length: count }, (_, i) => {
    const [from, to] = [i * scale, (i + 1) * scale];
    const pairs = [];
    for (let cell = Math.floor(from); cell < BOX && cell < to; cell += 1) {
      pairs.push([cell, Math.min(to, cell + 1) - Math.max(from, cell)]);
    }
    return pairs;
  });
}

/**
 * What MNIST's makers did (LeCun et al. 1998): scale the ink to fit a box of 20 x 20 pixels, keeping its aspect ratio,
 * with grey edges (each pixel is the mean of what it covers); then move it by whole pixels, until its centre of mass
 * lies in the middle of 28 x 28. In all of MNIST that centre, in pixels counted from 0, rounds to 14.
 * @param {Uint8Array} bitmap (size, size), 0 to 255.
 * @returns {Uint8Array} (28, 28)
 */
export function likeMnist(bitmap, size) {
  const out = new Uint8Array(SIDE * SIDE);
  const rows = extent(bitmap, size, size, 1), columns = extent(bitmap, size, 1, size);
  if (!rows) return out;
  const scale = BOX / Math.max(rows[1], columns[1], SMALLEST * size);
  const down = shares(rows[1], scale), right = shares(columns[1], scale);
  const box = new Float64Array(BOX * BOX);
  let mass = 0, massDown = 0, massRight = 0;
  down.forEach((cells, i) => right.forEach((others, j) => {
    const ink = bitmap[(rows[0] + i) * size + columns[0] + j];
    if (!ink) return;
    for (const [y, height] of cells) for (const [x, width] of others) box[y * BOX + x] += ink * height * width;
  }));
  box.forEach((ink, i) => {
    mass += ink;
    massDown += ink * Math.floor(i / BOX);
    massRight += ink * (i % BOX);
  });
  const top = SIDE / 2 - Math.round(massDown / mass), left = SIDE / 2 - Math.round(massRight / mass);
  for (let y = Math.max(0, -top); y < Math.min(BOX, SIDE - top); y += 1) {
    for (let x = Math.max(0, -left); x < Math.min(BOX, SIDE - left); x += 1) {
      out[(y + top) * SIDE + x + left] = Math.round(box[y * BOX + x]);
    }
  }
  return out;
}

/** Both models, the trained one and one of its kind that has seen nothing. */
export class Reader {
  constructor(weights, { mean, std }) {
    const { tensors, about } = readSafetensors(weights);
    if (!about?.config) throw new Error("the weights do not say which model they belong to");
    this.config = about.config;
    this.trained = new VisionTransformer(about.config, tensors);
    this.normalise = (pixel) => (pixel / 255 - mean[0]) / std[0];
  }

  /**
   * For strokes, or for pixels as they are: {pixels (28, 28), logits, probabilities (10,), maps (L, H, N, N), depths, says}.
   * depths are the probabilities (10,) that the model would give before the first block and after each, and says (L + 1, N, 10)
   * those that each token would give.
   */
  read({ strokes, pen, pixels = likeMnist(inkOf(strokes, pen), FINE), random = false }) {
    if (random) this.untrained ??= new VisionTransformer(this.config, randomTensors(this.config, SEED));
    const model = random ? this.untrained : this.trained;
    const { logits, maps, lens } = model.forward(Float32Array.from(pixels, this.normalise));
    const depths = model.answersByDepth(lens).map(softmax);
    return { pixels, logits, probabilities: softmax(logits), maps, depths, says: softmaxRows(lens, logits.length) };
  }
}

if (typeof WorkerGlobalScope !== "undefined") {
  let reader;
  self.onmessage = ({ data: { start, ...question } }) => {
    try {
      if (start) {
        reader = new Reader(start.weights, start);
        self.postMessage({ config: reader.config });
      } else {
        const answer = reader.read(question);
        self.postMessage({ id: question.id, random: question.random, ...answer }, [answer.maps.buffer, answer.says.buffer]);
      }
    } catch (error) {
      self.postMessage({ error: error.message });
    }
  };
}
