import { decode, problemOf, sameScale, scalesOf } from "./images.js";

const byId = (id) => document.getElementById(id);
const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};
const WORSE = [224, 112, 26], BETTER = [31, 119, 208];

const worker = new Worker("scoring.js", { type: "module" });
const { metrics } = await (await fetch("page.json")).json();
const mapped = metrics.find(({ calibration }) => calibration);
let input = null;
let outputs = [];
let selected = null;
let jobs = 0;
let problems = [];

function say(text, wrong = false) {
  byId("status").textContent = text;
  byId("status").classList.toggle("wrong", wrong);
}

async function decoded(files) {
  const read = [];
  for (const file of files) {
    try {
      read.push(await decode(file));
    } catch (error) {
      problems.push(error.message);
    }
  }
  return read;
}

async function take({ inputs = [], restored = [] }) {
  say("Reading …");
  problems = [];
  const [picture] = await decoded([...inputs].slice(0, 1));
  const more = await decoded(restored);
  if (picture) {
    if (input) URL.revokeObjectURL(input.url);
    input = picture;
    outputs = outputs.map(unscored);
  }
  for (const output of more) outputs.push(unscored({ ...output, name: free(output.name) }));
  selected = outputs.find(({ url }) => url === selected?.url) ?? outputs[0] ?? null;
  start();
}

/** The files of what was dropped, in the order of their names; of folders the images alone, at any depth. */
async function filesIn(entries, inFolder = false) {
  const found = [];
  for (const entry of entries) {
    if (entry.isDirectory) {
      const [reader, inside] = [entry.createReader(), []];
      for (let more = null; more?.length !== 0; inside.push(...more)) {
        more = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      }
      found.push(...await filesIn(inside.sort((a, b) => a.name.localeCompare(b.name)), true));
    } else {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      if (!inFolder || file.type.startsWith("image/")) found.push(file);
    }
  }
  return found;
}

/** The name, numbered where another output has it: "cat.png (2)". */
function free(name) {
  let [number, found] = [1, name];
  while (outputs.some((output) => output.name === found)) found = `${name} (${++number})`;
  return found;
}

function unscored({ name, url, width, height, data }) {
  return { name, url, width, height, data, scores: {}, map: null, problem: "", job: null, done: false };
}

/** Hand every output that has not been scored beside this input to the worker. */
function start() {
  for (const output of input ? outputs.filter(({ job }) => job === null) : []) {
    output.job = ++jobs;
    output.problem = problemOf(output, input);
    output.done = Boolean(output.problem);
    if (!output.done) {
      const pixels = ({ data, width, height }) => ({ data, width, height });
      worker.postMessage({ job: output.job, output: pixels(output), input: pixels(input) });
    }
  }
  show();
}

worker.onmessage = ({ data: { job, name, score, map, done, problem } }) => {
  const output = outputs.find((each) => each.job === job);
  if (!output) return;
  if (done) output.done = true;
  if (problem) output.problem = problem;
  if (name) output.scores[name] = score;
  if (map && name === mapped?.name) output.map = map;
  show();
};
worker.onerror = (event) => say(`The metrics could not be loaded: ${event.message ?? "see the console"}`, true);

function show() {
  byId("input-name").textContent = input ? `${input.name}, ${input.width} × ${input.height}` : "none yet";
  byId("output-names").textContent = outputs.length ? outputs.map(({ name }) => name).join(", ") : "none yet";
  byId("results").hidden = !outputs.length || !input;
  byId("view").hidden = !outputs.length || !input;
  const waiting = outputs.filter(({ done }) => !done).length;
  if (problems.length) say(problems.join("; "), true);
  else if (!outputs.length) say("");
  else if (!input) say("The input is missing");
  else say(waiting ? `Scoring ${outputs.length - waiting + 1} of ${outputs.length} …` : "");
  showRows();
  showWarnings();
  showChoices();
  showStage();
}

function best(metric) {
  const values = outputs.map(({ scores }) => scores[metric.name]).filter((value) => value !== undefined);
  if (values.length < 2) return null;
  return metric.higher_is_better ? Math.max(...values) : Math.min(...values);
}

function showRows() {
  const focused = document.activeElement?.name === "selected";
  const [first] = metrics;
  const rank = ({ scores }) => scores[first.name] ?? -Infinity;
  if (outputs.every(({ done }) => done)) outputs.sort((a, b) => rank(b) - rank(a));
  const bests = metrics.map(best);
  byId("rows").replaceChildren(...outputs.map((output) => {
    const radio = make("input", { type: "radio", name: "selected", checked: output === selected });
    radio.addEventListener("change", () => { selected = output; show(); });
    const name = make("span", {}, output.name, make("small", { textContent: `${output.width} × ${output.height}` }));
    const row = make("tr", { className: output === selected ? "selected" : "" },
      make("th", { scope: "row" }, make("label", {}, radio, name)));
    if (output.problem) row.append(make("td", { className: "problem", colSpan: metrics.length, textContent: output.problem }));
    else row.append(...metrics.map((metric, place) => {
      const value = output.scores[metric.name];
      return make("td", {
        className: value !== undefined && value === bests[place] ? "best" : "",
        textContent: value === undefined ? "…" : value.toFixed(metric.digits),
      });
    }));
    return row;
  }));
  if (focused) document.querySelector("input[name=selected]:checked")?.focus();
}

/** Below the table, what casts doubt on its scores. */
function showWarnings() {
  const compared = input ? outputs.filter(({ problem }) => !problem) : [];
  const warnings = compared.flatMap(({ name, scores }) => metrics.filter((metric) => scores[metric.name] < metric.doubtful).map(
    ({ label, doubtful, unit }) => `${name} does not reduce to the input: ${label} below ${doubtful} ${unit}. Is it the right input?`));
  if (!sameScale(compared.map((output) => scalesOf(output, input)))) {
    warnings.unshift("Outputs differ in size: their scores do not compare.");
  }
  byId("warnings").replaceChildren(...warnings.map((textContent) => make("li", { textContent })));
}

function showChoices() {
  const pictures = new Map([["input", input], ...outputs.map((output) => [`${output.job}`, output])]);
  for (const [side, wanted] of [["left", byId("left").value || "input"], ["right", selected ? `${selected.job}` : "input"]]) {
    const options = [...pictures].filter(([, picture]) => picture).map(
      ([value, picture]) => make("option", { value, textContent: value === "input" ? "Input, enlarged" : picture.name }));
    byId(side).replaceChildren(...options);
    byId(side).value = pictures.has(wanted) ? wanted : "input";
  }
}

function pictureOf(side) {
  const { value } = byId(side);
  return value === "input" ? input : outputs.find(({ job }) => `${job}` === value);
}

function showStage() {
  if (byId("view").hidden) return;
  const [left, right] = ["left", "right"].map(pictureOf);
  const largest = selected ?? input;
  byId("stage").style.aspectRatio = `${largest.width} / ${largest.height}`;
  byId("viewer").style.maxWidth = `min(100%, ${Math.max(largest.width, 640)}px, calc(80vh * ${largest.width / largest.height}))`;
  for (const [side, picture] of [["left", left], ["right", right]]) {
    const image = byId(`${side}-image`);
    if (image.src !== picture.url) image.src = picture.url;
    image.alt = picture.name;
  }
  const shown = byId("show-map").checked && Boolean(right.map);
  byId("map").hidden = byId("legend").hidden = !shown;
  byId("stage").classList.toggle("mapped", shown);
  if (shown) paint(right);
}

/** The map as a picture of a pixel a cell, laid over the part of the output that its cells cover. */
function paint({ map, width, height }) {
  const { calibration: [slope, offset], stride } = mapped;
  const canvas = Object.assign(byId("map"), { width: map.width, height: map.height });
  const context = canvas.getContext("2d");
  const picture = context.createImageData(map.width, map.height);
  map.data.forEach((value, place) => {
    const quality = 1 / (1 + Math.exp(-(slope * value + offset)));
    WORSE.forEach((channel, index) => {
      picture.data[4 * place + index] = channel + quality * (BETTER[index] - channel);
    });
    picture.data[4 * place + 3] = 255;
  });
  context.putImageData(picture, 0, 0);
  canvas.style.width = `${(100 * map.width * stride) / width}%`;
  canvas.style.height = `${(100 * map.height * stride) / height}%`;
}

function split(percent) {
  byId("split").value = percent;
  byId("stage").style.setProperty("--split", `${percent}%`);
}

function listen() {
  byId("input-file").addEventListener("change", ({ target }) => take({ inputs: target.files }));
  byId("output-files").addEventListener("change", ({ target }) => take({ restored: target.files }));
  for (const [zone, kind] of [["drop-input", "inputs"], ["drop-outputs", "restored"]]) {
    const element = byId(zone);
    element.addEventListener("dragover", () => element.classList.add("over"));
    element.addEventListener("dragleave", () => element.classList.remove("over"));
    element.addEventListener("drop", ({ dataTransfer }) => {
      element.classList.remove("over");
      const dropped = [...dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter(Boolean);
      filesIn(dropped).then((files) => take({ [kind]: files }));
    });
  }
  for (const event of ["dragover", "drop"]) addEventListener(event, (each) => each.preventDefault());
  byId("again").addEventListener("click", () => {
    for (const picture of [input, ...outputs]) if (picture) URL.revokeObjectURL(picture.url);
    [input, outputs, selected, problems] = [null, [], null, []];
    for (const id of ["input-file", "output-files"]) byId(id).value = "";
    show();
  });
  byId("example").addEventListener("click", example);
  byId("left").addEventListener("change", showStage);
  byId("right").addEventListener("change", ({ target }) => {
    selected = outputs.find(({ job }) => `${job}` === target.value) ?? selected;
    showRows();
    showStage();
  });
  byId("show-map").addEventListener("change", showStage);
  byId("split").addEventListener("input", ({ target }) => split(target.value));
  byId("stage").addEventListener("pointermove", (event) => {
    if (event.buttons || event.type === "pointerdown") follow(event);
  });
  byId("stage").addEventListener("pointerdown", follow);
  byId("stage").addEventListener("dragstart", (event) => event.preventDefault());
}

function follow({ clientX }) {
  const { left, width } = byId("stage").getBoundingClientRect();
  split(Math.round(Math.min(100, Math.max(0, (100 * (clientX - left)) / width))));
}

async function example() {
  const { example: names } = await (await fetch("page.json")).json();
  const file = async (name) => new File([await (await fetch(`example/${name}`)).blob()], name);
  byId("again").click();
  await take({ inputs: [await file(names[0])], restored: await Promise.all(names.slice(1).map(file)) });
}

byId("heads").append(make("th", { scope: "col", textContent: "Output" }), ...metrics.map(({ label, unit, higher_is_better }) =>
  make("th", { scope: "col" }, label, make("small", { textContent: `${unit} ${higher_is_better ? "↑" : "↓"}` }))));
byId("meanings").append(...metrics.flatMap(({ label, meaning }) => [make("dt", { textContent: label }), make("dd", { textContent: meaning })]));
byId("signatures").append(...metrics.map(({ signature }) => make("li", { textContent: signature })));
byId("mapped").textContent = mapped?.label ?? "";
listen();
show();
document.documentElement.dataset.ready = "yes";
