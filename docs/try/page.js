/** The page "Try it": drop a picture, see it enlarged. Nothing leaves the browser. */

import { Pool, answersGolden, loadModels, upscale } from "./engine.js";

/** Above, browsers refuse the canvas or run out of memory, in pixels. */
const MOST_PIXELS = 64e6;

const root = document.getElementById("xlsr-try");
const part = (name) => root.querySelector(`[data-part="${name}"]`);
const parts = {
  file: part("file"),
  drop: part("drop"),
  scale: part("scale"),
  progress: part("progress"),
  status: part("status"),
  view: part("view"),
  before: part("before"),
  after: part("after"),
  split: part("split"),
  save: part("save"),
};

let pool;
let models;
let picture; // {name, pixels}
let turn = 0;

function say(text) {
  parts.status.textContent = text;
}

async function decoded(file) {
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

/** Transparent pixels over white, since the page enlarges the three colours alone. Says whether any were. */
function flatten(pixels) {
  const { data } = pixels;
  let transparent = false;
  for (let i = 0; i < data.length; i += 4) {
    const alpha = data[i + 3];
    if (alpha === 255) continue;
    transparent = true;
    for (let c = i; c < i + 3; c += 1) data[c] = Math.round((data[c] * alpha + 255 * (255 - alpha)) / 255);
    data[i + 3] = 255;
  }
  return transparent;
}

async function open(file) {
  const mine = (turn += 1);
  pool?.cancel();
  say(`Reading ${file.name} …`);
  try {
    const pixels = await decoded(file);
    if (mine !== turn) return;
    picture = { name: file.name, pixels, flattened: flatten(pixels) };
  } catch {
    if (mine === turn) say(`This browser cannot read ${file.name} as a picture.`);
    return;
  }
  await enlarge();
}

async function enlarge() {
  if (!picture) return;
  const mine = (turn += 1);
  pool?.cancel();
  const scale = Number(parts.scale.value);
  const { pixels, name, flattened } = picture;
  const size = `${pixels.width * scale}×${pixels.height * scale}`;
  if (pixels.width * pixels.height * scale * scale > MOST_PIXELS) {
    say(`${size} pixels are too many for a browser: use the command line.`);
    return;
  }
  parts.view.hidden = true;
  parts.save.hidden = true;
  parts.progress.hidden = false;
  parts.progress.removeAttribute("value");
  say("Loading the network …");
  try {
    const model = await ready(scale);
    if (mine !== turn) return;
    say(`Enlarging ${name} to ${size} …`);
    const started = performance.now();
    const answer = await upscale(pool, model, pixels, (share) => {
      if (mine === turn) parts.progress.value = share;
    });
    if (mine !== turn) return;
    const seconds = (performance.now() - started) / 1000;
    await show(pixels, answer);
    const note = flattened ? " Transparency was laid on white; the command line keeps it." : "";
    say(`${size} in ${seconds.toFixed(1)} s, with the same bytes as everywhere.${note}`);
    root.dataset.state = "done";
  } catch (error) {
    if (mine !== turn || error.name === "AbortError") return;
    say(`That did not work: ${error.message}`);
    root.dataset.state = "failed";
  } finally {
    if (mine === turn) parts.progress.hidden = true;
  }
}

/** The network for `scale`, which must first give its golden answer in this browser. */
async function ready(scale) {
  pool ??= new Pool();
  models ??= await loadModels();
  const model = models.find((each) => each.colours === 3 && each.scale === scale && each.restore === "off");
  model.proved ??= await answersGolden(pool, model);
  if (!model.proved) throw new Error("this browser gives other bytes than the command line would");
  return model;
}

async function show(before, after) {
  for (const [canvas, pixels] of [[parts.before, before], [parts.after, after]]) {
    canvas.width = pixels.width;
    canvas.height = pixels.height;
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  }
  parts.view.style.setProperty("--width", `${after.width}px`);
  parts.view.style.setProperty("--height", `${after.height}px`);
  parts.view.hidden = false;
  setSplit(50);
  const blob = await new Promise((resolve) => parts.after.toBlob(resolve, "image/png"));
  URL.revokeObjectURL(parts.save.href);
  parts.save.href = URL.createObjectURL(blob);
  parts.save.download = `${picture.name.replace(/\.[^.]*$/, "")}_x${after.width / before.width}.png`;
  parts.save.hidden = false;
}

function setSplit(percent) {
  parts.split.value = percent;
  parts.view.style.setProperty("--split", `${percent}%`);
}

function listen() {
  parts.file.addEventListener("change", () => parts.file.files[0] && open(parts.file.files[0]));
  parts.scale.addEventListener("change", enlarge);
  parts.split.addEventListener("input", () => setSplit(parts.split.value));
  parts.view.addEventListener("pointermove", (event) => {
    const box = parts.after.getBoundingClientRect();
    setSplit(Math.min(100, Math.max(0, (100 * (event.clientX - box.left)) / box.width)));
  });
  for (const kind of ["dragenter", "dragover", "dragleave", "drop"]) {
    parts.drop.addEventListener(kind, (event) => {
      event.preventDefault();
      parts.drop.classList.toggle("over", kind === "dragenter" || kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files[0]) open(event.dataTransfer.files[0]);
    });
  }
  document.addEventListener("paste", (event) => {
    const file = event.clipboardData?.files[0];
    if (file) open(file);
  });
  root.dataset.state = "waiting";
}

listen();
