"use strict";

/* Sortable table: a press sorts by the column, best first; another press turns the order round. */
for (const button of document.querySelectorAll(".sortable thead button")) {
  button.addEventListener("click", () => {
    const head = button.closest("th");
    const current = head.getAttribute("aria-sort");
    const opposite = { ascending: "descending", descending: "ascending" };
    const direction = opposite[current] ?? button.dataset.first;
    for (const other of head.parentElement.children) other.setAttribute("aria-sort", "none");
    head.setAttribute("aria-sort", direction);
    sortRows(head.closest("table").tBodies[0], head.cellIndex, direction === "ascending" ? 1 : -1);
  });
}

function sortRows(body, column, sign) {
  const key = (row) => row.cells[column].dataset.value;
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    return sign * (column === 0 ? x.localeCompare(y, undefined, { numeric: true }) : x - y);
  };
  body.append(...[...body.rows].sort(compare));
}

/* Crop browser: one zoom and offset, in shares of a crop, for all crops. */
const places = JSON.parse(document.getElementById("places").textContent);
if (places.length) startBrowser();

function startBrowser() {
  const byId = (id) => document.getElementById(id);
  const panels = byId("panels");
  const view = { zoom: 1, x: 0, y: 0 };
  const mostZoom = 16;
  let method = null;
  let showsAll = false;

  function applyView() {
    for (const side of ["x", "y"]) view[side] = Math.min(0, Math.max(1 - view.zoom, view[side]));
    panels.style.setProperty("--zoom", view.zoom);
    panels.style.setProperty("--x", view.x);
    panels.style.setProperty("--y", view.y);
    panels.classList.toggle("zoomed", view.zoom > 1.01);
    byId("zoom").textContent = `${view.zoom.toFixed(1).replace(".0", "")}×`;
  }

  function zoomTo(zoom, x = 0.5, y = 0.5) {
    const next = Math.min(mostZoom, Math.max(1, zoom));
    view.x = x - ((x - view.x) * next) / view.zoom;
    view.y = y - ((y - view.y) * next) / view.zoom;
    view.zoom = next;
    applyView();
  }

  function move(x, y) {
    view.x += x;
    view.y += y;
    applyView();
  }

  function element(tag, properties, ...children) {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  }

  function panelOf(panel, place) {
    const image = element("img", { src: panel.uri, alt: `${panel.name}, crop of ${place.image}`, draggable: false });
    const frame = element("div", { className: "frame" }, image);
    frame.style.aspectRatio = `${place.width} / ${place.height}`;
    const caption = element("figcaption", { textContent: panel.name });
    if (panel.scores) caption.append(element("small", { textContent: panel.scores }));
    const figure = element("figure", {}, frame, caption);
    figure.dataset.method = panel.role === "method" ? panel.name : "";
    return figure;
  }

  function methodNames() {
    return [...panels.children].map((figure) => figure.dataset.method).filter(Boolean);
  }

  function choose(name) {
    method = name;
    for (const figure of panels.children) {
      const isMethod = figure.dataset.method !== "";
      figure.hidden = isMethod && !showsAll && figure.dataset.method !== method;
      figure.classList.toggle("chosen", isMethod && showsAll && figure.dataset.method === method);
    }
    for (const radio of byId("methods").querySelectorAll("input")) radio.checked = radio.value === method;
  }

  function step(by) {
    const names = methodNames();
    choose(names[(names.indexOf(method) + by + names.length) % names.length]);
  }

  function open(index) {
    const place = places[index];
    panels.replaceChildren(...place.panels.map((panel) => panelOf(panel, place)));
    byId("place-title").replaceChildren(place.image, element("span", { textContent: ` – ${place.why}` }));
    for (const button of document.querySelectorAll(".place")) {
      button.setAttribute("aria-current", String(Number(button.dataset.place) === index));
    }
    const labels = methodNames().map((name) => {
      const radio = element("input", { type: "radio", name: "method", value: name });
      return element("label", {}, radio, name);
    });
    byId("methods").replaceChildren(byId("methods").firstElementChild, ...labels);
    choose([place.method, method, ...methodNames()].find((name) => methodNames().includes(name)));
    Object.assign(view, { zoom: 1, x: 0, y: 0 });
    applyView();
  }

  function showAll(wanted) {
    showsAll = wanted;
    byId("all").setAttribute("aria-pressed", String(wanted));
    choose(method);
  }

  const keys = {
    ArrowLeft: () => move(0.1, 0),
    ArrowRight: () => move(-0.1, 0),
    ArrowUp: () => move(0, 0.1),
    ArrowDown: () => move(0, -0.1),
    "+": () => zoomTo(view.zoom * 1.5),
    "=": () => zoomTo(view.zoom * 1.5),
    "-": () => zoomTo(view.zoom / 1.5),
    0: () => zoomTo(1),
    "[": () => step(-1),
    "]": () => step(1),
  };
  panels.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey || event.altKey) return;
    if (view.zoom === 1 && event.key.startsWith("Arrow")) return;
    event.preventDefault();
    keys[event.key]();
  });

  /* Where in its frame an event is, in shares. */
  function position(event, frame) {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  panels.addEventListener("wheel", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame || document.activeElement !== panels) return;
    event.preventDefault();
    zoomTo(view.zoom * Math.exp(-event.deltaY / 300), ...position(event, frame));
  }, { passive: false });

  panels.addEventListener("dblclick", (event) => {
    const frame = event.target.closest(".frame");
    if (frame) zoomTo(view.zoom > 1.01 ? 1 : 4, ...position(event, frame));
  });

  const pointers = new Map();
  panels.addEventListener("pointerdown", (event) => {
    const frame = event.target.closest(".frame");
    if (!frame) return;
    pointers.set(event.pointerId, { frame, at: position(event, frame) });
    frame.setPointerCapture(event.pointerId);
  });
  panels.addEventListener("pointermove", (event) => {
    const pointer = pointers.get(event.pointerId);
    if (!pointer) return;
    const before = pointer.at;
    pointer.at = position(event, pointer.frame);
    const other = [...pointers].find(([id]) => id !== event.pointerId)?.[1];
    if (other) {
      const distance = (point) => Math.hypot(point[0] - other.at[0], point[1] - other.at[1]) || 1e-6;
      zoomTo((view.zoom * distance(pointer.at)) / distance(before), ...other.at);
    } else {
      move(pointer.at[0] - before[0], pointer.at[1] - before[1]);
    }
  });
  for (const end of ["pointerup", "pointercancel"]) {
    panels.addEventListener(end, (event) => pointers.delete(event.pointerId));
  }

  byId("methods").addEventListener("change", (event) => choose(event.target.value));
  byId("zoom-in").addEventListener("click", () => zoomTo(view.zoom * 1.5));
  byId("zoom-out").addEventListener("click", () => zoomTo(view.zoom / 1.5));
  byId("reset").addEventListener("click", () => zoomTo(1));
  byId("all").addEventListener("click", () => showAll(!showsAll));
  for (const button of document.querySelectorAll(".place")) {
    button.addEventListener("click", () => open(Number(button.dataset.place)));
  }
  open(0);
  showAll(window.innerWidth > 760 && methodNames().length <= 4);
}
