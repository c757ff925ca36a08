#include "domain/detail/tree.h"

#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "domain/json.h"

namespace mayfly::domain {
namespace {

std::string at_line(int line, std::string_view message) { return "line " + std::to_string(line) + ": " + std::string(message); }

struct Refusal {  // thrown through yaml-cpp, caught in tree_from_yaml
  int line;
  std::string message;
};

// Events instead of yaml-cpp's own tree: the depth is known before the parser goes deeper.
class Builder : public YAML::EventHandler {
 public:
  Tree take() { return std::move(root_); }

  void OnDocumentStart(const YAML::Mark&) override {}
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override { place(mark, anchor, "", {.kind = Tree::Kind::null}); }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t) override { refuse(mark, "aliases (*name) are not supported: write the value out"); }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, const std::string& value) override {
    place(mark, anchor, tag,
          {.kind = tag == "?" && (value == "~" || value == "null") ? Tree::Kind::null : Tree::Kind::scalar, .text = value});
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, anchor, tag, Tree::Kind::list);
  }
  void OnSequenceEnd() override { close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor, YAML::EmitterStyle::value) override {
    open(mark, anchor, tag, Tree::Kind::map);
  }
  void OnMapEnd() override { close(); }

 private:
  struct Open {
    Tree tree;
    bool has_key = false;
  };

  [[noreturn]] static void refuse(const YAML::Mark& mark, std::string message) {
    throw Refusal{std::max(0, mark.line) + 1, std::move(message)};
  }

  void check(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag) {
    if (anchor != YAML::NullAnchor) refuse(mark, "anchors (&name) are not supported: write the value out");
    if (!tag.empty() && tag != "?" && tag != "!") refuse(mark, "tags (" + tag.substr(0, 60) + ") are not supported: leave it out");
  }

  void open(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, Tree::Kind kind) {
    check(mark, anchor, tag);
    if (open_.size() >= kTreeDepthMax) refuse(mark, "nested too deep: at most " + std::to_string(kTreeDepthMax) + " levels");
    if (!open_.empty() && open_.back().tree.kind == Tree::Kind::map && !open_.back().has_key)
      refuse(mark, "a key must be a word, not a list or a map");
    open_.push_back({.tree = {.kind = kind, .line = std::max(0, mark.line) + 1}});
  }

  void close() {
    Tree done = std::move(open_.back().tree);
    open_.pop_back();
    add(std::move(done));
  }

  void place(const YAML::Mark& mark, YAML::anchor_t anchor, const std::string& tag, Tree leaf) {
    check(mark, anchor, tag);
    leaf.line = std::max(0, mark.line) + 1;
    if (open_.empty() || open_.back().tree.kind != Tree::Kind::map || open_.back().has_key) return add(std::move(leaf));
    Open& map = open_.back();
    if (leaf.kind == Tree::Kind::null) refuse(mark, "a key is missing before ':'");
    if (const auto known = std::ranges::find(map.tree.keys, leaf.text); known != map.tree.keys.end())
      refuse(mark, "key '" + leaf.text.substr(0, 60) + "' is there twice, first in line " +
                       std::to_string(map.tree.key_lines[static_cast<std::size_t>(known - map.tree.keys.begin())]));
    map.tree.keys.push_back(std::move(leaf.text));
    map.tree.key_lines.push_back(leaf.line);
    map.has_key = true;
  }

  void add(Tree value) {
    if (open_.empty()) {
      root_ = std::move(value);
      return;
    }
    open_.back().tree.items.push_back(std::move(value));
    open_.back().has_key = false;
  }

  std::vector<Open> open_;
  Tree root_;
};

Result<Tree> convert(const nlohmann::json& json, std::size_t depth) {
  if (depth > kTreeDepthMax)
    return fail(Code::invalid_argument, at_line(1, "nested too deep: at most " + std::to_string(kTreeDepthMax) + " levels"));
  Tree tree;
  if (json.is_object()) {
    tree.kind = Tree::Kind::map;
    for (const auto& [key, value] : json.items()) {
      tree.keys.push_back(key);
      tree.key_lines.push_back(1);
      TRY(Tree item, convert(value, depth + 1));
      tree.items.push_back(std::move(item));
    }
  } else if (json.is_array()) {
    tree.kind = Tree::Kind::list;
    for (const auto& value : json) {
      TRY(Tree item, convert(value, depth + 1));
      tree.items.push_back(std::move(item));
    }
  } else if (!json.is_null()) {
    tree.kind = Tree::Kind::scalar;
    tree.text = json.is_string() ? json.get_ref<const std::string&>() : json.dump();
  }
  return tree;
}

}  // namespace

Result<Tree> tree_from_yaml(std::string_view yaml) {
  try {
    std::istringstream stream{std::string(yaml)};
    YAML::Parser parser(stream);
    Builder builder;
    if (!parser.HandleNextDocument(builder)) return Tree{};
    Builder second;
    if (parser.HandleNextDocument(second))
      return fail(Code::invalid_argument, at_line(second.take().line, "a second document begins (---): write one"));
    return builder.take();
  } catch (const Refusal& refusal) {
    return fail(Code::invalid_argument, at_line(refusal.line, refusal.message));
  } catch (const YAML::Exception& error) {
    return fail(Code::invalid_argument, at_line(std::max(0, error.mark.line) + 1, "not YAML: " + error.msg));
  } catch (const std::exception& error) {  // yaml-cpp lets some of the standard library's through
    return fail(Code::invalid_argument, std::string("line 1: not YAML: ") + error.what());
  }
}

Result<Tree> tree_from_json(std::string_view json) {
  const nlohmann::json parsed = parse_json<nlohmann::json>(json);
  if (parsed.is_discarded()) return fail(Code::invalid_argument, "line 1: not JSON");
  return convert(parsed, 1);
}

}  // namespace mayfly::domain
