"""python3 -m unittest"""
import base64
import json
import unittest
from pathlib import Path

import app
import png

IMAGE = base64.b64decode(json.loads((Path(__file__).parent / "event.json").read_text())["image"])


class Image(unittest.TestCase):
    def test_a_png_is_read(self):
        width, height, rows = png.read(IMAGE)
        self.assertEqual((width, height, len(rows), len(rows[0])), (4, 4, 4, 4))
        self.assertEqual(rows[0][0], (20, 40, 230))

    def test_it_is_shaped_for_the_model(self):
        numbers = app.shape_input(IMAGE, 8, 8)
        self.assertEqual(len(numbers), 3 * 8 * 8)
        self.assertAlmostEqual(numbers[0], 20 / 255)
        self.assertAlmostEqual(numbers[-1], 230 / 255)
