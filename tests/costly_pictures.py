"""Files that take long to decode: as far as one can see at their start, each is a picture in an ordinary format."""

import math
import struct
import zlib

import numpy as np

MEGABYTE = 10**6


def jpeg_of_many_scans(scans: int = 400, side: int = 6000) -> bytes:
    """A grey progressive JPEG; each scan goes over all blocks again, though its runs of empty blocks take few bytes."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    def table(number: int, code_lengths: list[int], values: bytes) -> bytes:
        return segment(0xC4, bytes([number, *code_lengths]) + values)

    blocks = math.ceil(side / 8) ** 2
    start = segment(0xDB, bytes([0]) + bytes([1] * 64))
    start += segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    one_code = [1, *[0] * 15]  # the code 0, of one bit
    # No change of brightness; a run of at least 2^14 blocks.
    start += table(0x00, one_code, b"\0") + table(0x10, one_code, b"\xe0")
    first = segment(0xDA, b"\1\1\0\0\0\0") + bytes(blocks // 8 + 1)
    run = "0" + "1" * 14  # of 32,767 empty blocks
    bits = run * (blocks // 32767 + 1)
    bits += "1" * (-len(bits) % 8)
    stuffed = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    empty = segment(0xDA, b"\1\1\0\1\x3f\0") + stuffed
    return b"\xff\xd8" + start + first + empty * (scans - 1) + b"\xff\xd9"


def jpeg_before_the_picture(filler: bytes, length: int) -> bytes:
    """A JPEG that begins with so many bytes of something that means nothing."""
    picture = jpeg_of_many_scans(1, 16)
    return picture[:2] + filler * (length // len(filler)) + picture[2:]


def jpeg_of_comments(length: int = 44 * MEGABYTE) -> bytes:
    return jpeg_before_the_picture(b"\xff\xfe\0\2", length)


def jpeg_of_padding(length: int = 49 * MEGABYTE) -> bytes:
    return jpeg_before_the_picture(b"\xff", length)


def tiff_of_strips(strips: int = 2_500_000) -> bytes:
    """A grey TIFF of one column, each pixel in a strip of its own."""
    head = 8 + strips
    offsets, counts = np.arange(8, head, dtype="<u4"), np.ones(strips, "<u4")
    entries = [(256, 1), (257, strips), (258, 8), (259, 1), (262, 1), (273, None), (277, 1), (278, 1), (279, None)]
    directory = head + 8 * strips
    body = struct.pack("<H", len(entries))
    for tag, value in entries:
        place = {273: head, 279: head + 4 * strips}.get(tag, value)
        body += struct.pack("<HHII", tag, 4, strips if value is None else 1, place)
    tables = offsets.tobytes() + counts.tobytes()
    return b"II*\0" + struct.pack("<I", directory) + bytes(strips) + tables + body + bytes(4)


def png_of_chunks(chunks: int = 3_500_000) -> bytes:
    """A PNG of one pixel with so many empty chunks of a type that no reader knows."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    return start + chunk(b"abCd", b"") * chunks + chunk(b"IDAT", zlib.compress(b"\0\0")) + chunk(b"IEND", b"")


def bmp_of_runs(pixels: int = 20_000_000) -> bytes:
    """A BMP with run-length encoding whose runs are one pixel long."""
    width, colours = 5000, bytes(1024)
    height = pixels // width
    body = (b"\1\0" * width + b"\0\0") * height + b"\0\1"
    offset = 14 + 40 + len(colours)
    facts = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 1, len(body), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + facts + colours + body
