"""Pictures are read in another process: what it gives, what it refuses, and that nothing keeps it busy for long."""

import io
import subprocess
import sys
from functools import partial

import numpy as np
import psutil
import pytest
from costly_pictures import (
    bmp_of_runs,
    jpeg_of_comments,
    jpeg_of_many_scans,
    jpeg_of_padding,
    png_of_chunks,
    tiff_of_strips,
)
from pictures import png
from PIL import ExifTags, Image

from camviz import decoding, images
from camviz.decoding import DirectReader, GuardedReader
from camviz.images import TOO_MUCH_WORK, ImageError, load_image
from camviz.samples import SAMPLES
from camviz.ui.server.sharing import SharedHost
from camviz.workbench.pictures import forget, read_picture

PHOTO = SAMPLES["Rocket"].path.read_bytes()
COSTLY = {
    "TIFF of many strips": partial(tiff_of_strips, 500_000),
    "PNG of many chunks": partial(png_of_chunks, 500_000),
    "JPEG of many comments": partial(jpeg_of_comments, 8_000_000),
    "JPEG of padding": partial(jpeg_of_padding, 8_000_000),
    "BMP of many runs": partial(bmp_of_runs, 3_000_000),
}


@pytest.fixture(scope="module")
def guarded():
    return GuardedReader()


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(decoding, "SECONDS", 0.2)


def processor_seconds():
    """What this process's children have taken, those that have ended included."""
    times = psutil.Process().cpu_times()
    running = sum(sum(child.cpu_times()[:2]) for child in psutil.Process().children())
    return times.children_user + times.children_system + running


@pytest.mark.parametrize("fit", ["crop", "squeeze", "pad"])
def test_a_view_is_that_of_the_library(guarded, fit):
    pixels = load_image(PHOTO)
    view = guarded.view(PHOTO, 224, 256, fit, Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(view, images.fit_view(pixels, 224, 256, fit, Image.Resampling.BICUBIC))
    np.testing.assert_array_equal(guarded.pixels(PHOTO), pixels)
    assert guarded.size(PHOTO) == pixels.shape[:2]
    view[0, 0] = 0  # it can be written to


@pytest.mark.parametrize("data", [b"", b"rubbish", PHOTO[: len(PHOTO) // 2], b"\0\0\0\x18ftypheic"])
def test_a_refusal_is_that_of_the_library(guarded, data):
    with pytest.raises(ImageError) as expected:
        load_image(data)
    for reader in (guarded, DirectReader()):
        with pytest.raises(ImageError) as refused:
            reader.size(data)
        assert str(refused.value) == str(expected.value)


def test_a_limit_holds_for_a_picture_that_is_kept(guarded):
    for reader in (guarded, DirectReader()):
        assert reader.size(PHOTO) == (427, 640)
        with pytest.raises(ImageError, match=r"640 x 427 pixels .* but the limit is 0\.1 megapixels"):
            reader.pixels(PHOTO, 100_000)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("name", COSTLY)
def test_what_takes_long_is_broken_off(guarded, name):
    data = COSTLY[name]()
    guarded.forget()  # it runs
    before = processor_seconds()
    with pytest.raises(ImageError) as refused:
        guarded.size(data)
    assert str(refused.value) == TOO_MUCH_WORK
    assert processor_seconds() - before < 0.2 + 0.3
    assert guarded.size(PHOTO) == (427, 640), "the next picture is read by a new process"


def test_a_progressive_jpeg_of_many_scans(guarded):
    assert guarded.size(jpeg_of_many_scans(100, 64)) == (64, 64)
    for reader in (guarded, DirectReader()):
        with pytest.raises(ImageError) as refused:
            reader.size(jpeg_of_many_scans(400))
        assert str(refused.value) == TOO_MUCH_WORK


def test_what_takes_much_memory_is_broken_off(guarded, monkeypatch):
    large = png(np.zeros((4000, 5000, 3), np.uint8))
    assert guarded.size(large) == (4000, 5000)
    monkeypatch.setattr(decoding, "MEGABYTES", 60)
    guarded.forget()
    with pytest.raises(ImageError) as refused:
        guarded.size(large + b"\0")  # another file
    assert str(refused.value) == TOO_MUCH_WORK


def test_a_decoder_that_dies_is_not_the_end(guarded):
    guarded.forget()
    guarded._process.kill()
    guarded._process.wait()
    assert guarded.size(PHOTO) == (427, 640)
    process, sent = guarded._process, decoding._send

    def dying(stream, *message):
        process.kill()
        process.wait()
        sent(stream, *message)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoding, "_send", dying)
        with pytest.raises(ImageError, match="made the decoder fail"):
            guarded.size(PHOTO)
    assert guarded.size(PHOTO) == (427, 640)


def test_the_process_ends_with_its_reader():
    reader = GuardedReader()
    reader.forget()
    process = reader._process
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=20) == 0


def test_the_process_needs_no_torch():
    code = "import camviz.decoding, sys; print({'torch', 'scipy', 'matplotlib'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_a_file_is_decoded_once_to_be_refused_and_twice_to_be_shown(monkeypatch):
    asked = []
    ask = GuardedReader._ask

    def counting(self, data, question, *details):
        asked.append(question)
        return ask(self, data, question, *details)

    monkeypatch.setattr(GuardedReader, "_ask", counting)
    host = SharedHost()
    for _ in range(3):
        with pytest.raises(ImageError, match="unsupported format"):
            read_picture(host, b"rubbish", "a.png")
    assert asked == ["size"]
    picture = read_picture(host, PHOTO, "b.jpg")
    assert read_picture(host, PHOTO, "c.jpg").id == picture.id
    assert asked == ["size", "size"]
    forget(host, picture.id)
    assert asked == ["size", "size", "forget"]


@pytest.mark.parametrize("kind", [{"format": "JPEG"}, {"format": "JPEG", "progressive": True}, {"format": "BMP"}])
def test_a_picture_of_forty_megapixels(guarded, kind):
    assert guarded.size(forty_megapixels(**kind)) == (5190, 7700)


def test_a_turned_picture_of_forty_megapixels(guarded):
    """WebP's decoder takes the most memory: the picture is turned once that is free."""
    turned = Image.Exif()
    turned[ExifTags.Base.Orientation] = 6
    data = forty_megapixels(67, format="WEBP", lossless=True, exif=turned)
    assert guarded.size(data) == (7700, 5190)


def test_a_large_webp_picture(guarded):
    """Of 40 megapixels and 48 MB, nearly as large as an upload can be."""
    data = forty_megapixels(170, format="WEBP", lossless=True, quality=0, method=0)
    assert 45e6 < len(data) < 50e6
    assert guarded.size(data) == (5190, 7700)


def test_a_photograph_with_a_film_behind_it(guarded):
    """As some phones append it: bytes that begin a scan stand in it by chance."""
    film = np.random.default_rng(0).integers(0, 256, 12_000_000, dtype=np.uint8).tobytes()
    assert film.count(b"\xff\xda") > 150
    assert guarded.size(PHOTO + film) == guarded.size(PHOTO)


def forty_megapixels(detail=519, **options):
    """An encoded picture of so many rows of random colours, enlarged."""
    rows = np.random.default_rng(0).integers(0, 256, (detail, int(1.483 * detail), 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(rows).resize((7700, 5190)).save(stream, **options)
    return stream.getvalue()
