#include "gate/csv.h"

#include <algorithm>
#include <charconv>
#include <optional>

namespace mayfly::gate {
namespace {

constexpr std::size_t kColumnsMax = 65'536;
constexpr std::uint64_t kCellsMax = 1 << 27;

class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}
  bool at_end() const { return at_ >= text_.size(); }
  std::uint64_t line() const { return line_; }

  // The cells of the next line; nothing where a quote has no end, or stands where it can't.
  std::optional<std::vector<std::string>> next() {
    std::vector<std::string> cells;
    const std::uint64_t lines_before = newlines_;
    line_ = lines_before + 1;
    while (true) {
      auto cell = next_cell();
      if (!cell || cells.size() == kColumnsMax) return std::nullopt;
      cells.push_back(std::move(*cell));
      if (at_end()) return cells;
      if (text_[at_] == ',') {
        ++at_;
        continue;
      }
      if (text_[at_] == '\r') ++at_;
      if (at_ < text_.size()) {
        if (text_[at_] != '\n') return std::nullopt;
        ++at_;
        ++newlines_;
      }
      return cells;
    }
  }

 private:
  std::optional<std::string> next_cell() {
    while (at_ < text_.size() && text_[at_] == ' ') ++at_;
    if (at_ >= text_.size() || text_[at_] != '"') {
      const std::size_t end = std::min(text_.find_first_of(",\r\n", at_), text_.size());
      std::string_view cell = text_.substr(at_, end - at_);
      at_ = end;
      if (cell.find('"') != cell.npos) return std::nullopt;
      return std::string(cell.substr(0, cell.find_last_not_of(" \t") + 1));
    }
    std::string cell;
    for (++at_; at_ < text_.size(); ++at_) {
      if (text_[at_] == '\n') ++newlines_;
      if (text_[at_] != '"') {
        cell += text_[at_];
      } else if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
        cell += text_[at_++];
      } else {
        ++at_;
        while (at_ < text_.size() && text_[at_] == ' ') ++at_;
        if (at_ < text_.size() && text_[at_] != ',' && text_[at_] != '\r' && text_[at_] != '\n') return std::nullopt;
        return cell;
      }
    }
    return std::nullopt;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::uint64_t newlines_ = 0, line_ = 0;
};

std::optional<double> number(std::string_view text) {
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

Array column_of(std::string name, std::vector<std::string> cells) {
  Array column{.name = std::move(name), .datatype = domain::Datatype::fp64, .shape = {static_cast<std::int64_t>(cells.size())}};
  column.data.resize(cells.size() * sizeof(double));
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto value = number(cells[i]);
    if (!value) {
      column.datatype = domain::Datatype::bytes;
      column.data.clear();
      column.strings = std::move(cells);
      return column;
    }
    put_number(column, i, *value);
  }
  return column;
}

}  // namespace

Result<std::vector<Array>> parse_csv(std::string_view text, const std::string& name) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // a byte order mark, as spreadsheets write it
  Reader reader(text);
  const auto wrong = [&](const std::string& why) {
    return fail(Code::invalid_argument, "'" + name + "', line " + std::to_string(reader.line()) + ": " + why);
  };
  if (text.empty()) return fail(Code::invalid_argument, "'" + name + "' is empty: its first line names the columns, each more is a sample");
  const auto head = reader.next();
  if (!head) return wrong("a quote is out of place or has no end, or there are more than 65,536 columns");
  std::vector<std::vector<std::string>> columns(head->size());
  std::uint64_t held = 0;
  while (!reader.at_end()) {
    auto cells = reader.next();
    if (!cells) return wrong("a quote is out of place or has no end");
    if (cells->size() == 1 && cells->front().empty() && head->size() > 1) continue;  // an empty line
    if (cells->size() != head->size())
      return wrong(std::to_string(cells->size()) + " cells, and the first line names " + std::to_string(head->size()) + " columns");
    if ((held += cells->size()) > kCellsMax) return wrong("more than 134,217,728 cells: take a .npz");
    for (std::size_t i = 0; i < cells->size(); ++i) columns[i].push_back(std::move((*cells)[i]));
  }
  if (columns[0].empty()) return fail(Code::invalid_argument, "'" + name + "' holds no sample: each line behind the first is one");
  std::vector<Array> arrays;
  for (std::size_t i = 0; i < columns.size(); ++i) arrays.push_back(column_of((*head)[i], std::move(columns[i])));
  return arrays;
}

}  // namespace mayfly::gate
