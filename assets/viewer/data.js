// The server's messages: the header's length, the header (JSON), the picture, the maps; each part starts at a multiple of 4.

/** The header alone. */
function headerOf(bytes) {
  const length = new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true);
  return JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
}

/** @returns {{header: object, image: {width, height, rgb, grey}, maps: Float32Array[]}} */
function unpack(bytes) {
  const buffer = bytes.slice().buffer; // a copy starts at 0, as typed arrays require
  const header = headerOf(bytes);
  const { width, height } = header;
  let offset = bodyOf(bytes);
  const rgb = new Uint8Array(buffer, offset, width * height * 3);
  offset = padded(offset + rgb.length);
  const maps = [];
  for (let index = 0; index < header.maps; index++) {
    maps.push(new Float32Array(buffer, offset, width * height));
    offset += width * height * 4;
  }
  return { header, image: { width, height, rgb, grey: greyOf(rgb) }, maps };
}

/** The offset of the parts after the header. */
function bodyOf(bytes) {
  return padded(4 + new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true));
}

function padded(offset) {
  return (offset + 3) & ~3;
}

/** Luma by ITU-R BT.601. */
function greyOf(rgb) {
  const grey = new Float32Array(rgb.length / 3);
  for (let i = 0, j = 0; i < grey.length; i++, j += 3) {
    grey[i] = 0.299 * rgb[j] + 0.587 * rgb[j + 1] + 0.114 * rgb[j + 2];
  }
  return grey;
}
