"""python3 -m unittest"""
import unittest

import app


class Handler(unittest.TestCase):
    def test_it_greets_by_name(self):
        self.assertEqual(app.handler({"name": "you"}, None), {"message": "Hello, you!"})

    def test_it_greets_the_world(self):
        self.assertEqual(app.handler({}, None), {"message": "Hello, world!"})
