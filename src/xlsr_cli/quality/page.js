"use strict";
// One canvas shows both pictures on the pixel grid of the larger one. Nothing outside the window is drawn:
// a frame costs what is visible, whatever the pictures measure.

const $ = (id) => document.getElementById(id);
const index = JSON.parse($("index").textContent);
const canvas = $("view");
const context = canvas.getContext("2d", { alpha: false });

/** Half, quarter … of each picture, so that a small view never reads all of a large picture. */
const SMALLEST_LEVEL = 512;
/** Pixels beside the divider that still take hold of it. */
const GRIP = 22;
const LARGEST_ZOOM = 64;
/** Difference in levels that the heat map shows as its brightest colour. */
const HOTTEST = 64;

let shown = 0;          // index of the pair
let sides = null;       // { before, after }: pyramids of both pictures
let size = null;        // { width, height } of the larger one: the grid that both are shown on
let zoom = 1;           // screen pixels per grid pixel
let centre = { x: 0, y: 0 };  // grid position in the middle of the window
let divider = 0.5;      // share of the window's width
let heat = false;
let fitted = true;
let queued = false;

// Pictures

function bytesOf(id) {
  const text = atob($(id).textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function pyramid(side) {
  const picture = await createImageBitmap(new Blob([bytesOf(side.id)], { type: side.type }));
  const levels = [picture];
  let last = picture;
  while (Math.max(last.width, last.height) > SMALLEST_LEVEL) {
    const half = new OffscreenCanvas(Math.max(1, last.width >> 1), Math.max(1, last.height >> 1));
    const drawing = half.getContext("2d");
    drawing.imageSmoothingQuality = "medium";
    drawing.drawImage(last, 0, 0, half.width, half.height);
    levels.push(await createImageBitmap(half));
    last = half;
  }
  return levels;
}

async function show(number) {
  shown = number;
  const pair = index.pairs[number];
  $("pair").value = String(number);
  $("state").textContent = "Decoding …";
  $("facts").replaceChildren(...pair.facts.map(([name, value]) => {
    const row = document.createElement("div");
    const term = document.createElement("dt");
    const text = document.createElement("dd");
    term.textContent = name;
    text.textContent = value;
    row.append(term, text);
    return row;
  }), ...pair.links.map(([text, address]) => {
    const row = document.createElement("div");
    const link = document.createElement("a");
    link.textContent = text;
    link.href = address;
    row.append(link);
    return row;
  }));
  const old = sides;
  sides = null;
  if (old) for (const level of [...old.before, ...old.after]) level.close();
  try {
    const [before, after] = [await pyramid(pair.before), await pyramid(pair.after)];
    if (shown !== number) return;
    sides = { before, after };
  } catch (error) {
    $("state").textContent = `This browser cannot show ${pair.name}: ${error.message}`;
    return;
  }
  size = {
    width: Math.max(sides.before[0].width, sides.after[0].width),
    height: Math.max(sides.before[0].height, sides.after[0].height),
  };
  $("name-before").textContent = labelOf(pair.before, sides.before);
  $("name-after").textContent = labelOf(pair.after, sides.after);
  $("state").textContent = "";
  fit();
  document.documentElement.dataset.ready = String(number);
}

const labelOf = (side, [picture]) => `${side.label} · ${picture.width}×${picture.height}`;

// Drawing

function redraw() {
  if (queued) return;
  queued = true;
  requestAnimationFrame(() => { queued = false; draw(); });
}

/** Draws grid positions of one side into the window, between the columns left and right of it. */
function drawSide(target, levels, left, right) {
  if (right <= left) return;
  const whole = levels[0];
  const perGrid = whole.width / size.width;       // picture pixels per grid pixel
  const down = Math.max(0, Math.floor(Math.log2(Math.max(1, perGrid / zoom))));
  const level = levels[Math.min(down, levels.length - 1)];
  const smooth = level.width / size.width > zoom;
  target.imageSmoothingEnabled = smooth;          // enlarged pixels stay squares
  target.imageSmoothingQuality = "low";
  target.save();
  target.beginPath();
  target.rect(left, 0, right - left, canvas.height);
  target.clip();
  const x = canvas.width / 2 - centre.x * zoom, y = canvas.height / 2 - centre.y * zoom;
  const width = size.width * zoom, height = size.height * zoom;
  // Only the part that is seen, in whole source pixels, so that the grid does not shift.
  const stepX = width / level.width, stepY = height / level.height;
  const x0 = Math.max(0, Math.floor((left - x) / stepX)), x1 = Math.min(level.width, Math.ceil((right - x) / stepX));
  const y0 = Math.max(0, Math.floor(-y / stepY)), y1 = Math.min(level.height, Math.ceil((canvas.height - y) / stepY));
  if (x1 > x0 && y1 > y0) {
    target.drawImage(level, x0, y0, x1 - x0, y1 - y0, x + x0 * stepX, y + y0 * stepY, (x1 - x0) * stepX, (y1 - y0) * stepY);
  }
  target.restore();
}

const ground = () => getComputedStyle(document.documentElement).getPropertyValue("--stage").trim();

function draw() {
  if (!sides) return;
  const started = performance.now();
  context.fillStyle = ground();
  context.fillRect(0, 0, canvas.width, canvas.height);
  if (heat) {
    drawHeat();
  } else {
    const column = Math.round(divider * canvas.width);
    drawSide(context, sides.before, 0, column);
    drawSide(context, sides.after, column, canvas.width);
    drawDivider(column);
  }
  $("zoom").textContent = `${zoom < 0.1 ? (zoom * 100).toFixed(1) : Math.round(zoom * 100)} %`;
  canvas.setAttribute("aria-valuenow", String(Math.round(divider * 100)));
  lastRedraw = performance.now() - started;
}
let lastRedraw = 0;

function drawDivider(column) {
  const ratio = devicePixelRatio, middle = canvas.height / 2, radius = 15 * ratio;
  context.fillStyle = "rgb(255 255 255 / .9)";
  context.fillRect(column - ratio, 0, 2 * ratio, canvas.height);
  context.beginPath();
  context.arc(column, middle, radius, 0, 2 * Math.PI);
  context.fill();
  context.strokeStyle = "#333";
  context.lineWidth = 2 * ratio;
  context.beginPath();
  for (const way of [-1, 1]) {
    context.moveTo(column + way * 4 * ratio, middle - 5 * ratio);
    context.lineTo(column + way * 9 * ratio, middle);
    context.lineTo(column + way * 4 * ratio, middle + 5 * ratio);
  }
  context.stroke();
}

const RAMP = ["#000004", "#57106e", "#bc3754", "#f98e09", "#fcffa4"].map((text) =>
  [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16)));
const COLOURS = Uint8Array.from({ length: 3 * (HOTTEST + 1) }, (_, i) => {
  const place = Math.floor(i / 3) / HOTTEST * (RAMP.length - 1);
  const low = Math.min(RAMP.length - 2, Math.floor(place));
  return RAMP[low][i % 3] + (RAMP[low + 1][i % 3] - RAMP[low][i % 3]) * (place - low);
});

/** The largest difference of the three channels at each pixel of the window. */
function drawHeat() {
  const planes = [sides.before, sides.after].map((levels) => {
    const drawing = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
    drawSide(drawing, levels, 0, canvas.width);
    return drawing.getImageData(0, 0, canvas.width, canvas.height);
  });
  const [one, other] = planes.map((plane) => plane.data);
  for (let i = 0; i < one.length; i += 4) {
    if (!one[i + 3]) continue;
    const apart = Math.max(
      Math.abs(one[i] - other[i]), Math.abs(one[i + 1] - other[i + 1]), Math.abs(one[i + 2] - other[i + 2]));
    const at = 3 * Math.min(HOTTEST, apart);
    one[i] = COLOURS[at]; one[i + 1] = COLOURS[at + 1]; one[i + 2] = COLOURS[at + 2]; one[i + 3] = 255;
  }
  const drawing = new OffscreenCanvas(canvas.width, canvas.height);
  drawing.getContext("2d").putImageData(planes[0], 0, 0);
  context.drawImage(drawing, 0, 0);
}

// View

/** A small picture is enlarged by a whole factor, so that all of its pixels stay equally large squares. */
function fitZoom() {
  const most = Math.min(canvas.width / size.width, canvas.height / size.height);
  return most > 1 ? Math.min(LARGEST_ZOOM, Math.floor(most)) : most;
}

function fit() {
  fitted = true;
  zoom = fitZoom();
  centre = { x: size.width / 2, y: size.height / 2 };
  redraw();
}

/** Zooms to `wanted`, the grid position under the window's pixel (x, y) staying where it is. */
function zoomTo(wanted, x = canvas.width / 2, y = canvas.height / 2) {
  if (!size) return;
  const next = Math.min(LARGEST_ZOOM, Math.max(Math.min(fitZoom(), 1) / 2, wanted));
  const dx = x - canvas.width / 2, dy = y - canvas.height / 2;
  centre = { x: centre.x + dx / zoom - dx / next, y: centre.y + dy / zoom - dy / next };
  zoom = next;
  fitted = false;
  keepInside();
  redraw();
}

function pan(dx, dy) {
  centre = { x: centre.x - dx / zoom, y: centre.y - dy / zoom };
  fitted = false;
  keepInside();
  redraw();
}

function keepInside() {
  centre.x = Math.min(size.width, Math.max(0, centre.x));
  centre.y = Math.min(size.height, Math.max(0, centre.y));
}

function slideTo(share) {
  divider = Math.min(1, Math.max(0, share));
  redraw();
}

function toggleHeat() {
  heat = !heat;
  $("difference").setAttribute("aria-pressed", String(heat));
  $("legend").hidden = !heat;
  for (const label of document.querySelectorAll(".side")) label.hidden = heat;
  redraw();
}

function step(by) {
  const count = index.pairs.length;
  if (count > 1) show((shown + by + count) % count);
}

// Hands

const pointers = new Map();
let sliding = false;

function place(event) {
  const box = canvas.getBoundingClientRect(), ratio = canvas.width / box.width;
  return { x: (event.clientX - box.left) * ratio, y: (event.clientY - box.top) * ratio };
}

const onDivider = (point) => !heat && Math.abs(point.x - divider * canvas.width) < GRIP * devicePixelRatio;

canvas.addEventListener("pointerdown", (event) => {
  if (!size) return;
  canvas.setPointerCapture(event.pointerId);
  const point = place(event);
  pointers.set(event.pointerId, point);
  sliding = pointers.size === 1 && onDivider(point);
  canvas.classList.toggle("dragging", !sliding);
});
canvas.addEventListener("pointermove", (event) => {
  const point = place(event);
  const before = pointers.get(event.pointerId);
  if (!before) {
    canvas.classList.toggle("sliding", onDivider(point));
    return;
  }
  if (pointers.size === 2) {
    const [other] = [...pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    const was = Math.hypot(before.x - other.x, before.y - other.y);
    const is = Math.hypot(point.x - other.x, point.y - other.y);
    zoomTo(zoom * is / Math.max(1, was), (point.x + other.x) / 2, (point.y + other.y) / 2);
    pan((point.x - before.x) / 2, (point.y - before.y) / 2);
  } else if (sliding) {
    slideTo(point.x / canvas.width);
  } else {
    pan(point.x - before.x, point.y - before.y);
  }
  pointers.set(event.pointerId, point);
});
for (const name of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(name, (event) => {
    pointers.delete(event.pointerId);
    sliding = false;
    canvas.classList.remove("dragging");
  });
}
canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const { x, y } = place(event);
  zoomTo(zoom * Math.exp(-event.deltaY / 400), x, y);
}, { passive: false });
canvas.addEventListener("dblclick", (event) => {
  const { x, y } = place(event);
  if (fitted) zoomTo(1, x, y); else fit();
});

const KEYS = {
  ArrowLeft: (event) => slideTo(divider - (event.shiftKey ? 0.1 : 0.01)),
  ArrowRight: (event) => slideTo(divider + (event.shiftKey ? 0.1 : 0.01)),
  ArrowUp: () => pan(0, canvas.height / 10),
  ArrowDown: () => pan(0, -canvas.height / 10),
  Home: () => slideTo(0),
  End: () => slideTo(1),
  "+": () => zoomTo(zoom * 1.25),
  "=": () => zoomTo(zoom * 1.25),
  "-": () => zoomTo(zoom / 1.25),
  0: fit,
  1: () => zoomTo(1),
  d: toggleHeat,
  n: () => step(1),
  p: () => step(-1),
};
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target instanceof HTMLSelectElement || !size) return;
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act(event);
});

$("fit").onclick = () => size && fit();
$("actual").onclick = () => zoomTo(1);
$("in").onclick = () => zoomTo(zoom * 1.5);
$("out").onclick = () => zoomTo(zoom / 1.5);
$("difference").onclick = toggleHeat;
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);
$("pair").onchange = (event) => show(Number(event.target.value));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);

new ResizeObserver(() => {
  const box = canvas.getBoundingClientRect();
  canvas.width = Math.max(1, Math.round(box.width * devicePixelRatio));
  canvas.height = Math.max(1, Math.round(box.height * devicePixelRatio));
  if (!size) return;
  if (fitted) fit(); else redraw();
}).observe(canvas);

if (index.pairs.length > 1) {
  $("pairs").hidden = $("turning").hidden = false;
  $("pair").append(...index.pairs.map((pair, number) => new Option(pair.name, String(number))));
}
show(0);
