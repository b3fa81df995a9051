/** A worker: scores of an output beside its input, one graph after the other. */
import * as ort from "./ort.wasm.min.mjs";

ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./", import.meta.url).href;
ort.env.logLevel = "error";

const listed = fetch("page.json").then((response) => response.json());
const sessions = new Map();
const OPTIONS = { executionProviders: ["wasm"], logSeverityLevel: 3 };
let queue = Promise.resolve();

self.onmessage = ({ data }) => {
  queue = queue.then(() => score(data));
};

async function score({ job, output, input }) {
  try {
    const images = { restored: tensor(output), image: null, degraded: tensor(input) };
    images.image = images.restored;
    for (const { name, file, inputs } of (await listed).metrics) {
      if (!sessions.has(name)) sessions.set(name, ort.InferenceSession.create(file, OPTIONS));
      const session = await sessions.get(name);
      const { score, map } = await session.run(Object.fromEntries(inputs.map((each) => [each, images[each]])));
      const local = map && { data: map.data, height: map.dims[2], width: map.dims[3] };
      self.postMessage({ job, name, score: score.data[0], map: local });
    }
    self.postMessage({ job, done: true });
  } catch (error) {
    self.postMessage({ job, done: true, problem: `not scored: ${error.message}` });
  }
}

/** RGBA bytes to (1, 3, H, W) floats in [0, 1]. */
function tensor({ data, width, height }) {
  const pixels = width * height;
  const values = new Float32Array(3 * pixels);
  for (let place = 0; place < pixels; place++) {
    for (let channel = 0; channel < 3; channel++) values[channel * pixels + place] = data[4 * place + channel] / 255;
  }
  return new ort.Tensor("float32", values, [1, 3, height, width]);
}
