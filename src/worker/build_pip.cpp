// Dependencies of Python: by pip, which takes wheels alone. Of a pyproject.toml only what it lists is installed: the project itself lies
// in the package already, and is not built, so no build backend is run.
#include <algorithm>

#include "domain/json.h"
#include "domain/link.h"
#include "worker/detail/build_tool.h"

namespace mayfly::worker {
namespace {

using domain::BuildOrder;
using domain::Dependency;
using Json = nlohmann::json;

// Python without pip has its wheel mostly.
constexpr const char* kFindPip = R"python(import glob, os, runpy, sys
try:
    import pip
except ImportError:
    try:
        import ensurepip
        places = [os.path.join(os.path.dirname(ensurepip.__file__), "_bundled"), getattr(ensurepip, "_WHEEL_PKG_DIR", None)]
    except ImportError:
        places = []
    wheels = [wheel for place in places + ["/usr/share/python-wheels"] if place for wheel in glob.glob(os.path.join(place, "pip-*.whl"))]
    if not wheels:
        sys.exit("ERROR: this Python has no pip: install it for the machine's (python3-pip, python3-venv)")
    sys.path.insert(0, wheels[0])
)python";
constexpr const char* kRunPip = R"python(sys.argv[0] = "pip"
runpy.run_module("pip", run_name="__main__", alter_sys=True)
)python";

// pyproject.toml to requirements: PEP 621's list as it is; poetry's table, whose versions are written otherwise.
constexpr const char* kReadProject = R"python(try:
    import tomllib
except ImportError:
    from pip._vendor import tomli as tomllib

def of_poetry(version):
    """'^1.2.3' and '~1.2' to what pip knows: https://python-poetry.org/docs/dependency-specification."""
    parts = []
    for part in filter(None, (part.strip() for part in version.split(","))):
        if part[0] not in "^~" or part.startswith("~="):
            parts.append(part if part[0] in "<>=!~" else "" if part == "*" else "==" + part)
            continue
        least = part[1:].strip()
        numbers = [int(number) for number in least.split(".")]
        at = next((i for i, number in enumerate(numbers) if number), len(numbers) - 1) if part[0] == "^" else min(len(numbers) - 1, 1)
        parts += [">=" + least, "<" + ".".join(map(str, numbers[:at] + [numbers[at] + 1]))]
    return ",".join(filter(None, parts))

def line_of(name, wanted):
    table = wanted if isinstance(wanted, dict) else {"version": wanted}
    odd = set(table) - {"version", "extras", "markers", "python", "optional"} if isinstance(table.get("version"), str) else {"version"}
    if "||" in str(table.get("version")) or odd:
        sys.exit(f"ERROR: pyproject.toml: {name} is wanted by {', '.join(sorted(odd)) or table['version']}, which is not known here: "
                 "write requirements.txt")
    marks = [mark for mark in [table.get("markers")] if mark]
    for part in filter(None, of_poetry(table.get("python", "*")).split(",")):
        sign = part[:len(part) - len(part.lstrip("<>=!~"))]
        marks.append(f"python_full_version {sign} '{part[len(sign):]}'")
    extras = "[" + ",".join(table["extras"]) + "]" if table.get("extras") else ""
    return name + extras + of_poetry(table["version"]) + ("; " + " and ".join(f"({mark})" for mark in marks) if marks else "")

try:
    with open(sys.argv[1], "rb") as file:
        project = tomllib.load(file)
except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
    sys.exit(f"ERROR: pyproject.toml: {error}")
own = project.get("project", {})
if "dependencies" in own.get("dynamic", []):
    sys.exit("ERROR: pyproject.toml: its dependencies are dynamic, known when it is built alone: write requirements.txt")
lines = list(own.get("dependencies", []))
if "dependencies" not in own:
    poetry = project.get("tool", {}).get("poetry", {}).get("dependencies", {})
    lines = [line_of(name, wanted) for name, wanted in poetry.items()
             if name.lower() != "python" and not (isinstance(wanted, dict) and wanted.get("optional"))]
for line in lines:
    if not isinstance(line, str) or "\n" in line or line.lstrip().startswith(("-", ".", "/")) or "file:" in line:
        sys.exit(f"ERROR: pyproject.toml: {line!r} is no requirement that can be installed here")
with open(sys.argv[2], "w") as out:
    out.writelines(line + "\n" for line in lines)
)python";

// Of "download_info" in pip's report of what it installed (its specification is packaging.python.org's).
std::string hash_in(const Json& download) {
  if (const auto vcs = download.find("vcs_info"); vcs != download.end()) return "commit:" + vcs->value("commit_id", "");
  const auto archive = download.find("archive_info");
  if (archive == download.end()) return "";
  const Json hashes = archive->value("hashes", Json::object());
  if (hashes.contains("sha256")) return "sha256:" + hashes.value("sha256", "");
  std::string hash = archive->value("hash", "");
  std::ranges::replace(hash, '=', ':');
  return hash;
}

}  // namespace

Result<std::vector<Dependency>> build_pip(const BuildOrder& order, BuildTool& tool) {
  std::string folder = domain::kPackagePlace;
  if (!is_there(at_package("requirements.txt"))) {
    folder = at_build("project");
    TRY_VOID(make_folder(folder));
    TRY_VOID(tool.run({"-I", "-c", std::string(kFindPip) + kReadProject, at_package("pyproject.toml"), folder + "/requirements.txt"},
                      folder));
    TRY(const std::string lines, read_text(folder + "/requirements.txt"));
    if (lines.empty()) return std::vector<Dependency>();
  } else if (!order.alone) {  // a requirement in it is built in its place
    folder = at_build("source");
    TRY_VOID(copy_tree(domain::kPackagePlace, folder));
  }
  TRY_VOID(tool.run({"-I", "-c", std::string(kFindPip) + kRunPip, "install", "--disable-pip-version-check", "--no-input", "--no-color",
                     "--no-cache-dir", "--progress-bar", "off", "--no-warn-script-location", "--only-binary", ":all:", "--target",
                     at_build(domain::kBuiltTree), "--report", at_build("report.json"), "-r", folder + "/requirements.txt"},
                    folder));
  TRY(const std::string text, read_text(at_build("report.json")));
  std::vector<Dependency> installed;
  const Json report = Json::parse(text);
  for (const Json& item : report.at("install")) {
    const Json& metadata = item.at("metadata");
    installed.push_back({metadata.at("name"), metadata.at("version"), hash_in(item.at("download_info"))});
  }
  return installed;
}

}  // namespace mayfly::worker
