"""Makes bilevel_stored.safetensors: lobit's stored grid, packed layout and packed product, worked out apart from the
TypeScript, one number at a time in numpy's f32. Needs numpy; run from anywhere, writes beside itself."""

import json
import math
import pathlib
import struct

import numpy as np

f32 = np.float32
here = pathlib.Path(__file__).parent
tensors, cases = {}, {}


def read(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    info = json.loads(header.pop("__metadata__")["cases"])
    out = {}
    for name, entry in header.items():
        first, last = (8 + size + at for at in entry["data_offsets"])
        kind = {"F32": np.float32, "U8": np.uint8}[entry["dtype"]]
        out[name] = np.frombuffer(data[first:last], kind).reshape(entry["shape"])
    return out, info


def write(path):
    kinds = {"float32": "F32", "uint8": "U8", "int8": "I8", "int32": "I32"}
    order = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header, at = {"__metadata__": {"cases": json.dumps(cases)}}, 0
    for name in order:
        value = tensors[name]
        header[name] = {"dtype": kinds[value.dtype.name], "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[name].tobytes() for name in order))


def clamp(value, top):
    return int(min(max(np.rint(value), 0), top))


def stored_grid(w, bits, group, second_group, low=None, high=None):
    """Units per panel, base, step, scale codes, integer scales, zero codes, codes, dequantized."""
    rows, columns = w.shape
    groups, top = columns // group, 2**bits - 1
    raw = np.zeros((rows, groups), f32)
    zero = np.zeros((rows, groups), np.uint8)
    for r in range(rows):
        for g in range(groups):
            part = w[r, g * group : (g + 1) * group]
            a = min(f32(0), part.min() if low is None else low[r, g])
            b = max(f32(0), part.max() if high is None else high[r, g])
            raw[r, g] = max(f32(b - a) / f32(top), f32(2.0**-100))
            zero[r, g] = clamp(-a / raw[r, g], top)
    span = math.lcm(second_group, 8)
    units = np.zeros(-(-rows // 8), f32)
    for panel in range(len(units)):
        first = panel * 8 // span * span
        units[panel] = raw[first : first + span].max() / f32(16375)
    bands = rows // second_group
    base, step = np.zeros((bands, groups), np.int16), np.zeros((bands, groups), np.int16)
    scale_codes, m = np.zeros((rows, groups), np.uint8), np.zeros((rows, groups), np.int16)
    for r in range(rows):
        for g in range(groups):
            band = r // second_group
            u = units[r // 8]
            column = raw[band * second_group : (band + 1) * second_group, g]
            base[band, g] = max(1, int(np.rint(column.min() / u)))
            step[band, g] = int(np.rint(f32(column.max() - column.min()) / f32(f32(15) * u)))
            if step[band, g] > 0:
                above = f32(f32(raw[r, g] / u) - f32(base[band, g]))
                scale_codes[r, g] = clamp(above / f32(step[band, g]), 15)
            m[r, g] = int(base[band, g]) + int(scale_codes[r, g]) * int(step[band, g])
    codes, out = np.zeros((rows, columns), np.uint8), np.zeros((rows, columns), f32)
    with np.errstate(over="ignore"):
        for r in range(rows):
            for c in range(columns):
                s = units[r // 8] * f32(m[r, c // group])
                z = int(zero[r, c // group])
                codes[r, c] = clamp(f32(w[r, c] / s) + f32(z), top)
                out[r, c] = s * f32(int(codes[r, c]) - z)
    return dict(units=units, base=base, step=step, scale_codes=scale_codes, scales=m, zero_codes=zero, codes=codes, dequantized=out)


def keep(name, values):
    for key, value in values.items():
        value = np.ascontiguousarray(value)
        tensors[f"{name}.{key}"] = value.astype(np.int32) if value.dtype == np.int16 else value


def up(n, to):
    return -(-n // to) * to


def packed(kind, bits, group, second_group, rows, columns, p):
    """The blob, by the description of the layout: padding decodes to zero."""
    panels, wide = up(rows, 8) // 8, up(columns, 64)
    whole = up(group, 64 if bits == 8 else 16)
    stored_groups, groups = -(-wide // whole), columns // group
    banded = kind == "bilevel" and second_group % 8 == 0
    regions = [p["units"].astype("<f4").tobytes()]
    pad = lambda a, n: np.pad(a.astype(np.int64), ((0, panels * 8 - a.shape[0]), (0, n - a.shape[1])))
    if banded:
        pairs = np.zeros((rows // second_group, stored_groups, 2), "<i2")
        pairs[:, :groups, 0], pairs[:, :groups, 1] = p["base"], p["step"]
        regions.append(pairs.tobytes())

    def lanes(values, width):
        per = 16 // width
        values = pad(values, up(stored_groups, per))
        out = b""
        for panel in range(panels):
            for vector in range(values.shape[1] // per):
                for r in range(8):
                    word = sum(int(values[panel * 8 + r, vector * per + i]) << (width * i) for i in range(per))
                    out += struct.pack("<H", word)
        return out

    if banded:
        regions.append(lanes(p["scale_codes"], 4))
    else:
        m = pad(p["scales"], stored_groups)
        regions.append(b"".join(m[8 * n : 8 * n + 8, g].astype("<i2").tobytes() for n in range(panels) for g in range(stored_groups)))
    middle = 0
    if kind == "bilevel":
        regions.append(lanes(p["zero_codes"], 2 if bits == 2 else 4))
    else:
        middle = 2 ** (bits - 1)
    q = np.full((panels * 8, wide), middle, np.int64)
    if kind == "bilevel":
        for r in range(rows):
            for c in range(wide):
                if c // whole < groups:
                    q[r, c] = p["zero_codes"][r, c // whole]
    q[:rows, :columns] = p["codes"]
    stream = bytearray()
    for panel in range(panels):
        for pair in range(wide // 32):
            block = q[8 * panel : 8 * panel + 8, 32 * pair : 32 * pair + 32]
            # Byte i of quad and word: two columns of the first slab, then two of the second.
            code = lambda quad, word, i: int(block[4 * quad + i // 4, 16 * (i % 4 // 2) + 2 * word + i % 2])
            per, parts = (4, 1) if bits in (2, 3) else (2, bits // 4)
            width = 8 // per
            for part in range(parts):
                for quad in range(2):
                    for vector in range(8 // per):
                        for i in range(16):
                            pieces = (code(quad, per * vector + n, i) >> (width * part) & (2**width - 1) for n in range(per))
                            stream.append(sum(piece << (width * n) for n, piece in enumerate(pieces)))
            if bits == 3:
                for quad in range(2):
                    for i in range(16):
                        stream.append(sum((code(quad, word, i) >> 2) << word for word in range(8)))
    regions.append(bytes(stream))
    blob = b"".join(part + b"\0" * (-len(part) % 64) for part in regions)
    return np.frombuffer(blob, np.uint8)


def product(bits, group, p, a, a_scales, bias, rows, columns):
    tokens, wide = a.shape
    y = np.zeros((tokens, rows), f32)
    for t in range(tokens):
        for r in range(rows):
            total = f32(0)
            for chunk in range(wide // 64):
                acc, m = 0, 1
                for c in range(64 * chunk, min(columns, 64 * chunk + 64)):
                    z = int(p["zero_codes"][r, c // group]) if "zero_codes" in p else 2 ** (bits - 1)
                    m = int(p["scales"][r, c // group])
                    acc += int(a[t, c]) * (int(p["codes"][r, c]) - z) * (1 if bits == 8 else m)
                part = f32(acc) if bits < 8 else f32(acc) * f32(m)
                total = total + part * a_scales[t, chunk]
            y[t, r] = total * p["units"][r // 8] + bias[r]
    return y


released, info = read(here / "bilevel.safetensors")
for name, case in info.items():
    keep(name, stored_grid(released[name + ".weight"], case["bits"], case["group"], case["second_group"]))
    cases[name] = {**case, "weight": "bilevel.safetensors"}

random = np.random.default_rng(20260305)


def special(name, w, bits, group, second_group, low=None, high=None):
    w = np.ascontiguousarray(w, f32)
    keep(name, {"weight": w, **stored_grid(w, bits, group, second_group, low, high)})
    if low is not None:
        keep(name, {"low": low, "high": high})
    cases[name] = dict(bits=bits, group=group, second_group=second_group, rows=w.shape[0], cols=w.shape[1])


w = random.normal(0, 0.02, (48, 64)).astype(f32)
w[0, :16] = 0.25  # constant groups: positive, negative, zero, minus zero
w[1, :16] = -0.25
w[2, :16] = 0
w[3, :16] = -0.0
w[4, 5] = 1e30  # one outlier spoils its band only
w[16:32] = 0  # an all-zero band
w[32:48, 16:] = 1e-42  # denormals beside ordinary weights
special("extremes2", w, 2, 16, 16)
special("extremes3", w, 3, 32, 8)
special("extremes4", w, 4, 16, 48)
special("denormal", np.full((8, 32), -1e-41), 2, 16, 8)
special("odd_band", random.normal(0, 1, (36, 96)), 3, 48, 12)
special("lone_rows", random.normal(0, 1, (5, 40)), 4, 8, 1)
w = random.normal(0, 1, (32, 64)).astype(f32)
parts = w.reshape(32, 4, 16)
special("clipped", w, 2, 16, 16, (parts.min(2) * f32(0.7)), (parts.max(2) * f32(0.85)))

for kind, bits, group, second_group, rows, columns in [
    ("bilevel", 2, 16, 16, 32, 144),
    ("bilevel", 2, 32, 8, 16, 320),
    ("bilevel", 3, 16, 16, 16, 80),
    ("bilevel", 3, 48, 12, 36, 96),
    ("bilevel", 4, 32, 24, 48, 160),
    ("bilevel", 4, 40, 5, 10, 40),
    ("symmetric", 4, 32, 0, 11, 96),
    ("symmetric", 8, 128, 0, 9, 256),
    ("symmetric", 8, 72, 0, 8, 72),
]:
    name = f"packed.{kind}.{bits}.{group}"
    if kind == "bilevel":
        p = stored_grid(random.normal(0, 0.05, (rows, columns)).astype(f32), bits, group, second_group)
        del p["dequantized"]
    else:
        shape = (rows, columns // group)
        p = dict(units=(random.random(up(rows, 8) // 8) * 1e-5).astype(f32), scales=random.integers(1, 16384, shape).astype(np.int16))
    p["codes"] = random.integers(0, 2**bits, (rows, columns)).astype(np.uint8)
    a = np.zeros((3, up(columns, 64)), np.int8)
    a[:, :columns] = random.integers(-127, 128, (3, columns))
    a_scales = (random.random((3, a.shape[1] // 64)) * 0.1).astype(f32)
    bias = random.normal(0, 1, rows).astype(f32)
    y = product(bits, group, p, a, a_scales, bias, rows, columns)
    blob = packed(kind, bits, group, second_group, rows, columns, p)
    keep(name, {**p, "blob": blob, "activations": a, "activation_scales": a_scales, "bias": bias, "product": y})
    cases[name] = dict(kind=kind, bits=bits, group=group, second_group=second_group, rows=rows, cols=columns)

write(here / "bilevel_stored.safetensors")
