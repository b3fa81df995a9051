/** Files as pixels, and whether an output can be of an input. */

export const SMALLEST = 32;
export const MOST_PIXELS = 6_000_000;
/** Codes of 255 by which a profile that is as good as sRGB may differ from it, as in drmetric/images/profiles.py. */
const NEAR = 2;

/** A name on one line, in its own direction. */
export function plain(name) {
  return name.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\uFFFD");
}

/** The pixels of a file in sRGB, {name, url, width, height, data: RGBA}; an Error says why there are none. */
export async function decode(file) {
  const name = plain(file.name);
  const { width, height, data: stored } = await pixelsOf(file, name, "none");
  const { data: converted } = await pixelsOf(file, name, "default");
  for (let place = 3; place < stored.length; place += 4) {
    if (stored[place] !== 255) throw new Error(`${name} has transparent pixels: lay it over a colour first`);
  }
  const data = stored.every((value, place) => Math.abs(value - converted[place]) <= NEAR) ? stored : converted;
  return { name, url: URL.createObjectURL(file), width, height, data };
}

/** The pixels of a file as they are stored ("none"), or converted to sRGB by its colour profile ("default"). */
async function pixelsOf(file, name, colorSpaceConversion) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { colorSpaceConversion, premultiplyAlpha: "none" });
  } catch {
    throw new Error(`${name} is no image that this browser reads`);
  }
  const { width, height } = bitmap;
  if (width * height > MOST_PIXELS) {
    throw new Error(`${name} has ${Math.round((width * height) / 1e6)} megapixels, more than a page can hold: use drmetric score`);
  }
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** The scales that make an output from an input, between two ends, or null: the rule of drmetric/images/scale.py. */
export function scalesOf(output, input) {
  const sides = [[output.width, input.width], [output.height, input.height]];
  if (sides.every(([side, small]) => side === small)) return [1, 1];
  if (sides.some(([side, small]) => side < small)) return null;
  const low = Math.max(1, ...sides.map(([side, small]) => side / (small + 1)));
  const high = Math.min(...sides.map(([side, small]) => (small > 1 ? side / (small - 1) : Infinity)));
  return low < high ? [low, high] : null;
}

/** Whether one scale makes all outputs from their input. */
export function sameScale(scales) {
  const [lows, highs] = [0, 1].map((end) => scales.map((each) => each[end]));
  return Math.max(...lows) < Math.min(...highs) || scales.every(([low, high]) => low === high);
}

/** What keeps an output from being scored beside an input, or nothing. */
export function problemOf(output, input) {
  if (Math.min(output.width, output.height) < SMALLEST) return `smaller than ${SMALLEST} × ${SMALLEST} pixels`;
  if (scalesOf(output, input)) return "";
  const sizes = `the output is ${output.width} × ${output.height}, the input ${input.width} × ${input.height} pixels`;
  return `${sizes}: ${scalesOf(input, output) ? "swapped?" : "no common scale makes one from the other"}`;
}
