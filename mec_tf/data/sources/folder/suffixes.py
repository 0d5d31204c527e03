"""Suffixes of file names.

They decide only which files are not opened at all, and what a file that holds
no readable image is called in messages.
"""

import os

# Read, where the content agrees.
READ = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp")
)

# Images that are not read, under the format's name.
NOT_READ = {
    suffix: name
    for name, suffixes in {
        "TIFF": ".tif .tiff",
        "HEIC": ".heic .heif",
        "AVIF": ".avif",
        "JPEG XL": ".jxl",
        "JPEG 2000": ".jp2 .j2k .jpf .jpx .jpc .j2c",
        "PNM": ".ppm .pgm .pbm .pnm .pam .pfm",
        "TGA": ".tga .targa",
        "PCX": ".pcx",
        "Photoshop": ".psd",
        "OpenEXR": ".exr",
        "SVG": ".svg",
        "DDS": ".dds",
        "QOI": ".qoi",
        "DICOM": ".dcm",
        "camera raw": ".dng .nef .cr2 .cr3 .arw .orf .rw2 .raf",
    }.items()
    for suffix in suffixes.split()
}

IMAGES = READ | NOT_READ.keys()

# Texts and tables that lie beside images. They are counted, never opened: there
# may be one for each image.
TEXTS = frozenset(
    suffix
    for suffixes in (
        ".txt .md .rst .pdf .doc .docx .tex .bib .html .htm .css",
        ".csv .tsv .xls .xlsx .json .jsonl .ndjson .xml .yaml .yml .toml",
        ".ini .cfg .conf .log .bak .names .lst .md5 .sha256 .xmp .aae",
        ".py .ipynb .sh .m .r .js",
    )
    for suffix in suffixes.split()
)


def of(name):
    """The suffix in small letters with its dot; empty where there is none."""
    return os.path.splitext(name)[1].lower()
