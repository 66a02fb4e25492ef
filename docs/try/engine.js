/** Enlarging pictures as the command line does it: the same tiles, the same network, the same bytes. */

/** Inner side of a tile, in pixels of the picture. */
const TILE = 128;
/** Workers at once; each holds the runtime, some 100 MB. */
const MOST_WORKERS = 4;

const here = (path) => new URL(path, import.meta.url);

/** What models.json says of each network: name, file, scale, halo, input channels, golden hash. */
export async function loadModels() {
  const answer = await fetch(here("models.json"));
  if (!answer.ok) throw new Error("models.json is missing");
  return answer.json();
}

/** Workers that run one tile each. */
export class Pool {
  constructor(count = Math.min(MOST_WORKERS, Math.max(1, (navigator.hardwareConcurrency || 2) - 1))) {
    this.workers = Array.from({ length: count }, () => new Worker(here("worker.js"), { type: "module" }));
    this.idle = [...this.workers];
    this.waiting = [];
    this.pending = new Map();
    for (const worker of this.workers) {
      worker.onmessage = ({ data }) => this.#settle(worker, data);
      worker.onerror = (event) => {
        event.preventDefault();
        this.#settle(worker, { error: event.message || "the runtime cannot be loaded" });
      };
    }
  }

  /** The network's answer to `tile`: {data, dims}, channels last. The tile's buffer goes to the worker. */
  run(model, tile, height, width) {
    return new Promise((resolve, reject) => {
      this.waiting.push({ task: { model, tile, dims: [1, height, width, model.channels] }, resolve, reject });
      this.#next();
    });
  }

  /** Forget the tiles that no worker has begun. */
  cancel() {
    for (const { reject } of this.waiting.splice(0)) reject(new DOMException("cancelled", "AbortError"));
  }

  #next() {
    while (this.idle.length && this.waiting.length) {
      const worker = this.idle.pop();
      const job = this.waiting.shift();
      this.pending.set(worker, job);
      worker.postMessage(job.task, [job.task.tile.buffer]);
    }
  }

  #settle(worker, data) {
    const job = this.pending.get(worker);
    if (!job) return;
    this.pending.delete(worker);
    this.idle.push(worker);
    if (data.error) job.reject(new Error(data.error));
    else job.resolve(data);
    this.#next();
  }
}

/** Enlarge an opaque ImageData; `progress` hears the share that is done. Gives an ImageData. */
export async function upscale(pool, model, picture, progress = () => {}) {
  const { width, height } = picture;
  const answer = new ImageData(width * model.scale, height * model.scale);
  const tiles = planTiles(width, height);
  let done = 0;
  await Promise.all(
    tiles.map(async (region) => {
      const height = region.height + 2 * model.halo;
      const width = region.width + 2 * model.halo;
      const tile = windows(cut(picture, region, model.halo), height, width);
      const runs = await pool.run(model, tile, height - 2, width - 2);
      placeRuns(runs, answer, region, model.scale);
      done += 1;
      progress(done / tiles.length);
    }),
  );
  return answer;
}

function planTiles(width, height) {
  const tiles = [];
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      tiles.push({
        top,
        left,
        height: Math.min(TILE, height - top),
        width: Math.min(TILE, width - left),
      });
    }
  }
  return tiles;
}

/** A tile with halo: each pixel a word of BGR and a byte without meaning. Borders are reflected. */
function cut(picture, { top, left, height, width }, halo) {
  const columns = Array.from({ length: width + 2 * halo }, (_, x) => reflected(left + x - halo, picture.width));
  const tile = new Uint8Array((height + 2 * halo) * columns.length * 4);
  let to = 0;
  for (let y = 0; y < height + 2 * halo; y += 1) {
    const row = reflected(top + y - halo, picture.height) * picture.width;
    for (const column of columns) {
      const from = (row + column) * 4;
      tile[to] = picture.data[from + 2];
      tile[to + 1] = picture.data[from + 1];
      tile[to + 2] = picture.data[from];
      to += 4;
    }
  }
  return tile;
}

/** A tile as the network takes it: for each pixel, the nine words of the 3×3 around it. */
function windows(tile, height, width) {
  const words = new Uint32Array(tile.buffer);
  const answer = new Uint32Array((height - 2) * (width - 2) * 9);
  let to = 0;
  for (let y = 0; y < height - 2; y += 1) {
    for (let x = 0; x < width - 2; x += 1) {
      for (let row = y; row < y + 3; row += 1) {
        const from = row * width + x;
        answer[to] = words[from];
        answer[to + 1] = words[from + 1];
        answer[to + 2] = words[from + 2];
        to += 3;
      }
    }
  }
  return new Uint8Array(answer.buffer);
}

/** The place that a place outside of 0 … size - 1 mirrors; the border pixel itself is not repeated. */
function reflected(place, size) {
  if (size === 1) return 0;
  const period = 2 * (size - 1);
  const within = ((place % period) + period) % period;
  return within < size ? within : period - within;
}

/** Depth to space: channel (i·s + j)·3 + c is colour c of row i, column j of each s×s block. */
function placeRuns({ data, dims }, answer, region, scale) {
  const [, height, width, channels] = dims;
  for (let y = 0; y < height; y += 1) {
    for (let i = 0; i < scale; i += 1) {
      let to = (((region.top + y) * scale + i) * answer.width + region.left * scale) * 4;
      for (let x = 0; x < width; x += 1) {
        let from = (y * width + x) * channels + i * scale * 3;
        for (let j = 0; j < scale; j += 1, from += 3, to += 4) {
          answer.data[to] = data[from + 2];
          answer.data[to + 1] = data[from + 1];
          answer.data[to + 2] = data[from];
          answer.data[to + 3] = 255;
        }
      }
    }
  }
}

/** Whether this browser gives the network's golden answer, byte for byte, as every machine must. */
export async function answersGolden(pool, model) {
  return (await goldenHash(pool, model)) === model.golden;
}

/** sha256 of the answer to the golden picture. */
export function goldenHash(pool, model) {
  const height = 61;
  const width = 83;
  return answerHash(pool, model, goldenInput(height, width, model.channels), height, width);
}

/** sha256 of the answer to `tile`, as the network takes it; padding channels are left out. */
export async function answerHash(pool, model, tile, height, width) {
  const { data, dims } = await pool.run(model, tile, height, width);
  const used = model.colours * model.scale ** 2;
  const padded = dims[3];
  const bytes = new Uint8Array((data.length / padded) * used);
  for (let pixel = 0; pixel < data.length / padded; pixel += 1) {
    bytes.set(data.subarray(pixel * padded, pixel * padded + used), pixel * used);
  }
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The picture of xlsr_cli.engine.golden.golden_input. Its products need more than 53 bits. */
function goldenInput(height, width, channels) {
  const picture = new Uint8Array(height * width * channels);
  let to = 0;
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      for (let c = 0; c < channels; c += 1, to += 1) {
        const ramp = (y * 3 + x * 2 + c * 40) % 256;
        const checks = ((Math.floor(y / 7) + Math.floor(x / 5)) % 2) * 90;
        const state = BigInt(y * 7919 + x * 104729 + c * 1299709 + 12345);
        const noise = Number(((state * 1103515245n + 12345n) >> 16n) % 61n);
        picture[to] = (ramp + checks + noise) % 256;
      }
    }
  }
  return picture;
}
