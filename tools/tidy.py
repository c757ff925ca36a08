#!/usr/bin/env python3
"""Checks what STYLE.md promises and a machine can see. Exits 1 and prints every offence with what to do instead.

    tools/tidy.py [ROOT]

C++ (src, tests, bench): banned calls, lengths, headers that explain themselves. Pages: dead links, paths and names of code. The table of
SPECIFICATION.md: each promise names a test that exists. Every text file: no control characters, no blanks at the ends.
"""
import functools, pathlib, re, subprocess, sys

FILE_LINES, LINE_LENGTH, HEADER_LINES = 500, 140, (1, 14)

# (pattern, where it may stand, what to do instead). A place is a prefix of the path; tests, simulations, fuzzers and benchmarks
# drive clocks, print and may do so: TOOLS.
TOOLS = ("tests/", "bench/", "_test.cpp", "_sim.cpp", "_fuzz.cpp", "_bench.cpp")
LATER = r"\b(?:TO" + r"DO|FIX" + r"ME|X{3})\b"
BANNED = [
    (r"\b(?:system_clock|steady_clock|high_resolution_clock)\b|\bclock_gettime\s*\(|\bgettimeofday\s*\(|(?<![\w.>:])time\s*\(\s*(?:nullptr|NULL|0|&)",
     ("src/os/",) + TOOLS, "only os/ reads a clock: take an Instant, or a Turn (base/turn.h)"),
    (r"\bstd::(?:jthread|thread|async)\b|\bpthread_create\s*\(", ("src/os/",) + TOOLS, "threads live in os/: give the work to os::Pool"),
    (r"(?<!\w)(?:std::)?(?:v?f?printf|puts|fputs|putchar)\s*\(|\bstd::(?:cout|cerr|clog)\b",
     ("src/app/", "src/worker/", "src/base/assert.h") + TOOLS,  # in a sandbox stderr is the function's log
     "only app/ prints: return a Result, or tell an observer"),
    # std::unique_ptr<T>(new T(...)) is how a factory reaches a private constructor.
    (r"^(?!.*_ptr<\w+> ?\w*\(new ).*(?<![\w.>:])new\s+[A-Za-z_:]|(?<!\w)(?:std::)?(?:malloc|calloc|realloc|strdup)\s*\(", (),
     "ownership is a value, a member or std::make_unique"),
    (r"(?<![\w.])delete\s+[A-Za-z_]|(?<!\w)delete\s*\[\]", (), "ownership is a value, a member or a std::unique_ptr"),
    (r"(?<![\w_])assert\s*\(|<cassert>|<assert\.h>", (), 'a bug is ASSERT(condition, "meaning") of base/assert.h, on in release too'),
    (LATER, (), "do it now, or file an issue and say nothing here"),
    (r"(?<!\w)(?:std::)?(?:strcpy|strcat|sprintf|vsprintf|gets|atoi|atof|strtok)\s*\(", TOOLS,
     "no bound or no error: std::string, snprintf in app/, std::from_chars"),
    (r"(?<!\w)(?:std::)?(?:rand|srand|random_device)\s*\(|std::mt19937", TOOLS, "a seeded Random (base/random.h), or os/ for entropy"),
    (r"\bstd::shared_ptr<(?!const\b|void\b|store::Upload\b)", TOOLS, "std::unique_ptr and references; shared_ptr<const T> for snapshots"),
    (r"(?<!\w)(?:sleep|usleep|nanosleep)\s*\(|\bsleep_for\b|\bsleep_until\b", ("src/os/",) + TOOLS, "nobody sleeps: say when to be woken"),
    (r"\bstd::(?:regex|function<.*\bany\b)|<regex>", TOOLS, "write the few lines that parse it"),
    (r"<nlohmann/json\.hpp>", ("src/domain/json.h",), 'include "domain/json.h": of it the library is compiled once'),
    (r"\bcatch\s*\(\s*\.\.\.\s*\)\s*\{\s*\}", (), "an exception that is swallowed is a bug that is hidden"),
]
# What stands out and has a reason: (path, what the line holds). A new one is a decision; say why here.
EXEMPT = [
    ("src/worker/process.cpp", "::srand("),                   # a fork must not repeat its template's numbers, the C library's included
    ("src/store/usage_log", "std::shared_ptr<Segment>"),      # the open segment is read by queries on other threads while it leaves
]
RULE = re.compile(r"\|[\s:|-]+\|?$")
TEXT = {".h", ".cpp", ".py", ".sh", ".md", ".txt", ".cmake", ".json", ".yaml", ".yml", ".html", ".js", ".css", ".proto"}


def tracked(root):
    """The files of the repository: git's, where this is a checkout of it; else what lies there."""
    try:
        out = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, check=True).stdout
        return sorted(p for line in out.splitlines() if (p := root / line).is_file() and not p.is_symlink())
    except (OSError, subprocess.CalledProcessError):
        return sorted(p for p in root.rglob("*") if p.is_file() and not {".git", "build"} & set(p.relative_to(root).parts))


def allowed(path, places):
    return any(path.startswith(place) if place.endswith("/") or place.startswith("src/") else path.endswith(place) for place in places)


def without_comments_and_strings(text):
    """The code alone, line by line as before: what a comment or a message says is not a call."""
    pattern = r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\''
    return re.sub(pattern, lambda m: "\n" * m.group().count("\n") if m.group()[0] == "/" else '""' + "\n" * m.group().count("\n"), text, flags=re.S)


def check_cpp(path, text):
    lines = text.split("\n")
    if len(lines) - 1 > FILE_LINES:
        yield 1, f"{len(lines) - 1} lines, at most {FILE_LINES}: a file has one idea; split it"
    code = without_comments_and_strings(text).split("\n")
    for number, (line, bare) in enumerate(zip(lines, code), 1):
        if len(line) > LINE_LENGTH:
            yield number, f"{len(line)} characters, at most {LINE_LENGTH}: break the line"
        for pattern, places, instead in BANNED:
            found = re.search(pattern, line if pattern == LATER else bare)  # those stand in comments
            if found and not allowed(path, places) and not any(path.startswith(p) and what in line for p, what in EXEMPT):
                yield number, f"'{found.group().strip()[-60:]}': {instead}"
    if path.endswith(".h"):
        yield from check_header(lines)


def check_header(lines):
    opening = 0
    while opening < len(lines) and lines[opening].startswith("//"):
        opening += 1
    if opening < HEADER_LINES[0]:
        yield 1, "a header opens by explaining itself: what it is, who drives it, what it promises, what it does not do"
    elif opening > 2 * HEADER_LINES[1]:
        yield 1, f"{opening} opening lines: more than a reader takes in; move the long story to a page"
    after = next((line for line in lines[opening:] if line.strip()), "")
    if not after.startswith("#pragma once"):
        yield opening + 1, "#pragma once follows the opening comment"


def check_page(root, file, text):
    fenced = False
    for number, line in enumerate(text.split("\n"), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
        if fenced:
            continue
        for target in re.findall(r"\]\(([^)\s]+)\)", line):
            if re.match(r"[a-z]+:|#", target):
                continue
            if not (file.parent / target.split("#")[0]).exists():
                yield number, f"the link to '{target}' is dead: name a file that exists, relative to this page"
        for target in re.findall(r"`((?:src|tests|tools|docs|bench|examples|api|console)/[\w./-]+)`", line):
            if not (root / target).exists() and not list(root.glob(target + ".*")):
                yield number, f"the path '{target}' does not exist: name the file as it is called now"
        if "decisions" not in file.parts:  # a record tells what was
            yield from ((number, what) for what in check_names_of_code(root, line))


@functools.cache
def words_of(file):
    return set(re.findall(r"\w+", file.read_text(errors="replace")))


def check_names_of_code(root, line):
    """`serve/routes` is a file below src/, `Fleet::want` a member that some file there has beside its class."""
    for target in re.findall(r"`(\w+/[\w./]+)`", line):
        folder = root / "src" / target.partition("/")[0]
        if folder.is_dir() and not (root / "src" / target).exists() and not list((root / "src").glob(target + ".*")):
            yield f"no file 'src/{target}': name the file as it is called now"
    for scope, member in re.findall(r"`(?:\w+::)*(\w+)::(\w+)`", line):
        code = [file for file in (root / "src").rglob("*") if file.suffix in {".h", ".cpp"}]
        if scope != "std" and not any({scope, member} <= words_of(file) for file in code):
            yield f"nothing below src/ is called '{scope}::{member}': write it as it is called now"



def gtests_of(root, files):
    """"gateway: ParseHead.Table" of every TEST(ParseHead, Table) below src/gateway/ (or tests/gateway/)."""
    names = set()
    for file in files:
        parts = file.relative_to(root).parts
        if file.suffix == ".cpp" and len(parts) > 2:
            found = re.findall(r"^\s*TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", file.read_text(errors="replace"), re.M)
            names |= {f"{parts[1]}: {a}.{b}" for a, b in found}
    return names


def check_specification(root, files):
    """A row of a table is a promise; its last cell names the tests that show it."""
    page = root / "SPECIFICATION.md"
    if not page.is_file():
        return
    known = gtests_of(root, files)
    lines = page.read_text().split("\n") + [""]
    for number, (line, following) in enumerate(zip(lines, lines[1:]), 1):
        if not line.startswith("|") or RULE.match(line) or RULE.match(following):  # no row, or the head of a table
            continue
        named = re.findall(r"`([^`]+)`", line.rstrip(" |").rpartition(" | ")[2])
        if not named:
            yield number, "a promise without a test: name `module: Suite.Test` or `tests/FILE: words` in the last cell"
        for test in named:
            place, _, words = test.partition(": ")
            if not words:
                yield number, f"'{test}' names no test: write `module: Suite.Test` or `tests/FILE: words`"
            elif "/" not in place:
                if test not in known:
                    yield number, f"the test '{test}' does not exist: name one that TEST(Suite, Test) below src/{place}/ defines"
            elif not (root / place).is_file() or words not in (root / place).read_text(errors="replace"):
                yield number, f"the test '{test}' does not exist: no file '{place}' with these words"


def check_text(text):
    for number, line in enumerate(text.split("\n"), 1):
        if control := re.search(r"[\x00-\x08\x0b-\x1f\x7f]", line):
            yield number, f"control character 0x{ord(control.group()):02x}: write it as an escape"
        if re.search(r"[ \t]+$", line):
            yield number, "blanks at the end of the line: remove them"
        if "\t" in line:
            yield number, "a tab: indent with spaces"


def check(root):
    files, offences = tracked(root), []
    for file in files:
        path = str(file.relative_to(root))
        if file.suffix not in TEXT:
            continue
        text = file.read_text(errors="replace")
        found = []
        if file.suffix in {".h", ".cpp"}:
            found += check_cpp(path, text)
        if file.suffix == ".md":
            found += check_page(root, file, text)
        if file.suffix not in {".txt", ".json"}:  # lists of words and data may hold what they like
            found += check_text(text)
        offences += [f"{path}:{number}: {what}" for number, what in found]
    offences += [f"SPECIFICATION.md:{number}: {what}" for number, what in check_specification(root, files)]
    return offences, len(files)


if __name__ == "__main__":
    offences, count = check(pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())
    print("\n".join(offences) or f"tidy: {count} files, clean")
    sys.exit(bool(offences))
