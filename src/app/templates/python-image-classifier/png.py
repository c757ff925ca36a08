"""Reads a PNG of 8 bits a channel, not interlaced, with the standard library."""
import struct
import zlib


def read(data):
    """(width, height, rows): a row is a list of (red, green, blue), 0 to 255."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("this is no PNG")
    at, packed, head = 8, b"", None
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        chunk = data[at + 8:at + 8 + size]
        at += 12 + size
        if kind == b"IHDR":
            head = struct.unpack(">IIBBBBB", chunk)
        elif kind == b"IDAT":
            packed += chunk
    width, height, bits, colour, _, _, interlaced = head
    channels = {0: 1, 2: 3, 4: 2, 6: 4}.get(colour)
    if bits != 8 or not channels or interlaced:
        raise ValueError("only PNGs of 8 bits a channel, without a palette and not interlaced, are read")
    return width, height, [pixels(line, channels) for line in lines(zlib.decompress(packed), width * channels, height, channels)]


def lines(data, size, height, channels):
    before = bytearray(size)
    for row in range(height):
        kind, line = data[row * (size + 1)], bytearray(data[row * (size + 1) + 1:(row + 1) * (size + 1)])
        for i in range(size):
            left, up = line[i - channels] if i >= channels else 0, before[i]
            corner = before[i - channels] if i >= channels else 0
            line[i] = (line[i] + (0, left, up, (left + up) // 2, paeth(left, up, corner))[kind]) & 255
        yield line
        before = line


def paeth(left, up, corner):
    guess = left + up - corner
    return min((left, up, corner), key=lambda value: abs(guess - value))


def pixels(line, channels):
    if channels < 3:
        return [(line[i],) * 3 for i in range(0, len(line), channels)]
    return [tuple(line[i:i + 3]) for i in range(0, len(line), channels)]
