"""Pixels of image files by Pillow, torchvision, timm and pydicom.

    python make_pixels.py OUT_DIR

Writes pixels.safetensors: `file.<name>` has the bytes of a small image file, drawn by the formula in `picture`;
`rgb.<name>.<options>` has its pixels, u8 [size, size, 3], where the options are SIZE.CROP_MODE.CROP_PCT.INTERPOLATION,
and for a window CENTER.WIDTH. JPEG files are made by Pillow's libjpeg-turbo, so another version may give other bytes.
"""

import io
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pydicom
import torch
from PIL import Image, ImageOps
from pydicom.encaps import encapsulate
from pydicom.pixels import apply_modality_lut, apply_voi_lut
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    RLELossless,
)
from safetensors.torch import save_file
from timm.data.transforms_factory import transforms_imagenet_eval

tensors = {}


def picture(width, height, channels=3, top=255):
    """A disc on a gradient with fine stripes, different in each channel."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    disc = (x - 0.4 * width) ** 2 + (y - 0.45 * height) ** 2 < (0.3 * min(width, height)) ** 2
    ground = 0.2 + 0.5 * x / width + 0.2 * y / height - 0.05 * c + 0.04 * ((x + 2 * y) % 3)
    return np.round(top * np.where(disc, 0.95 - 0.2 * c, ground)).astype(np.uint16 if top > 255 else np.uint8)


def encoded(image, **options):
    out = io.BytesIO()
    image.save(out, **options)
    return out.getvalue()


def add(name, data):
    tensors[f"file.{name}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)


def expect(name, image, size=24, mode="squash", pct=1.0, interpolation="bilinear", suffix=""):
    """timm's evaluation transform: black padding, no normalization."""
    transform = transforms_imagenet_eval(
        size, crop_pct=pct, crop_mode=mode, interpolation=interpolation, mean=(0, 0, 0), normalize=False
    )
    pixels = transform(image).permute(1, 2, 0).contiguous()
    assert pixels.dtype == torch.uint8 and pixels.shape == (size, size, 3)
    tensors[f"rgb.{name}.{size}.{mode}.{pct}.{interpolation}{suffix}"] = pixels


def case(name, data):
    """A file that is decoded, turned upright and squashed."""
    add(name, data)
    expect(name, ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, depth, color, lines, *chunks):
    """A PNG that Pillow cannot write."""
    raw = b"".join(b"\0" + line for line in lines)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    rest = b"".join(chunks) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + rest


def shapes():
    for name, (width, height) in {"wide": (61, 40), "tall": (33, 70), "tiny": (5, 3), "long": (150, 7)}.items():
        image = Image.fromarray(picture(width, height))
        add(name, encoded(image, format="PNG"))
        for mode in ("squash", "center", "border"):
            for pct in (1.0, 0.875, 0.6):
                for interpolation in ("bilinear", "bicubic"):
                    expect(name, image, 24, mode, pct, interpolation)


def jpegs():
    image = Image.fromarray(picture(61, 43))
    for name, subsampling in {"444": 0, "422": 1, "420": 2}.items():
        case(f"jpeg_{name}", encoded(image, format="JPEG", quality=90, subsampling=subsampling))
        case(f"jpeg_{name}_coarse", encoded(image, format="JPEG", quality=40, subsampling=subsampling))
    case("jpeg_progressive", encoded(image, format="JPEG", quality=90, progressive=True))
    case("jpeg_gray", encoded(image.convert("L"), format="JPEG", quality=90))
    case("jpeg_rgb", encoded(image, format="JPEG", quality=90, keep_rgb=True))
    cmyk = encoded(Image.fromarray(picture(61, 43, 4), "CMYK"), format="JPEG", quality=95)
    case("jpeg_cmyk", cmyk)
    # The same coefficients read as YCCK: the transform is the last byte of the marker APP14.
    at = cmyk.index(b"Adobe") + 11
    assert cmyk[at] == 0
    case("jpeg_ycck", cmyk[:at] + b"\2" + cmyk[at + 1 :])


def orientations():
    image = Image.fromarray(picture(30, 21))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        case(f"exif_{orientation}", encoded(image, format="JPEG", quality=95, subsampling=0, exif=exif))
    exif[0x0112] = 6
    case("exif_png", encoded(image, format="PNG", exif=exif))


def pngs():
    rgb = Image.fromarray(picture(31, 22))
    case("png_rgba", encoded(Image.fromarray(picture(31, 22, 4)), format="PNG"))
    case("png_gray_alpha", encoded(Image.fromarray(picture(31, 22, 2), "LA"), format="PNG"))
    palette = rgb.quantize(23)
    case("png_palette", encoded(palette, format="PNG"))
    case("png_palette_alpha", encoded(palette, format="PNG", transparency=bytes(range(0, 230, 10))))
    case("png_palette_index", encoded(palette, format="PNG", transparency=3))
    case("png_1_bit", encoded(rgb.convert("1"), format="PNG"))
    case("png_gray_key", encoded(rgb.convert("L"), format="PNG", transparency=120))
    for bits in (2, 4):
        levels = picture(32, 22, 1)[..., 0] >> (8 - bits)
        packed = levels.reshape(22, -1, 8 // bits)
        packed = sum(packed[..., i].astype(int) << (8 - bits * (i + 1)) for i in range(8 // bits)).astype(np.uint8)
        case(f"png_{bits}_bit", png(32, 22, bits, 0, [line.tobytes() for line in packed]))
    # Pillow reads 16-bit gray as numbers up to 65535 and clips them to 255, so the reference is rounding.
    deep = picture(31, 22, 1, 65535)
    add("png_16_bit", png(31, 22, 16, 0, [line.astype(">u2").tobytes() for line in deep]))
    expect("png_16_bit", Image.fromarray(np.round(deep[..., 0] / 257).astype(np.uint8)).convert("RGB"))
    deep = picture(31, 22, 3, 65535)
    case("png_16_bit_rgb", png(31, 22, 16, 2, [line.astype(">u2").tobytes() for line in deep]))


def trimmed():
    """Pillow's own bounding box of what is brighter than 10."""
    pixels = np.zeros((50, 70, 3), np.uint8)
    pixels[:] = 3 + np.arange(70)[:, None] % 8
    pixels[9:41, 14:51] = np.maximum(picture(37, 32), 11)
    image = Image.fromarray(pixels)
    add("fundus", encoded(image, format="PNG"))
    bright = Image.fromarray((pixels.max(2) > 10).astype(np.uint8))
    expect("fundus", image.crop(bright.getbbox()), mode="border", suffix=".trimmed")


def dicom(syntax, stored, photometric="MONOCHROME2", bits=12, signed=False, **attributes):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.file_meta.ImplementationClassUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3.4"
    dataset.ImageType = ["DERIVED", "SECONDARY"]
    item = pydicom.Dataset()
    item.CodeValue = "x"
    dataset.AnatomicRegionSequence = pydicom.Sequence([item])
    dataset["AnatomicRegionSequence"].is_undefined_length = True
    dataset.SamplesPerPixel = 3 if stored.ndim == 3 else 1
    if stored.ndim == 3:
        dataset.PlanarConfiguration = attributes.pop("planar", 0)
    dataset.PhotometricInterpretation = photometric
    dataset.Rows, dataset.Columns = stored.shape[:2]
    dataset.BitsAllocated = 16 if bits > 8 else 8
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits - 1, int(signed)
    for key, value in attributes.items():
        setattr(dataset, key, value)
    planar = stored.ndim == 3 and dataset.PlanarConfiguration == 1
    dataset.PixelData = (stored.transpose(2, 0, 1) if planar else stored).tobytes()
    return dataset


def written(dataset):
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def shown(dataset):
    """Modality and VOI transformation; the window's range, or that of the stored bits, becomes 0 to 255."""
    array = dataset.pixel_array
    if array.ndim == 3:
        return Image.fromarray(array)
    values = apply_voi_lut(apply_modality_lut(array, dataset), dataset).astype(np.float64)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    least = -(2 ** (dataset.BitsStored - 1)) if dataset.PixelRepresentation else 0
    low, high = sorted(slope * v + intercept for v in (least, least + 2**dataset.BitsStored - 1))
    levels = np.clip((values - low) / (high - low), 0, 1)
    if dataset.PhotometricInterpretation == "MONOCHROME1":
        levels = 1 - levels
    return Image.fromarray(np.floor(255 * levels + 0.5).astype(np.uint8)).convert("RGB")


def lossless(samples):
    """Lossless JPEG of 16-bit samples: each predicted from its left neighbor (ITU-T T.81, annex H)."""
    height, width = samples.shape
    bits = ""
    for y in range(height):
        for x in range(width):
            left = samples[y, x - 1] if x else samples[y - 1, 0] if y else 1 << 15
            difference = (int(samples[y, x]) - int(left) + 32767) % 65536 - 32767
            size = abs(difference).bit_length()
            # Every size has a code of five bits, its own number.
            bits += f"{size:05b}"
            if 0 < size < 16:
                bits += f"{difference if difference > 0 else difference + (1 << size) - 1:0{size}b}"
    bits += "1" * (-len(bits) % 8)
    data = bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")

    def segment(marker, body):
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    frame = segment(0xC3, struct.pack(">BHHB", 16, height, width, 1) + bytes([1, 0x11, 0]))
    table = segment(0xC4, bytes([0] + [0] * 4 + [17] + [0] * 11 + list(range(17))))
    scan = segment(0xDA, bytes([1, 1, 0, 1, 0, 0]))
    return b"\xff\xd8" + frame + table + scan + data + b"\xff\xd9"


def compressed(dataset, syntax, data):
    dataset.PixelData = encapsulate([data])
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = syntax


def dicoms():
    gray = picture(34, 28, 1)[..., 0].astype(np.int32)
    hounsfield = (gray * 8 - 1000).astype(np.int16)
    chest = dict(WindowCenter=[40, -600], WindowWidth=[400, 1500], RescaleSlope="2", RescaleIntercept="-24")
    cases = {
        "ct": dicom(ExplicitVRLittleEndian, hounsfield, bits=16, signed=True, **chest),
        "ct_implicit": dicom(ImplicitVRLittleEndian, hounsfield, bits=12, signed=True, **chest),
        "ct_exact": dicom(ExplicitVRLittleEndian, hounsfield, bits=16, signed=True, VOILUTFunction="LINEAR_EXACT", **chest),
        "ct_sigmoid": dicom(ExplicitVRLittleEndian, hounsfield, bits=16, signed=True, VOILUTFunction="SIGMOID", **chest),
        "ct_narrow": dicom(ExplicitVRLittleEndian, hounsfield, bits=16, signed=True, WindowCenter="1.5", WindowWidth="1"),
        "xray": dicom(ExplicitVRLittleEndian, (gray * 16).astype(np.uint16), "MONOCHROME1"),
        "plain": dicom(ExplicitVRLittleEndian, gray.astype(np.uint8), bits=8),
        "rgb": dicom(ExplicitVRLittleEndian, picture(34, 28), "RGB", bits=8),
        "rgb_planar": dicom(ExplicitVRLittleEndian, picture(34, 28), "RGB", bits=8, planar=1),
        "rle": dicom(ExplicitVRLittleEndian, (gray * 16).astype(np.uint16)),
        "rle_rgb": dicom(ExplicitVRLittleEndian, picture(34, 28), "RGB", bits=8),
        "jpeg": dicom(ExplicitVRLittleEndian, gray.astype(np.uint8), bits=8, WindowCenter="100", WindowWidth="180"),
    }
    for name in ("rle", "rle_rgb"):
        cases[name].compress(RLELossless)
    jpeg = encoded(Image.fromarray(gray.astype(np.uint8)), format="JPEG", quality=95)
    compressed(cases["jpeg"], JPEGBaseline8Bit, jpeg)
    for name, dataset in cases.items():
        add(f"dicom_{name}", written(dataset))
        expect(f"dicom_{name}", shown(pydicom.dcmread(io.BytesIO(written(dataset)))))
    # Pillow does not decode lossless JPEG: the reference is the same image without compression.
    same = cases["ct_implicit"]
    values = np.asarray(hounsfield).astype(np.uint16)
    expect("dicom_lossless", shown(same))
    compressed(same, JPEGLosslessSV1, lossless(values))
    add("dicom_lossless", written(same))
    other = cases["ct"]
    other.WindowCenter, other.WindowWidth = -600, 1500
    expect("dicom_ct", shown(other), suffix=".-600.1500")


if __name__ == "__main__":
    for make in (shapes, jpegs, orientations, pngs, trimmed, dicoms):
        make()
    save_file(tensors, Path(sys.argv[1]) / "pixels.safetensors")
