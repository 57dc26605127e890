// The thinking half of "Your own image": pixels through the model and through its random twin. Runs in a worker.
import { randomTensors, readSafetensors, softmax, VisionTransformer } from "./vit.js";

const SEED = 0; // of the random model

/** Both models, the trained one and one of its kind that has seen nothing. */
export class Reader {
  constructor({ weights, mean, std }) {
    const { tensors, about } = readSafetensors(weights);
    if (!about?.config) throw new Error("the weights do not say which model they belong to");
    Object.assign(this, { mean, std, config: about.config });
    this.trained = new VisionTransformer(this.config, tensors);
    this.twin = new VisionTransformer(this.config, randomTensors(this.config, SEED));
  }

  /** RGBA pixels, row by row, as (3, height, width) floats, normalised as the weights want them. */
  prepare(pixels) {
    const size = pixels.length / 4;
    return Float32Array.from({ length: 3 * size }, (_, i) => {
      const channel = Math.floor(i / size);
      return (pixels[4 * (i % size) + channel] / 255 - this.mean[channel]) / this.std[channel];
    });
  }

  /** {probabilities (classes,), maps and twinMaps (L, H, N, N)} of RGBA pixels. */
  read(pixels) {
    const image = this.prepare(pixels);
    const { logits, maps } = this.trained.forward(image);
    return { probabilities: softmax(logits), maps, twinMaps: this.twin.forward(image).maps };
  }
}

if (typeof WorkerGlobalScope !== "undefined") {
  let reader;
  self.onmessage = ({ data: { start, id, pixels } }) => {
    try {
      if (start) {
        reader = new Reader(start);
        self.postMessage({ config: reader.config });
      } else {
        const began = performance.now();
        const answer = reader.read(pixels);
        self.postMessage({ id, took: performance.now() - began, ...answer }, [answer.maps.buffer, answer.twinMaps.buffer]);
      }
    } catch (error) {
      self.postMessage({ error: error.message });
    }
  };
}
