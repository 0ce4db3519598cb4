"""Bodies of the hex style are written as JavaScript's own JSON.stringify(JSON.parse(body)) writes them: held
against Node.js, byte for byte. No server takes part."""
import os
import random
import shutil
import struct
import subprocess

from support.process import binary

NODE_PROGRAM = """
const lines = require("fs").readFileSync(0, "utf8").split("\\n");
lines.pop();
for (let i = 0; i < lines.length; i++) {
    try {
        lines[i] = JSON.stringify(JSON.parse(lines[i]));
    } catch (error) {
        lines[i] = "invalid";
    }
}
process.stdout.write(lines.join("\\n") + "\\n");
"""

AWKWARD = [
    # Names: which count as array indexes, and what their order is.
    '{"b":1,"4294967293":2,"4294967294":3,"4294967295":4,"4294967296":5,"a":6,"1":7,"0":8}',
    '{"9007199254740991":1,"9007199254740992":2,"2":3,"10":4,"1":5}',
    '{"01":1,"-1":2,"1.0":3,"1e3":4,"":5," 1":6,"1 ":7,"00":8,"-0":9,"+1":10,"1":11}',
    '{"\\u0031":1,"a":2,"\\u0030":3}',
    '{"2147483647":1,"2147483648":2,"1073741824":3,"z":4,"1073741823":5}',
    '{"__proto__":1,"constructor":2,"toString":3,"__proto__":{"a":1}}',
    '{"__proto__":null,"a":{"__proto__":[1]},"hasOwnProperty":1}',
    '{"toJSON":1,"length":2,"valueOf":3}',
    # Duplicates.
    '{"a":1,"b":2,"a":3}',
    '{"a":1,"\\u0061":2,"b":3,"a":{"c":[]}}',
    '{"5":1,"a":2,"5":3,"4":4}',
    '{"x":{"a":1,"a":2},"y":0,"x":{"b":1,"b":[{"c":1,"c":2}]}}',
    '{"\\ud800":1,"\\uD800":2,"\\ufffd":3,"\ufffd":4}',
    '{"\\/":1,"/":2,"\\u002f":3}',
    '{"":1,"":2}',
    # Numbers.
    "-0", "-0.0", "-0e10", "0e0", "[-0]", "1e400", "-1e400", "1E+2", "1E-2", "1e2", "5e-324", "4.9e-324", "2.4e-324",
    "2.5e-324", "1e-400", "1.7976931348623157e308", "1.7976931348623159e308", "179769313486231580793e289",
    "123456789012345680000", "123456789012345678901234567890", "1e20", "1e21", "1e22", "999999999999999900000",
    "999999999999999999999", "1000000000000000000000", "0.1", "0.30000000000000004", "0.000001", "0.0000001",
    "1.0E-6", "9.99e-7", "0.00000123", "1.5", "1.50", "5.0", "100.00", "9007199254740991", "9007199254740992",
    "9007199254740993", "9223372036854775807", "18446744073709551616", "2.2250738585072014e-308",
    "2.2250738585072011e-308", "4.4501477170144023e-308", "5.684341886080802e-14", "7.1202363472230444e-307",
    "1462216307945", "1.0000000000000002", "4.35", "8.41e21", "2.0919495182368195e19", "1" + "0" * 400,
    "0." + "0" * 400 + "1", "1" * 309, "1" * 308, "0." + "123456789" * 40, "1e00000000000000000000000001",
    # Strings.
    '"\\b\\f\\n\\r\\t\\"\\\\\\/"', '"\\u0000\\u0001\\u0007\\u0008\\u0009\\u000a\\u000B\\u000c\\u000d\\u001F\\u0020"',
    '"\u2028\u2029\\u2028\\u2029"', '"\x7f\x80\x9f\\u007f\\u0080\\u009f"', '"</script>\\u003c&\'"', '"/"',
    '"é\\u00e9\\u00E9"',
    '"\U0001f600\\ud83d\\ude00\\uD83D\\uDE00"', '"\\ud800"', '"\\udc00"', '"\\ud800\\ud800\\udc00\\udc00"',
    '"\\udbff\\udfff\\ud800\\udc00"', '"\\ud83dx\\ude00"', '"\\ud83d\\n\\ude00"', '"\\ud83d\\\\ude00"',
    '"\\uFFFF\\ufffe\\uFEFF"',
    '"\ufeff\ud7ff\ue000"', '"\\ud800\U0001f600"', '""',
    # Structure and space.
    "[]", "{}", "[[]]", "[{}]", '{"a":{}}', " [ 1 , 2 ] ", '\t{ "a" :\r[ ] , "b" : { } }\t', "true", " false", "null ",
    "[" * 64 + "]" * 64, '{"a":' * 63 + "1" + "}" * 63, '["a , b","}","]","{\\"x\\":1}"]',
    # Not JSON.
    "", " ", "{", "[1,]", '{"a":1,}', "01", "+1", "1.", ".5", "1e", "'a'", '"\\x"', '"\\u12"', '"\t"', "nul", "[1 2]",
    '{"a" 1}', "{a:1}", "NaN", "Infinity", "-", "\ufeff1", "\u00a01", "1 1", '"a', "//1",
]

SPACES = ["", "", "", "", " ", "  ", "\t", "\r"]
NAMES = ["a", "b", "id", "0", "1", "2", "10", "01", "-1", "4294967294", "4294967295", "__proto__", "", "é", "\U0001f600",
         "payload", "constructor"]


def spaced(rng, text):
    return rng.choice(SPACES) + text + rng.choice(SPACES)


def character(rng):
    kind = rng.random()
    if kind < 0.6:
        return rng.choice("abcXYZ019 /{}[]:,'&<>\x7f")
    if kind < 0.7:
        return rng.choice(["\\n", "\\t", "\\b", "\\f", "\\r", "\\/", '\\"', "\\\\"])
    if kind < 0.85:
        unit = rng.choice([rng.randrange(0x80), rng.randrange(0xD780, 0xE080), rng.randrange(0x10000)])
        return "\\u" + format(unit, rng.choice(["04x", "04X"]))
    point = rng.choice([rng.randrange(0x80, 0x800), rng.randrange(0x2000, 0x2100), rng.randrange(0x10000, 0x110000)])
    return chr(point)


def string(rng):
    return '"' + "".join(character(rng) for _ in range(rng.randrange(12))) + '"'


def name(rng):
    if rng.random() < 0.3:
        return string(rng)
    text = rng.choice(NAMES) if rng.random() < 0.7 else str(rng.getrandbits(rng.choice([4, 31, 33, 54])))
    if text and ord(text[0]) < 0x10000 and rng.random() < 0.2:
        text = f"\\u{ord(text[0]):04x}" + text[1:]
    return f'"{text}"'


def double(rng):
    while True:
        value = struct.unpack("<d", rng.randbytes(8))[0]
        if value - value == 0:
            return value


def number(rng):
    kind = rng.random()
    if kind < 0.3:
        return str(rng.randint(-1000, 1000))
    if kind < 0.5:
        return str(rng.choice([-1, 1]) * rng.getrandbits(rng.randrange(1, 130)))
    if kind < 0.7:
        return repr(double(rng))
    if kind < 0.8:
        return format(double(rng), rng.choice([".20e", ".3e", ".16E"]))
    digits = str(rng.getrandbits(rng.randrange(1, 70)))
    text = rng.choice(["", "-"]) + digits
    if rng.random() < 0.6:
        text += "." + str(rng.getrandbits(rng.randrange(1, 60))).rjust(rng.randrange(1, 12), "0")
    if rng.random() < 0.6:
        text += rng.choice("eE") + rng.choice(["", "+", "-"]) + str(rng.randrange(rng.choice([5, 25, 330])))
    return text


def value(rng, depth):
    kind = rng.random()
    if depth > 0 and kind < 0.35:
        members = (spaced(rng, name(rng)) + ":" + spaced(rng, value(rng, depth - 1)) for _ in range(rng.randrange(7)))
        return "{" + ",".join(members) + rng.choice(SPACES) + "}"
    if depth > 0 and kind < 0.5:
        return "[" + ",".join(spaced(rng, value(rng, depth - 1)) for _ in range(rng.randrange(6))) + "]"
    if kind < 0.7:
        return string(rng)
    if kind < 0.95:
        return number(rng)
    return rng.choice(["true", "false", "null"])


def lines_through(program, bodies):
    text = "".join(body + "\n" for body in bodies)
    done = subprocess.run(program, input=text.encode(), capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    lines = done.stdout.split(b"\n")
    assert lines.pop() == b""
    assert len(lines) == len(bodies)
    return lines


def assert_written_alike(bodies):
    build = os.path.dirname(os.path.dirname(os.path.dirname(binary())))
    node = shutil.which("node")
    assert node, "Node.js is not installed"
    ours = lines_through([os.path.join(build, "tests", "js_json_cli")], bodies)
    theirs = lines_through([node, "-e", NODE_PROGRAM], bodies)
    different = [(body, our, their) for body, our, their in zip(bodies, ours, theirs) if our != their]
    assert not different, f"{len(different)} differ, the first: {different[0]}"
    return theirs


def test_awkward_bodies_are_written_as_node_writes_them():
    theirs = assert_written_alike(AWKWARD)
    assert b"invalid" in theirs


def test_generated_bodies_are_written_as_node_writes_them():
    rng = random.Random(20240310)
    theirs = assert_written_alike([spaced(rng, value(rng, rng.randrange(6))) for _ in range(20000)])
    assert b"invalid" not in theirs
