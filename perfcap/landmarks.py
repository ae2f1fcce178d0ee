"""Names for MediaPipe's face mesh indices, so that no other file holds a bare number.

Left and right are the performer's own: the left eye is on the right of a frontal picture.
Rings run clockwise in a frontal picture, from the corner on the picture's left.
"""

from __future__ import annotations

OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)  # fmt: skip

OUTER_LIPS_UPPER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
OUTER_LIPS_LOWER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
INNER_LIPS_UPPER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LIPS_LOWER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
INNER_LIPS = INNER_LIPS_UPPER + INNER_LIPS_LOWER[-2:0:-1]  # closed ring
OUTER_LIPS = OUTER_LIPS_UPPER + OUTER_LIPS_LOWER[-2:0:-1]
LIPS = tuple(dict.fromkeys(OUTER_LIPS + INNER_LIPS))
# Rings of skin around the outer lips, point over point: upper row, then lower row, corners first and last in both.
AROUND_LIPS_UPPER = (57, 186, 92, 165, 167, 164, 393, 391, 322, 410, 287)
AROUND_LIPS_LOWER = (57, 43, 106, 182, 83, 18, 313, 406, 335, 273, 287)
BELOW_LIPS = (212, 202, 204, 194, 201, 200, 421, 418, 424, 422, 432)  # under the lower row

# Each eye's lids from the corner on the picture's left to the one on its right, point over point.
RIGHT_LID_UPPER = (33, 246, 161, 160, 159, 158, 157, 173, 133)
RIGHT_LID_LOWER = (33, 7, 163, 144, 145, 153, 154, 155, 133)
LEFT_LID_UPPER = (362, 398, 384, 385, 386, 387, 388, 466, 263)
LEFT_LID_LOWER = (362, 382, 381, 380, 374, 373, 390, 249, 263)
RIGHT_EYE = RIGHT_LID_UPPER + RIGHT_LID_LOWER[-2:0:-1]  # closed ring
LEFT_EYE = LEFT_LID_UPPER + LEFT_LID_LOWER[-2:0:-1]
RIGHT_IRIS = (468, 469, 470, 471, 472)  # centre, then the rim
LEFT_IRIS = (473, 474, 475, 476, 477)

# The brows' upper and lower edge and the forehead above, column over column from the right brow to the left one.
BROWS_UPPER = (63, 105, 66, 107, 9, 336, 296, 334, 293)
BROWS_LOWER = (53, 52, 65, 55, 8, 285, 295, 282, 283)
FOREHEAD_MIDDLE = (68, 104, 69, 108, 151, 337, 299, 333, 298)
HAIRLINE = (54, 103, 67, 109, 10, 338, 297, 332, 284)

CHIN = 152
FOREHEAD = 10
NOSE_TIP = 1
OUTER_EYES = (33, 263)
