// A map over a picture, pixel by pixel. PALETTES holds 256 colours a name, three bytes each (camviz/render.py).

const CONTOURS = 4; // bands, whose borders are drawn
const GREY_FROM = 0.25; // opacity above which the photograph is grey

/** How much of the photograph the colour covers where a map is 0, and where it is 1. */
function coverAt(opacity) {
  return [opacity ** 3, 1 - (1 - opacity) ** 1.6];
}

/** For each of 256 values: the share of the photograph kept, and the colour added. In differences 0.5 means none. */
function inksFor({ colours, opacity }, signed = false) {
  const palette = signed ? SIGNED : PALETTES[colours];
  const [low, high] = signed ? [0, coverAt(opacity)[1]] : coverAt(opacity);
  const inks = new Float32Array(256 * 4);
  for (let step = 0; step < 256; step++) {
    const cover = low + (high - low) * heightOf(step / 255, signed);
    inks[step * 4] = 1 - cover;
    for (let c = 0; c < 3; c++) inks[step * 4 + 1 + c] = cover * palette[step * 3 + c] + 0.5; // 0.5: to round
  }
  return inks;
}

/** A value's height; for differences, its distance from 0.5. */
function heightOf(value, signed) {
  return signed ? Math.abs(2 * value - 1) : value;
}

/** The photograph under a map (n, 3): grey, so that all colour belongs to the map, unless the map is nearly transparent. */
function groundFor(image, opacity) {
  const own = Math.max(0, 1 - opacity / GREY_FROM);
  if (image.own === own) return image.ground;
  const ground = new Float32Array(image.rgb.length);
  for (let i = 0, j = 0; i < image.grey.length; i++) {
    for (let c = 0; c < 3; c++, j++) ground[j] = image.grey[i] + own * (image.rgb[j] - image.grey[i]);
  }
  image.own = own;
  image.ground = ground;
  return ground;
}

/** Paint the picture alone into the pixels of an ImageData (Uint32, of a little-endian machine). */
function paintPicture(pixels, image) {
  for (let i = 0, j = 0; i < pixels.length; i++, j += 3) {
    pixels[i] = 0xff000000 | (image.rgb[j + 2] << 16) | (image.rgb[j + 1] << 8) | image.rgb[j];
  }
}

/**
 * Paint a map over the picture, in the columns from x0 to x1.
 * @param range [low, high] that the map's 0 and 1 stand for.
 * @param signed whether the map is a difference.
 */
function paintMap(pixels, image, map, range, settings, inks, x0 = 0, x1 = image.width, signed = false) {
  const ground = groundFor(image, settings.opacity);
  const [low, high] = range;
  const { width, height } = image;
  const threshold = settings.threshold;
  for (let y = 0; y < height; y++) {
    for (let i = y * width + x0, end = y * width + x1, j = i * 3; i < end; i++, j += 3) {
      const value = low + map[i] * (high - low);
      if (heightOf(value, signed) < threshold) {
        pixels[i] =
          0xff000000 | ((ground[j + 2] + 0.5) << 16) | ((ground[j + 1] + 0.5) << 8) | (ground[j] + 0.5);
        continue;
      }
      const ink = ((value * 255 + 0.5) | 0) * 4;
      const kept = inks[ink];
      pixels[i] =
        0xff000000 |
        ((ground[j + 2] * kept + inks[ink + 3]) << 16) |
        ((ground[j + 1] * kept + inks[ink + 2]) << 8) |
        (ground[j] * kept + inks[ink + 1]);
    }
  }
  if (settings.lines === "quarters") paintContours(pixels, image, map, range, x0, x1);
  else if (settings.lines !== "none") {
    paintOutline(pixels, image, outlineOf(map, image, Number(settings.lines), signed), x0, x1);
  }
}

/** Draw a white pixel wherever a map passes 1/4, 1/2 or 3/4. */
function paintContours(pixels, { width, height }, map, [low, high], x0, x1) {
  const band = (i) => Math.min(CONTOURS - 1, Math.floor((low + map[i] * (high - low)) * CONTOURS));
  for (let y = 1; y < height; y++) {
    for (let x = Math.max(1, x0); x < x1; x++) {
      const i = y * width + x;
      const here = band(i);
      if (here === band(i - 1) && here === band(i - width)) continue;
      pixels[i] = 0xffffffff;
    }
  }
}

/** Outline the hottest pixels: white on their edge, black just outside, so that it is visible on every colour. */
function paintOutline(pixels, { width }, edges, x0, x1) {
  for (let i = 0; i < pixels.length; i++) {
    if (edges[i] === NO_EDGE || i % width < x0 || i % width >= x1) continue;
    pixels[i] = edges[i] === INNER ? 0xffffffff : 0xff000000;
  }
}

const [NO_EDGE, INNER, OUTER] = [0, 1, 2];
const OUTLINES = new WeakMap(); // map -> results of `outlineOf`, by share

/** The edge of the hottest share of a map's pixels, a byte each: the outermost of them, and those just outside. */
function outlineOf(map, { width, height }, share, signed) {
  const known = OUTLINES.get(map) ?? {};
  OUTLINES.set(map, known);
  return (known[share] ??= edgesOf(hottest(signed ? map.map((value) => heightOf(value, true)) : map, share), width, height));
}

/**
 * Which pixels are the hottest share of a map, as `camviz.hotspots` has it: at least as high as the n-th highest,
 * n = share * pixels rounded, and above 0. Of a difference those farthest from none.
 */
function hottest(heights, share) {
  const count = Math.max(1, Math.floor(share * heights.length + 0.5));
  const threshold = heights.slice().sort()[heights.length - count];
  const inside = new Uint8Array(heights.length);
  for (let i = 0; i < heights.length; i++) inside[i] = heights[i] >= threshold && heights[i] > 0 ? 1 : 0;
  return inside;
}

function edgesOf(inside, width, height) {
  const edges = new Uint8Array(inside.length);
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      const around =
        (x > 0 ? inside[i - 1] : 0) +
        (x + 1 < width ? inside[i + 1] : 0) +
        (y > 0 ? inside[i - width] : 0) +
        (y + 1 < height ? inside[i + width] : 0);
      if (inside[i] ? around < 4 : around > 0) edges[i] = inside[i] ? INNER : OUTER;
    }
  }
  return edges;
}

/** The colours of a map's values over mid-grey, as a CSS gradient. */
function ramp(settings, signed = false) {
  const inks = inksFor(settings, signed);
  const stops = Array.from({ length: 12 }, (_, index) => {
    const ink = Math.round((index / 11) * 255) * 4;
    const [r, g, b] = [1, 2, 3].map((c) => Math.floor(128 * inks[ink] + inks[ink + c]));
    return `rgb(${r} ${g} ${b})`;
  });
  return `linear-gradient(to right, ${stops.join(", ")})`;
}
