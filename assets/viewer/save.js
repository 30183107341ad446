// Saving as PNG: the result, a panel or the whole arrangement, redrawn at a chosen scale, with or without captions.

const MARGIN = 16;
const LINE = 16;
const WORDS = "h4, figcaption, .cv-class";

function saveMenu() {
  const scale = select([["1", "1 ×"], ["2", "2 ×"], ["4", "4 ×"]], () => {});
  scale.value = "2";
  const captions = box(() => {});
  captions.checked = true;
  const how = (act) => () => act(Number(scale.value), captions.checked);
  return element(
    "div",
    { className: "cv-save" },
    labelled("Size", scale, "Relative to the size on the screen"),
    labelled("With captions", captions, "Include the words in the picture"),
    button("Result, PNG", "The large picture", how((size, words) => save("result", size, words))),
    button("All panels, PNG", "The whole arrangement", how((size, words) => save("all", size, words))),
    button("One panel, PNG …", "Click the panel to save; any key cancels", how(awaitPanel)),
  );
}

function save(what, scale, captions) {
  download(compose(areaOf(what), scale, captions, what === "result"), what);
}

function download(picture, name) {
  picture.toBlob((blob) => {
    const link = element("a", { href: URL.createObjectURL(blob), download: `camviz-${name}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  });
}

/** Save the panel that is clicked next; a key cancels. */
function awaitPanel(scale, captions) {
  document.querySelectorAll(".cv-tools details").forEach((sheet) => (sheet.open = false));
  store.awaitPanel((frame) => download(composePanel(frame, scale, captions), "panel"));
  document.addEventListener("keydown", () => store.awaitPanel(null), { once: true });
}

/** One panel, and below it the words that screen readers get. */
function composePanel(frame, scale, captions) {
  const { left, top, right, bottom, width } = frame.getBoundingClientRect();
  const measure = element("canvas").getContext("2d");
  const { fontFamily, color } = getComputedStyle(frame.parentElement);
  measure.font = `12px ${fontFamily}`;
  const lines = captions ? wrapped(measure, frame.querySelector("canvas").ariaLabel, width) : [];
  const below = lines.length ? lines.length * LINE + MARGIN / 2 : 0;
  const [canvas, context] = sheet(left - MARGIN, top - MARGIN, right + MARGIN, bottom + MARGIN + below, scale);
  drawFrame(context, frame, frame.getBoundingClientRect());
  Object.assign(context, { font: measure.font, fillStyle: color, textBaseline: "top" });
  lines.forEach((line, index) => context.fillText(line, left, bottom + MARGIN / 2 + index * LINE));
  return canvas;
}

/** Break a text into lines no wider than `width`, as far as its words allow. */
function wrapped(context, text, width) {
  const lines = [];
  for (const word of text.split(" ")) {
    const longer = lines.length ? `${lines.at(-1)} ${word}` : word;
    if (lines.length && context.measureText(longer).width <= width) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return lines;
}

/** The elements that are drawn. */
function areaOf(what) {
  const viewers = [...store.viewers].map((viewer) => viewer.root);
  if (what === "all") return viewers;
  const results = viewers.flatMap((root) => [...root.querySelectorAll(".cv-result, .cv-outcome")]);
  return results.length ? results : viewers;
}

/** Draw pictures and words where they are on the page. */
function compose(parts, scale, captions, alone) {
  const drawn = parts.flatMap((part) => [...part.querySelectorAll(captions ? `.cv-pic, ${WORDS}` : ".cv-pic")]);
  const boxes = drawn.map((one) => one.getBoundingClientRect());
  const left = Math.min(...boxes.map((b) => b.left)) - MARGIN;
  const right = Math.max(...boxes.map((b) => b.right)) + MARGIN;
  const bottom = Math.max(...boxes.map((b) => b.bottom)) + MARGIN;
  const title = captions ? document.querySelector(".cv-title") : null;
  const top = Math.min(...boxes.map((b) => b.top)) - MARGIN - (title ? 56 : 0);
  const [canvas, context] = sheet(left, top, right, bottom, scale);
  drawn.forEach((one, index) => (one.matches(".cv-pic") ? drawFrame : write)(context, one, boxes[index]));
  if (title) writeTitle(context, title, left + MARGIN, top + MARGIN, right - left - 2 * MARGIN, alone);
  return canvas;
}

/** An empty canvas in the page's colour, with the window's coordinates. */
function sheet(left, top, right, bottom, scale) {
  const canvas = element("canvas", { width: (right - left) * scale, height: (bottom - top) * scale });
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  context.translate(-left, -top);
  context.fillStyle = getComputedStyle(document.querySelector(".stApp") ?? document.body).backgroundColor;
  context.fillRect(left, top, right - left, bottom - top);
  return [canvas, context];
}

/** A panel as shown: the part in view, with its overlays. */
function drawFrame(context, frame, box) {
  const { scale, left, top } = store.zoom;
  context.save();
  context.beginPath();
  context.roundRect(box.left, box.top, box.width, box.height, 6);
  context.clip();
  context.imageSmoothingEnabled = scale < 3;
  for (const layer of frame.querySelectorAll("canvas, img")) {
    if (getComputedStyle(layer).display === "none") continue;
    context.drawImage(
      layer,
      box.left + left * box.width,
      box.top + top * box.height,
      box.width * scale,
      box.height * scale,
    );
  }
  context.restore();
}

function write(context, words, box) {
  const style = getComputedStyle(words);
  context.font = `${style.fontWeight} ${style.fontSize} ${style.fontFamily}`;
  context.fillStyle = style.color;
  context.textBaseline = "middle";
  context.fillText(fitting(context, words.innerText, box.width), box.left, box.top + box.height / 2);
}

/** A text in one line, cut if it is too wide. */
function fitting(context, text, width) {
  const line = text.replace(/\s+/g, " ").trim();
  if (context.measureText(line).width <= width) return line;
  let end = line.length;
  while (end > 0 && context.measureText(`${line.slice(0, end)}…`).width > width) end--;
  return `${line.slice(0, end)}…`;
}

function writeTitle(context, title, left, top, width, alone) {
  const second = title.querySelector("small");
  const style = getComputedStyle(title);
  context.fillStyle = style.color;
  context.textBaseline = "top";
  const heading = [...title.childNodes].filter((node) => node !== second).map((node) => node.textContent).join("");
  context.font = `${style.fontWeight} ${alone ? 14 : 18}px ${style.fontFamily}`;
  context.fillText(fitting(context, heading, width), left, top);
  context.font = `400 ${alone ? 11 : 13}px ${style.fontFamily}`;
  if (second) context.fillText(fitting(context, second.textContent, width), left, top + 26);
}
