/** Runs one tile after another in onnxruntime-web, away from the page's own thread. */

import * as ort from "./ort/ort.wasm.min.mjs";

// More threads need response headers that few web servers send; several workers need none.
ort.env.wasm.numThreads = 1;
ort.env.wasm.wasmPaths = new URL("./ort/", import.meta.url).href;
ort.env.logLevel = "error";

const sessions = new Map();

function sessionOf(model) {
  if (!sessions.has(model.name)) {
    const file = new URL(`./models/${model.file}`, import.meta.url).href;
    sessions.set(model.name, ort.InferenceSession.create(file, { executionProviders: ["wasm"] }));
  }
  return sessions.get(model.name);
}

self.onmessage = async ({ data: { model, tile, dims } }) => {
  try {
    const session = await sessionOf(model);
    const answers = await session.run({ picture: new ort.Tensor("uint8", tile, dims) });
    const { data, dims: shape } = answers.upscaled;
    const bytes = new Uint8Array(data); // a copy: the answer lies in the runtime's memory
    self.postMessage({ data: bytes, dims: [...shape] }, [bytes.buffer]);
  } catch (error) {
    self.postMessage({ error: String(error?.message ?? error) });
  }
};
