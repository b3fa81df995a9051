"""TID2013: 25 scenes, 24 distortions of 5 levels.

Paper: Ponomarenko et al., Signal Processing: Image Communication 30, 2015.
Layout: ``mos_with_names.txt``, ``distorted_images/`` and ``reference_images/``, with names in any case.
Score: the MOS, 0..9, divided by 9; it counts comparisons within a scene, so scores of two scenes are not on one scale.
No spread: mos_std.txt is the deviation of the mean. Subset: the distortion type, one of `TYPES`.
Split: none official; scenes are drawn 70/10/20 by a hash.
Terms: education and research only, unmodified.
"""

from pathlib import Path

from drmetric.data.label_files import SetFolder, name_parts, number, read_words
from drmetric.data.rated import Rated, RatedImage, RatedSet
from drmetric.data.splits import drawn_split

TYPES = (
    "additive_gaussian_noise",
    "chroma_noise",
    "spatially_correlated_noise",
    "masked_noise",
    "high_frequency_noise",
    "impulse_noise",
    "quantization_noise",
    "gaussian_blur",
    "image_denoising",
    "jpeg",
    "jpeg2000",
    "jpeg_transmission_errors",
    "jpeg2000_transmission_errors",
    "non_eccentricity_pattern_noise",
    "local_block_distortions",
    "mean_shift",
    "contrast_change",
    "saturation_change",
    "multiplicative_gaussian_noise",
    "comfort_noise",
    "lossy_compression_of_noisy_images",
    "color_quantization_with_dither",
    "chromatic_aberrations",
    "sparse_sampling_and_reconstruction",
)
"""Names of the distortion types 1 to 24."""


def read(root: Path) -> Rated:
    """The distorted images with their pristine ones."""
    folder = SetFolder(root)
    path = folder.labels("mos_with_names.txt")
    for row in read_words(path, ("MOS", "name")):
        scene, distortion = name_parts(row["name"], r"(I\d\d)_(\d\d)_\d\.bmp", path)
        rated = RatedImage(
            image=folder.image(f"distorted_images/{row['name']}"),
            score=number(row, "MOS", path) / 9,
            content=scene.upper(),
            reference=folder.image(f"reference_images/{scene.upper()}.BMP"),
            subset=TYPES[int(distortion) - 1],
        )
        yield rated, drawn_split("tid2013", rated.content)


SET = RatedSet(read)
