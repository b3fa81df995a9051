"use strict";

/* The address keeps what is shown: place, view, left and right, and the order of the table. */
const state = new URLSearchParams(location.hash.includes("=") ? location.hash.slice(1) : "");

function remember(changes) {
  for (const [name, value] of Object.entries(changes)) {
    if (value === null) state.delete(name);
    else state.set(name, value);
  }
  history.replaceState(null, "", `#${state}`);
}

/* Sortable table: a press sorts by the column, best first; another press turns the order round. */
const OPPOSITE = { ascending: "descending", descending: "ascending" };
const heads = [...document.querySelectorAll(".sortable thead th[data-name]")];
const firstLead = heads.find((head) => head.getAttribute("aria-sort") !== "none");

function sortBy(head, direction) {
  for (const other of heads) other.setAttribute("aria-sort", other === head ? direction : "none");
  const body = head.closest("table").tBodies[0];
  const first = head.querySelector("button").dataset.first;
  const isNamed = head === heads[0];
  sortRows(body, head.cellIndex, direction === "ascending" ? 1 : -1, isNamed);
  numberRows(body, isNamed ? firstLead : head, isNamed ? firstLead.querySelector("button").dataset.first : first);
}

function sortRows(body, column, sign, isNamed) {
  const key = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (isNamed ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
  };
  body.append(...[...body.rows].sort(compare));
}

function numberRows(body, head, first) {
  const values = [...body.rows].map((row) => row.cells[head.cellIndex].dataset.value);
  const isBetter = (a, b) => (first === "descending" ? Number(a) > Number(b) : Number(a) < Number(b));
  [...body.rows].forEach((row, index) => {
    const better = values.filter((value) => value !== "" && isBetter(value, values[index])).length;
    row.cells[0].textContent = values[index] === "" ? "–" : better + 1;
  });
}

for (const head of heads) {
  head.querySelector("button").addEventListener("click", () => {
    const { first } = head.querySelector("button").dataset;
    const direction = OPPOSITE[head.getAttribute("aria-sort")] ?? first;
    sortBy(head, direction);
    remember({ sort: head.dataset.name, order: direction === first ? null : direction });
  });
}

function restoreOrder() {
  const head = heads.find((each) => each.dataset.name === state.get("sort"));
  if (head) sortBy(head, OPPOSITE[state.get("order")] ? state.get("order") : head.querySelector("button").dataset.first);
}
restoreOrder();

/* A box fades at its right edge while it can be scrolled further. */
for (const box of document.querySelectorAll(".scroll")) {
  const fade = () => box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 1);
  box.addEventListener("scroll", fade, { passive: true });
  new ResizeObserver(fade).observe(box);
}

/* Crop browser: one zoom and offset, in shares of a crop, for all crops. */
const places = JSON.parse(document.getElementById("places").textContent);
const browser = places.length ? startBrowser() : null;

window.addEventListener("hashchange", () => {
  if (!location.hash.includes("=")) return;
  for (const name of [...state.keys()]) state.delete(name);
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) state.set(name, value);
  restoreOrder();
  browser?.restore();
});

function startBrowser() {
  const byId = (id) => document.getElementById(id);
  const panels = byId("panels");
  const viewport = { zoom: 1, x: 0, y: 0 };
  const mostZoom = 16;
  const buttons = [...document.querySelectorAll(".place")];
  const views = [...document.querySelectorAll("[data-view]")];
  const isNarrow = window.matchMedia("(max-width: 760px)").matches;
  let place = places[0];
  let view = isNarrow ? "slider" : "side";
  let split = 50;

  function applyViewport() {
    for (const side of ["x", "y"]) viewport[side] = Math.min(0, Math.max(1 - viewport.zoom, viewport[side]));
    panels.style.setProperty("--zoom", viewport.zoom);
    panels.style.setProperty("--x", viewport.x);
    panels.style.setProperty("--y", viewport.y);
    panels.classList.toggle("zoomed", viewport.zoom > 1.01);
    byId("zoom").textContent = `${viewport.zoom.toFixed(1).replace(".0", "")}×`;
  }

  function zoomTo(zoom, x = 0.5, y = 0.5) {
    const next = Math.min(mostZoom, Math.max(1, zoom));
    viewport.x = x - ((x - viewport.x) * next) / viewport.zoom;
    viewport.y = y - ((y - viewport.y) * next) / viewport.zoom;
    viewport.zoom = next;
    applyViewport();
  }

  function move(x, y) {
    viewport.x += x;
    viewport.y += y;
    applyViewport();
  }

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function imageOf(panel) {
    return element("img", { src: panel.uri, alt: `${panel.name}, crop of ${place.image}`, draggable: false });
  }

  function frameOf(...children) {
    const frame = element("div", { className: "frame" }, ...children);
    frame.style.aspectRatio = `${place.width} / ${place.height}`;
    return frame;
  }

  function captionOf(panel, side = "") {
    const caption = element("figcaption", { textContent: side ? `${side}: ${panel.name}` : panel.name });
    const items = panel.scores.map(([metric, score, isBest]) =>
      element("li", { className: isBest ? "top" : "" }, metric, element("b", { textContent: score })),
    );
    if (items.length) caption.append(element("ul", { className: "scores" }, ...items));
    return caption;
  }

  function figureOf(panel) {
    const figure = element("figure", {}, frameOf(imageOf(panel)), captionOf(panel));
    figure.classList.toggle("chosen", view === "all" && panel.name === byId("right").value);
    return figure;
  }

  function sliderOf(left, right) {
    const over = element("div", { className: "over" }, imageOf(right));
    const frame = frameOf(imageOf(left), over, element("div", { className: "handle" }));
    const range = element("input", { type: "range", id: "split", min: 0, max: 100, step: 1, value: split });
    range.setAttribute("aria-label", "Where the right crop begins, in per cent");
    range.addEventListener("input", () => splitAt(range.valueAsNumber));
    const sides = element("div", { className: "sides" }, captionOf(left, "Left"), captionOf(right, "Right"));
    return element("figure", {}, frame, range, sides);
  }

  function splitAt(share) {
    split = Math.min(100, Math.max(0, share));
    panels.style.setProperty("--split", `${split}%`);
    if (byId("split")) byId("split").value = split;
  }

  function panelNamed(name) {
    return place.panels.find((panel) => panel.name === name);
  }

  function render() {
    const [left, right] = [panelNamed(byId("left").value), panelNamed(byId("right").value)];
    const truth = place.panels.at(-1).role === "reference" ? [place.panels.at(-1)] : [];
    const shown = view === "all" ? place.panels : [...new Set([left, right, ...truth])];
    panels.className = view;
    panels.replaceChildren(...(view === "slider" ? [sliderOf(left, right)] : shown.map(figureOf)));
    for (const button of views) button.setAttribute("aria-pressed", String(button.dataset.view === view));
    splitAt(split);
    applyViewport();
  }

  function keep() {
    remember({ place: places.indexOf(place), view, left: byId("left").value, right: byId("right").value });
  }

  function open(index, pair = places[index].pair) {
    place = places[index];
    const names = place.panels.map((panel) => panel.name);
    byId("place-title").replaceChildren(place.image, element("span", { textContent: ` – ${place.why}` }));
    for (const button of buttons) button.setAttribute("aria-current", String(Number(button.dataset.place) === index));
    ["left", "right"].forEach((side, number) => {
      byId(side).replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
      byId(side).value = names.includes(pair[number]) ? pair[number] : (place.pair[number] ?? names[0]);
    });
    Object.assign(viewport, { zoom: 1, x: 0, y: 0 });
    render();
  }

  function step(by) {
    const names = place.panels.filter((panel) => panel.role === "method").map((panel) => panel.name);
    const at = names.indexOf(byId("right").value);
    byId("right").value = names[(at < 0 ? 0 : at + by + names.length) % names.length];
    render();
    keep();
  }

  function show(wanted) {
    view = wanted;
    render();
    keep();
  }

  function restore() {
    const index = Number(state.get("place"));
    if (views.some((button) => button.dataset.view === state.get("view"))) view = state.get("view");
    open(places[index] ? index : 0, [state.get("left"), state.get("right")]);
  }

  const keys = {
    ArrowLeft: () => move(0.1, 0),
    ArrowRight: () => move(-0.1, 0),
    ArrowUp: () => move(0, 0.1),
    ArrowDown: () => move(0, -0.1),
    "+": () => zoomTo(viewport.zoom * 1.5),
    "=": () => zoomTo(viewport.zoom * 1.5),
    "-": () => zoomTo(viewport.zoom / 1.5),
    0: () => zoomTo(1),
    "[": () => step(-1),
    "]": () => step(1),
  };
  panels.addEventListener("keydown", (event) => {
    if (event.target !== panels || !(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (viewport.zoom === 1 && event.key.startsWith("Arrow")) return;
    event.preventDefault();
    keys[event.key]();
  });

  const position = (event, frame) => {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };

  panels.addEventListener("wheel", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame || document.activeElement !== panels) return;
    event.preventDefault();
    zoomTo(viewport.zoom * Math.exp(-event.deltaY / 300), ...position(event, frame));
  }, { passive: false });

  panels.addEventListener("dblclick", (event) => {
    const frame = event.target.closest(".frame");
    if (frame) zoomTo(viewport.zoom > 1.01 ? 1 : 4, ...position(event, frame));
  });

  /* A drag moves the crops; in the slider it moves the split, by its handle or where there is nothing to move. */
  const pointers = new Map();
  panels.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame) return;
    const splits = view === "slider" && (event.target.matches(".handle") || viewport.zoom <= 1.01);
    pointers.set(event.pointerId, { frame, splits, at: position(event, frame) });
    frame.setPointerCapture(event.pointerId);
    if (splits) splitAt(100 * pointers.get(event.pointerId).at[0]);
  });
  panels.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) return;
    const before = pointer.at;
    pointer.at = position(event, pointer.frame);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const distance = (point) => Math.hypot(point[0] - other.at[0], point[1] - other.at[1]) || 1e-6;
      zoomTo((viewport.zoom * distance(pointer.at)) / distance(before), ...other.at);
    } else if (pointer.splits) {
      splitAt(100 * pointer.at[0]);
    } else {
      move(pointer.at[0] - before[0], pointer.at[1] - before[1]);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    panels.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }

  for (const side of ["left", "right"]) {
    byId(side).addEventListener("change", () => {
      render();
      keep();
    });
  }
  byId("zoom-in").addEventListener("click", () => zoomTo(viewport.zoom * 1.5));
  byId("zoom-out").addEventListener("click", () => zoomTo(viewport.zoom / 1.5));
  byId("reset").addEventListener("click", () => zoomTo(1));
  for (const button of views) button.addEventListener("click", () => show(button.dataset.view));
  for (const button of buttons) {
    const index = Number(button.dataset.place);
    const shown = places[index].panels.find((panel) => panel.name === places[index].pair.at(-1));
    button.querySelector("img").src = shown.uri;
    button.addEventListener("click", () => {
      open(index);
      keep();
    });
  }
  restore();
  if (state.has("place")) byId("crops").scrollIntoView();
  return { restore };
}
