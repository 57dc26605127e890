// The Vision Transformer of course_lib/vit.py, forward only, in plain JavaScript: the same weights give the same numbers.
// Every layer's and head's attention comes out as well. No dependency; runs in a page, a worker or Node.
// Numbers are stored as 32-bit floats and summed in 64 bits. Legend: N tokens, D embedding dimension, H heads, L depth.

/**
 * Read a safetensors file: a JSON header behind its length, then the numbers.
 * @param {ArrayBuffer} buffer the whole file; only 32-bit floats (F32) are read.
 * @returns {{tensors: Object<string, {shape: number[], data: Float32Array}>, about: object|null}} `about` is what
 *   course_lib.weights.save_weights wrote beside them: the model's config and how it wants its images.
 */
export function readSafetensors(buffer) {
  const length = buffer.byteLength < 8 ? Infinity : Number(new DataView(buffer).getBigUint64(0, true));
  const start = 8 + length;
  if (start > buffer.byteLength) throw new Error(`the weights are damaged: a header of ${length} bytes in a file of ${buffer.byteLength}`);
  const { __metadata__: metadata, ...entries } = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(entries)) {
    const size = shape.reduce((product, side) => product * side, 1);
    if (dtype !== "F32") throw new Error(`${name} holds ${dtype}, and only F32 can be read`);
    if (start + to > buffer.byteLength) throw new Error(`the weights are damaged: ${name} ends at byte ${start + to} of ${buffer.byteLength}`);
    if (to - from !== 4 * size) throw new Error(`the weights are damaged: ${name} of shape (${shape}) has ${to - from} bytes`);
    tensors[name] = { shape, data: new Float32Array(buffer.slice(start + from, start + to)) }; // the slice is aligned
  }
  return { tensors, about: metadata?.course_lib ? JSON.parse(metadata.course_lib) : null };
}

/** Patch grid and number of tokens that follow from a config (course_lib.vit.ViTConfig, as an object). */
export function layout(config) {
  const [height, width] = Array.isArray(config.img_size) ? config.img_size : [config.img_size, config.img_size];
  const grid = [height / config.patch_size, width / config.patch_size];
  const prefix = config.global_pool === "token" ? 1 : 0;
  return { height, width, grid, prefix, tokens: prefix + grid[0] * grid[1], hidden: Math.trunc(config.embed_dim * config.mlp_ratio) };
}

/** {name: shape} of the parameters that a config asks for, under timm's names. */
function shapes(config) {
  const { embed_dim: D, in_chans: C, patch_size: P, depth, num_classes: classes } = config;
  const { prefix, tokens, hidden } = layout(config);
  const linear = (name, from, to, bias = true) => [[`${name}.weight`, [to, from]], ...(bias ? [[`${name}.bias`, [to]]] : [])];
  const norm = (name) => [[`${name}.weight`, [D]], [`${name}.bias`, [D]]];
  const list = [["patch_embed.proj.weight", [D, C, P, P]], ["patch_embed.proj.bias", [D]]];
  if (prefix) list.push(["cls_token", [1, 1, D]]);
  if (config.pos_embed === "learn") list.push(["pos_embed", [1, tokens, D]]);
  for (let i = 0; i < depth; i += 1) {
    const block = `blocks.${i}`;
    list.push(...norm(`${block}.norm1`), ...linear(`${block}.attn.qkv`, D, 3 * D, config.qkv_bias), ...linear(`${block}.attn.proj`, D, D));
    list.push(...norm(`${block}.norm2`), ...linear(`${block}.mlp.fc1`, D, hidden), ...linear(`${block}.mlp.fc2`, hidden, D));
  }
  return Object.fromEntries([...list, ...norm("norm"), ...linear("head", D, classes)]);
}

/** Sines, then cosines, of a position at `half` frequencies (course_lib.pos_embed.sincos_pos_embed_1d). */
function writeSincos(out, at, position, half) {
  for (let i = 0; i < half; i += 1) {
    const angle = position * 10_000 ** -(i / half);
    out[at + i] = Math.sin(angle);
    out[at + half + i] = Math.cos(angle);
  }
}

/** The position embeddings (N, D) that are added to the tokens, or null. */
function positions(config, tensors) {
  const { grid: [rows, columns], prefix, tokens } = layout(config);
  const D = config.embed_dim;
  if (config.pos_embed === "learn") return tensors.pos_embed.data;
  if (config.pos_embed === "none") return null;
  const table = new Float32Array(tokens * D);
  if (config.pos_embed === "sincos1d") {
    for (let token = 0; token < tokens; token += 1) writeSincos(table, token * D, token, D / 2);
  } else {
    for (let row = 0; row < rows; row += 1) {
      for (let column = 0; column < columns; column += 1) {
        const at = (prefix + row * columns + column) * D; // the class token's stay 0: it has no place
        writeSincos(table, at, column, D / 4);
        writeSincos(table, at + D / 2, row, D / 4);
      }
    }
  }
  return table;
}

const sums = new Float64Array(8);

/** out (rows, to) = x (rows, from) weightᵀ + bias, weight (to, from) as PyTorch keeps it. Both are read along rows, 2 x 4 at a time. */
function linear(x, rows, from, weight, bias, to, out) {
  for (let j = 0; j < to; j += 4) {
    const wide = Math.min(4, to - j);
    // A block that sticks out reads its last row again, and does not write it.
    const w0 = j * from, w1 = w0 + (wide > 1 ? from : 0), w2 = w1 + (wide > 2 ? from : 0), w3 = w2 + (wide > 3 ? from : 0);
    for (let i = 0; i < rows; i += 2) {
      const x0 = i * from, x1 = i + 1 < rows ? x0 + from : x0;
      let a0 = 0, a1 = 0, a2 = 0, a3 = 0, b0 = 0, b1 = 0, b2 = 0, b3 = 0;
      for (let k = 0; k < from; k += 1) {
        const a = x[x0 + k], b = x[x1 + k];
        const p = weight[w0 + k], q = weight[w1 + k], r = weight[w2 + k], s = weight[w3 + k];
        a0 += a * p; a1 += a * q; a2 += a * r; a3 += a * s;
        b0 += b * p; b1 += b * q; b2 += b * r; b3 += b * s;
      }
      sums[0] = a0; sums[1] = a1; sums[2] = a2; sums[3] = a3;
      sums[4] = b0; sums[5] = b1; sums[6] = b2; sums[7] = b3;
      for (let c = 0; c < wide; c += 1) {
        const shift = bias ? bias[j + c] : 0;
        out[i * to + j + c] = sums[c] + shift;
        if (i + 1 < rows) out[(i + 1) * to + j + c] = sums[4 + c] + shift;
      }
    }
  }
}

/** Each row of x (rows, D) to mean 0 and variance 1, then scaled and shifted. */
function layerNorm(x, rows, D, weight, bias, eps, out) {
  for (let at = 0; at < rows * D; at += D) {
    let mean = 0, variance = 0;
    for (let k = 0; k < D; k += 1) mean += x[at + k];
    mean /= D;
    for (let k = 0; k < D; k += 1) variance += (x[at + k] - mean) ** 2;
    const scale = 1 / Math.sqrt(variance / D + eps);
    for (let k = 0; k < D; k += 1) out[at + k] = (x[at + k] - mean) * scale * weight[k] + bias[k];
  }
}

/** Softmax of `count` numbers from `at` on, in place. The largest is taken away first, so that nothing overflows. */
function softmaxInPlace(numbers, at, count) {
  let top = -Infinity, sum = 0;
  for (let j = at; j < at + count; j += 1) if (numbers[j] > top) top = numbers[j];
  for (let j = at; j < at + count; j += 1) {
    const power = Math.exp(numbers[j] - top);
    numbers[j] = power;
    sum += power;
  }
  for (let j = at; j < at + count; j += 1) numbers[j] /= sum;
}

/** @returns {Float32Array} the probabilities that a row of logits stands for. */
export function softmax(logits) {
  const out = Float32Array.from(logits);
  softmaxInPlace(out, 0, out.length);
  return out;
}

/** Softmax of each row of `width` numbers, in place. */
export function softmaxRows(numbers, width) {
  for (let at = 0; at < numbers.length; at += width) softmaxInPlace(numbers, at, width);
  return numbers;
}

/**
 * The normal distribution function Φ(x), in 64 bits: below 3 from zero its series, all terms of one sign
 * (Abramowitz & Stegun 26.2.11), beyond it the continued fraction for the tail (26.2.14).
 */
function normalCdf(x) {
  const size = Math.abs(x);
  const density = Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
  if (size < 3) {
    let sum = 0;
    for (let term = x, n = 1; Math.abs(term) > 1e-17; n += 2, term *= x * x / n) sum += term;
    return 0.5 + density * sum;
  }
  let fraction = size;
  for (let n = 40; n > 0; n -= 1) fraction = size + n / fraction;
  return x < 0 ? density / fraction : 1 - density / fraction;
}

// GELU is x Φ(x). Φ is tabulated every 1/64 up to 6 from zero; between, Taylor's series around the nearest entry, whose
// terms need Φ and its density only. With d <= 1/128 four terms leave a relative error below 1e-8, in the left tail too.
const STEPS = 64;
const REACH = 6;
const CDF = Float64Array.from({ length: 2 * REACH * STEPS + 1 }, (_, i) => normalCdf(i / STEPS - REACH));
const DENSITY = CDF.map((_, i) => Math.exp(-((i / STEPS - REACH) ** 2) / 2) / Math.sqrt(2 * Math.PI));

/** @returns {number} GELU in its exact form, x Φ(x). */
export function gelu(x) {
  if (!(x > -REACH && x < REACH)) return x * normalCdf(x);
  const i = Math.round((x + REACH) * STEPS);
  const c = i / STEPS - REACH, d = x - c;
  return x * (CDF[i] + DENSITY[i] * d * (1 + d * (-c / 2 + d * ((c * c - 1) / 6 + d * (3 - c * c) * c / 24))));
}

/** (C, height, width) to (gh·gw, C·P·P), each patch in the order of the convolution's filter. */
function cut(image, config) {
  const { height, width, grid: [rows, columns] } = layout(config);
  const { in_chans: C, patch_size: P } = config;
  const out = new Float32Array(C * height * width);
  let at = 0;
  for (let row = 0; row < rows; row += 1) {
    for (let column = 0; column < columns; column += 1) {
      for (let c = 0; c < C; c += 1) {
        for (let y = 0; y < P; y += 1) {
          const from = (c * height + row * P + y) * width + column * P;
          for (let x = 0; x < P; x += 1) out[at++] = image[from + x];
        }
      }
    }
  }
  return out;
}

export class VisionTransformer {
  /**
   * @param {object} config a course_lib.vit.ViTConfig as an object.
   * @param {Object<string, {shape: number[], data: Float32Array}>} tensors the parameters, under timm's names.
   */
  constructor(config, tensors) {
    if (config.representation_size) throw new Error(`representation_size ${config.representation_size}: a head with a hidden layer is not written here`);
    if (!["learn", "sincos1d", "sincos2d", "none"].includes(config.pos_embed)) {
      throw new Error(`pos_embed "${config.pos_embed}" is not written here: learn, sincos1d, sincos2d and none are`);
    }
    for (const [name, shape] of Object.entries(shapes(config))) {
      if (!tensors[name]) throw new Error(`the weights have no ${name}, of shape (${shape})`);
      if (`${tensors[name].shape}` !== `${shape}`) throw new Error(`${name} has shape (${tensors[name].shape}), and the config asks for (${shape})`);
    }
    this.config = config;
    Object.assign(this, layout(config));
    this.positions = positions(config, tensors);
    this.weights = Object.fromEntries(Object.keys(shapes(config)).map((name) => [name, tensors[name].data]));
    const { tokens: N } = this, D = config.embed_dim, d = D / config.num_heads;
    const widths = { normed: D, qkv: 3 * D, mixed: D, update: D, hidden: this.hidden, query: d, key: d, value: d, head: d };
    this.scratch = Object.fromEntries(Object.entries(widths).map(([name, width]) => [name, new Float32Array(N * width)]));
  }

  /**
   * Run one image through the model.
   * @param {Float32Array} image (C, height, width), normalised as the weights want it.
   * @returns {{logits: Float32Array, maps: Float32Array, lens: Float32Array}} (num_classes,); the attention weights (L, H, N, N),
   *   row = query, column = key; and the logit lens (L + 1, N, num_classes): the last norm and the head on every token, before
   *   the first block and after each (course_lib.interpret.logit_lens).
   */
  forward(image) {
    const { config, weights, tokens: N, prefix, height, width, grid } = this;
    const { in_chans: C, patch_size: P, embed_dim: D, depth, num_heads: H } = config;
    if (image.length !== C * height * width) throw new Error(`the image has ${image.length} numbers, and the model takes ${C} x ${height} x ${width}`);
    const x = new Float32Array(N * D);
    const patches = x.subarray(prefix * D);
    linear(cut(image, config), grid[0] * grid[1], C * P * P, weights["patch_embed.proj.weight"], weights["patch_embed.proj.bias"], D, patches);
    if (prefix) x.set(weights.cls_token);
    if (this.positions) for (let i = 0; i < N * D; i += 1) x[i] += this.positions[i];
    const maps = new Float32Array(depth * H * N * N);
    const lens = new Float32Array((depth + 1) * N * config.num_classes);
    this.readAll(x, lens, 0);
    for (let i = 0; i < depth; i += 1) {
      this.block(i, x, maps.subarray(i * H * N * N, (i + 1) * H * N * N));
      this.readAll(x, lens, i + 1);
    }
    layerNorm(x, N, D, weights["norm.weight"], weights["norm.bias"], config.norm_eps, x);
    const logits = new Float32Array(config.num_classes);
    linear(this.pooled(x), 1, D, weights["head.weight"], weights["head.bias"], config.num_classes, logits);
    return { logits, maps, lens };
  }

  /** What each token of x (N, D) would answer, into its place in the lens; x stays as it is. */
  readAll(x, lens, depth) {
    const { weights, tokens: N, scratch: { normed } } = this;
    const { embed_dim: D, num_classes: K, norm_eps: eps } = this.config;
    layerNorm(x, N, D, weights["norm.weight"], weights["norm.bias"], eps, normed);
    linear(normed, N, D, weights["head.weight"], weights["head.bias"], K, lens.subarray(depth * N * K, (depth + 1) * N * K));
  }

  /**
   * What the model itself would answer at each depth: the class token's row of the lens, or the mean of all rows, since the
   * head is linear (course_lib.interpret.answers_by_depth).
   * @returns {Float32Array[]} L + 1 rows of logits (num_classes,).
   */
  answersByDepth(lens) {
    const { tokens: N, prefix } = this;
    const { depth, num_classes: K } = this.config;
    const read = prefix ? 1 : N;
    return Array.from({ length: depth + 1 }, (_, i) => {
      const mean = new Float64Array(K);
      for (let token = 0; token < read; token += 1) for (let k = 0; k < K; k += 1) mean[k] += lens[(i * N + token) * K + k] / read;
      return Float32Array.from(mean);
    });
  }

  /** One encoder block on x (N, D), in place; its attention weights go to `maps` (H, N, N). */
  block(index, x, maps) {
    const { tokens: N, hidden: wide, scratch: { normed, qkv, mixed, update, hidden } } = this;
    const { embed_dim: D, norm_eps: eps } = this.config;
    const weight = (name) => this.weights[`blocks.${index}.${name}`];
    layerNorm(x, N, D, weight("norm1.weight"), weight("norm1.bias"), eps, normed);
    linear(normed, N, D, weight("attn.qkv.weight"), weight("attn.qkv.bias"), 3 * D, qkv);
    this.attend(qkv, maps, mixed);
    linear(mixed, N, D, weight("attn.proj.weight"), weight("attn.proj.bias"), D, update);
    for (let i = 0; i < x.length; i += 1) x[i] += update[i];
    layerNorm(x, N, D, weight("norm2.weight"), weight("norm2.bias"), eps, normed);
    linear(normed, N, D, weight("mlp.fc1.weight"), weight("mlp.fc1.bias"), wide, hidden);
    for (let i = 0; i < hidden.length; i += 1) hidden[i] = gelu(hidden[i]);
    linear(hidden, N, wide, weight("mlp.fc2.weight"), weight("mlp.fc2.bias"), D, update);
    for (let i = 0; i < x.length; i += 1) x[i] += update[i];
  }

  /** softmax(Q Kᵀ / √d) V for each head: qkv (N, 3D), laid out q | k | v, to maps (H, N, N) and out (N, D). */
  attend(qkv, maps, out) {
    const { tokens: N, scratch: { query, key, value, head } } = this;
    const { embed_dim: D, num_heads: H } = this.config;
    const d = D / H, scale = 1 / Math.sqrt(d);
    for (let h = 0; h < H; h += 1) {
      for (let i = 0; i < N; i += 1) {
        const at = i * 3 * D + h * d;
        for (let c = 0; c < d; c += 1) {
          query[i * d + c] = qkv[at + c] * scale;
          key[i * d + c] = qkv[at + D + c];
          value[c * N + i] = qkv[at + 2 * D + c]; // (d, N)
        }
      }
      const map = maps.subarray(h * N * N, (h + 1) * N * N);
      linear(query, N, d, key, null, N, map);
      for (let i = 0; i < N; i += 1) softmaxInPlace(map, i * N, N);
      linear(map, N, N, value, null, d, head);
      for (let i = 0; i < N; i += 1) for (let c = 0; c < d; c += 1) out[i * D + h * d + c] = head[i * d + c];
    }
  }

  /** What the head reads: the class token, or the mean of all tokens; (N, D) to (D,). */
  pooled(x) {
    const { tokens: N, prefix } = this;
    const D = this.config.embed_dim;
    if (prefix) return x.subarray(0, D);
    const mean = new Float64Array(D);
    for (let i = 0; i < N; i += 1) for (let k = 0; k < D; k += 1) mean[k] += x[i * D + k] / N;
    return Float32Array.from(mean);
  }
}

/** Evenly distributed numbers from 0 to 1, the same for the same seed (Mulberry32). */
function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * The parameters of a model that has seen nothing, distributed as course_lib.vit starts them: norms 1 and 0, biases and
 * class token 0, patch filters normal with std 1/√(C·P·P), everything else normal with std 0.02, but for the blocks'
 * matrices where the config says "xavier": even between ±√(6 / (inputs + outputs)).
 */
export function randomTensors(config, seed) {
  const random = uniform(seed);
  const normal = (std) => () => std * Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const constant = (value) => () => value;
  const start = (name, shape) => {
    if (/norm\d?\.weight$/.test(name)) return constant(1);
    if (/bias$|cls_token/.test(name)) return constant(0);
    if (name === "patch_embed.proj.weight") return normal((shape[1] * shape[2] * shape[3]) ** -0.5);
    if (config.weight_init !== "xavier" || !name.startsWith("blocks.")) return normal(0.02);
    const bound = Math.sqrt(6 / (shape[0] + shape[1]));
    return () => bound * (2 * random() - 1);
  };
  return Object.fromEntries(Object.entries(shapes(config)).map(([name, shape]) => {
    const data = new Float32Array(shape.reduce((product, side) => product * side, 1));
    return [name, { shape, data: data.map(start(name, shape)) }];
  }));
}
